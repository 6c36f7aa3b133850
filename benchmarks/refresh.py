"""What a refresh costs: nothing new, a hundred new records, everything new; by how much the stores hold.

    python benchmarks/refresh.py [--sizes 1000,10000,100000] [--json]

Each size gets engines of its own in a temporary folder. Vectors of the few thousand distinct texts are put into MongoDB
before, so embedding is left out of every time and reported beside them. Results: benchmarks/results/refresh.json.

How fast rows are written is said four times: by the whole asset (reading MongoDB, computing, ledgers, the store), by our store
alone, a row at a time as one would write it first, and by the driver in bulk with prepared rows, which is what the engine allows.
"""

import argparse
import json
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import machine
from benchmarks.naive import naive_rates
from benchmarks.synthetic import MESSAGES_EACH, campaigns, messages, put_file, texts
from benchmarks.written import bulk_rates
from local.engines import RunningEngines, running_engines
from platform_assets.resources import Stores
from stores.settings import Settings, load_settings
from tests.data_files import data_files, written
from tests.faults.process import SPAWNING, Outcome, RefreshProcess

RESULTS = Path(__file__).parent / "results" / "refresh.json"
SIZES = "1000,10000,100000"
NEW = 100
NAIVE_ROWS = 300
BULK_ROWS = 10_000
STORES = ("raw_docs", "vectors", "graph", "metrics")
TEXTS_EMBEDDED_AT_ONCE = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default=SIZES, help=f"messages in the stores, comma-separated (default {SIZES})")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--out", type=Path, default=RESULTS, help=f"where the result is kept (default {RESULTS.name} in results/)")
    asked = parser.parse_args()
    result: dict[str, object] = {"measured": datetime.now(UTC).date().isoformat(), "machine": machine()}
    sizes: dict[str, dict[str, object]] = {}
    for size in (int(each) for each in asked.sizes.split(",")):
        sizes[str(size)] = measured(size)
        result |= {"sizes": sizes, "compared": compared(sizes)}
        asked.out.parent.mkdir(exist_ok=True)
        asked.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2) if asked.json else told(result))


