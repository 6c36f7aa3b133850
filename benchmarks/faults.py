"""Does a refresh converge whatever happens to it? Kills it at random moments, takes engines away, and compares all stores.

    python benchmarks/faults.py [--seed 1] [--kills 30] [--json]

Two sets of engines are started: a history of loads goes into the one under faults, while a reader asks the API; after
each round an undisturbed refresh follows, and the contents of all stores are compared with a load of the same final
input from nothing into the other. Exits with 1 where anything differs or the reader has a complaint.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.faults.stage import stage
from tests.faults.trial import ASSETS, Fault, Struck, Trial

ROUND = 3
OUTAGES = [
    Fault(how=how, store=store, asset=asset)
    for how in ("kill the engine", "freeze the engine")
    for store, asset in (
        ("mongodb", "raw_docs"),
        ("mongodb", "embeddings"),
        ("milvus", "vectors"),
        ("neo4j", "graph"),
        ("redis", "release"),
    )
] + [
    Fault(how="refuse writes", store=store, asset=asset) for store, asset in (("sql", "raw_docs"), ("sql", "metrics"), ("redis", "release"))
]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1, help="of the history and of the moments (default 1)")
    parser.add_argument("--kills", type=int, default=30, help="how often the refresh is killed, over all assets (default 30)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    asked = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="faults-") as folder, stage(Path(folder) / "trial", seed=asked.seed, pause_s=0.02) as trial:
        run(trial, random.Random(asked.seed), asked.kills)
        seen = trial.reader.stop()
    killed_in = Counter(struck.killed_in for struck in trial.struck if struck.killed_in)
    result = {
        "seed": asked.seed,
        "kills": sum(killed_in.values()),
        "killed_in": dict(killed_in.most_common()),
        "outages": [f"{struck.fault.how}: {struck.fault.store}, in {struck.fault.asset}" for struck in trial.struck if struck.fault.store],
        "refreshes_that_survived_an_outage": sum(struck.survived for struck in trial.struck if struck.fault.store),
        "engines_that_died_while_starting": trial.restarts,
        "records_at_the_end": len(trial.history.records),
        "comparisons": trial.compared,
        "differences": trial.found,
        "reader": msgspec.to_builtins(seen),
        "seconds": round(time.monotonic() - began),
    }
    print(json.dumps(result, indent=2) if asked.json else told(result))
    return 1 if trial.found or seen.complaints else 0


def run(trial: Trial, rng: random.Random, kills: int) -> None:
    """Rounds of a few faults, each with a load of its own, until the refresh was killed often enough and every outage was had."""
    faults = list(planned(rng, kills))
    for number, fault in enumerate(faults, start=1):
        trial.load()
        say(number, len(faults), trial.strike(fault))
        if number % ROUND == 0 or number == len(faults):
            for line in trial.compare():
                print(f"  {line}", file=sys.stderr)
    while sum(struck.killed_in is not None for struck in trial.struck) < kills:  # some were over before they could be killed
        trial.load()
        say(len(trial.struck) + 1, len(trial.struck) + 1, trial.strike(Fault(how="kill the refresh", asset=rng.choice(ASSETS))))
        trial.compare()


def planned(rng: random.Random, kills: int) -> Iterator[Fault]:
    """Kills in every asset alike, and each outage once, in random order."""
    faults = [Fault(how="kill the refresh", asset=ASSETS[n % len(ASSETS)]) for n in range(kills)] + OUTAGES
    rng.shuffle(faults)
    yield from faults


def say(number: int, of: int, struck: Struck) -> None:
    ended = f"killed in {struck.killed_in} after {struck.after_s} s" if struck.killed_in else "survived" if struck.survived else "failed"
    fault = struck.fault
    print(f"{number}/{of} {fault.how} {fault.store} ({fault.asset}): {ended}", file=sys.stderr, flush=True)


def told(result: dict) -> str:
    reader = result["reader"]
    lines = [
        f"killed {result['kills']} times: {', '.join(f'{name} {count}' for name, count in result['killed_in'].items())}",
        f"{len(result['outages'])} outages, of which the refresh survived {result['refreshes_that_survived_an_outage']}",
        f"{result['comparisons']} comparisons of all stores with a load from nothing: {len(result['differences'])} differences",
        f"{reader['answers']} answers, {len(reader['complaints'])} complaints, p50 {reader['p50_ms']} ms, p99 {reader['p99_ms']} ms",
    ]
    return "\n".join([*lines, *result["differences"], *reader["complaints"]])


if __name__ == "__main__":
    sys.exit(main())