def measured(size: int) -> dict[str, object]:
    """One size: embeddings first, then the whole load, nothing new, a hundred new records, and a row at a time."""
    with tempfile.TemporaryDirectory(prefix="refresh-") as folder, running_engines(Path(folder) / "engines", {}) as engines:
        scratch = Path(folder) / "scratch"
        (scratch / "inbox").mkdir(parents=True)
        environment = environment_of(engines, scratch)
        settings = load_settings(environment)

        def refreshed(what: str) -> dict[str, object]:
            began = time.monotonic()
            outcome = RefreshProcess(environment, scratch, context=SPAWNING).ended()
            if not outcome.succeeded:
                raise SystemExit(
                    f"{size}: the refresh with {what} failed: {outcome.failures}; {(scratch / 'refresh.log').read_text()[-3000:]}"
                )
            print(f"{size}: {what}: {time.monotonic() - began:.1f} s", file=sys.stderr, flush=True)
            return shown(outcome, wall_s=time.monotonic() - began)

        embedding = embedded(settings)
        inbox, customers = Path(settings.inbox_dir), max(1, size // MESSAGES_EACH)
        put_file(inbox, "0", [*campaigns(), *messages(size, seed=1)])
        full = refreshed("everything new")
        before = data_files(engines, scratch / "metrics.sqlite3")
        nothing = refreshed("nothing new") | {"files_written": written(before, data_files(engines, scratch / "metrics.sqlite3"))}
        put_file(inbox, "1", messages(NEW, seed=2, first=size, customers=customers))
        new = refreshed(f"{NEW} new records")
        put_file(inbox, "2", messages(NEW, seed=3, first=size + NEW, customers=customers))
        again = refreshed(f"{NEW} more new records")
        dimension = int(str(embedding["dimension"]))
        naive = naive_rates(settings, list(messages(NAIVE_ROWS, seed=4)), dimension=dimension)
        bulk = bulk_rates(settings, scratch, rows=min(BULK_ROWS, size), dimension=dimension)
    return {
        "embedding": embedding,
        "everything_new": full,
        "nothing_new": nothing,
        "hundred_new": min(new, again, key=lambda each: float(str(each["run_s"]))),
        "rows_per_second": {
            asset: {
                "whole_asset": round(size / seconds_of(full, asset), 1),
                "our_store": bulk[asset].store,
                "a_row_at_a_time": naive[asset],
                "engine_in_bulk": bulk[asset].engine,
            }
            for asset in STORES
        },
        "times_a_row_at_a_time": {
            asset: {"our_store": round(bulk[asset].store / naive[asset], 1), "engine_in_bulk": round(bulk[asset].engine / naive[asset], 1)}
            for asset in STORES
        },
    }


def environment_of(engines: RunningEngines, scratch: Path) -> dict[str, str]:
    (scratch / "no.env").touch()
    return engines.environment | {
        "CAMPAIGNS_ENV_FILE": str(scratch / "no.env"),
        "CAMPAIGNS_SQL_URL": f"sqlite:///{scratch / 'metrics.sqlite3'}",
        "CAMPAIGNS_INBOX_DIR": str(scratch / "inbox"),
        "CAMPAIGNS_QUALITY_DIR": str(scratch / "quality"),
        "CAMPAIGNS_WRITE_TIMEOUT_S": "120",
    }


def embedded(settings: Settings) -> dict[str, object]:
    """Puts the vector of every text into MongoDB, and says how fast that was."""
    stores, said = Stores(settings), texts()
    began, computing_s = time.monotonic(), 0.0
    try:
        for start in range(0, len(said), TEXTS_EMBEDDED_AT_ONCE):
            some, computing_since = said[start : start + TEXTS_EMBEDDED_AT_ONCE], time.monotonic()
            vectors = stores.embedder.embed(some).vectors
            computing_s += time.monotonic() - computing_since
            stores.documents.put_embeddings(settings.embedding_model, dict(zip(map(stores.embedder.key, some), vectors, strict=True)))
    finally:
        stores.close()
    return {
        "model": settings.embedding_model,
        "dimension": stores.embedder.dimension,
        "texts": len(said),
        "texts_per_second": round(len(said) / computing_s, 1),
        "seconds_with_writing": round(time.monotonic() - began, 1),
    }


def shown(outcome: Outcome, *, wall_s: float) -> dict[str, object]:
    """What a refresh cost: `run_s` is the run's own time, `wall_s` has the start of its process in it."""
    seconds = {name: round(each, 3) for name, each in outcome.seconds.items()}
    return {"run_s": round(outcome.run_s, 2), "wall_s": round(wall_s, 2), "peak_rss_mb": outcome.peak_rss_mb, "seconds_by_step": seconds}


def seconds_of(refreshed: dict[str, object], step: str) -> float:
    steps = refreshed["seconds_by_step"]
    assert isinstance(steps, dict)
    return float(steps[step])


def compared(sizes: dict[str, dict]) -> dict[str, float]:
    """The largest size against the smallest, and memory against the size in between."""
    by_size = sorted(sizes.items(), key=lambda each: int(each[0]))
    (_, smallest), (_, largest) = by_size[0], by_size[-1]
    said = {
        "hundred_new_on_largest_to_smallest": round(largest["hundred_new"]["run_s"] / smallest["hundred_new"]["run_s"], 2),
        "nothing_new_on_largest_s": largest["nothing_new"]["run_s"],
    }
    if len(by_size) > 1:
        before = by_size[-2][1]
        for what in ("everything_new", "nothing_new", "hundred_new"):
            said[f"{what}_rss_difference_mb"] = round(largest[what]["peak_rss_mb"] - before[what]["peak_rss_mb"], 1)
    return said


def told(result: dict) -> str:
    lines = []
    for size, found in result["sizes"].items():
        costs = ", ".join(f"{what.replace('_', ' ')} {found[what]['run_s']} s" for what in ("nothing_new", "hundred_new", "everything_new"))
        lines.append(f"{size} messages: {costs}; written for nothing new: {found['nothing_new']['files_written'] or 'nothing'}")
        for asset in STORES:
            rates, times = found["rows_per_second"][asset], found["times_a_row_at_a_time"][asset]
            said = ", ".join(f"{what.replace('_', ' ')} {rate:.0f}" for what, rate in rates.items())
            lines.append(
                f"  {asset}, rows/s: {said}; {times['our_store']} times a row at a time, of {times['engine_in_bulk']} that are possible"
            )
    return "\n".join([*lines, *(f"{name.replace('_', ' ')}: {value}" for name, value in result["compared"].items())])


if __name__ == "__main__":
    main()
