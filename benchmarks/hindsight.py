"""What the ranking's signals can give at most: its model with weights fitted on the very outcomes that are judged.

    python benchmarks/hindsight.py FOLDER [--since 2017-06-20] [--json]

Nobody can know such weights in time. Beside them stands what is served, which knows only what had ended before each case, and
the same hindsight with a signal that no platform has: how many other customers will respond to a campaign in the judged cases.
NDCG@10. The folder is one of `campaigns evaluate` with cases of its own, of at most 300 candidates each, and vectors are kept where that
keeps them. Results: benchmarks/results/hindsight.json.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
from msgspec.structs import replace
from rich.console import Console
from rich.progress import Progress

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cli.evaluate import STATE, archive_of, cases_in, entries_of, given_cases, vectors_of
from ranking.fitting import NEGATIVES, Example, example_of, ordered_by, weighed
from ranking.intervals import mean_by_customer
from ranking.objectives import OBJECTIVES, Matrix
from ranking.quality import chosen, judge
from ranking.walk import Scene, scenes
from stores.records import epoch_ms
from stores.settings import Settings

RESULTS = Path(__file__).parent / "results" / "hindsight.json"
FUTURE = "engagement.future"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="records, campaigns and cases")
    parser.add_argument("--since", type=day, help="judge the cases from this day on (UTC)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--out", type=Path, default=RESULTS, help=f"where the result is kept (default {RESULTS.name} in results/)")
    asked = parser.parse_args()
    result = measured(asked.folder, asked.since)
    asked.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1) if asked.json else told(result))


def day(text: str) -> int:
    """The beginning of a day (UTC) in epoch milliseconds."""
    return epoch_ms(datetime.fromisoformat(text))


def measured(folder: Path, since_ms: int | None) -> dict:
    settings, console = Settings(), Console(stderr=True)
    records, campaigns = entries_of(folder, settings, console)
    cases = given_cases(cases_in(folder))
    if cases is None:
        sys.exit(f"{folder} has no cases")
    with Progress(console=console, transient=True) as progress:
        vectors = vectors_of(records, campaigns, settings, STATE, progress)
    archive = archive_of(records, campaigns, vectors, settings)
    judged = chosen(cases, given=True, since_ms=since_ms)
    seen = list(scenes(archive, judged))
    if any(len(scene.lot) - len(scene.truth) > NEGATIVES for scene in seen):
        sys.exit(f"{folder} has cases of more than {NEGATIVES} candidates, of which a fit looks at some alone")
    examples = [example_of(scene) for scene in seen]
    served = judge(archive, cases=cases, since_ms=since_ms, refit_share=settings.ranking_refit_share, most_cases=len(cases))
    return {
        "folder": folder.name,
        "cases": len(seen),
        "served": list(served.ndcg10),
        "hindsight": {way: fitted_on_itself(examples, way) for way in OBJECTIVES},
        "hindsight_and_future_popularity": {way: fitted_on_itself(foretold(seen, examples), way) for way in OBJECTIVES},
    }


def fitted_on_itself(examples: Sequence[Example], way: str) -> list[float]:
    """NDCG@10 of weights on the examples that they were fitted to: mean, and low and high of a 95 % interval."""
    names = sorted({name for example in examples for name in example.names})
    weights, _ = weighed(names, examples, OBJECTIVES[way])
    return list(mean_by_customer([ordered_by(weights, names, each) for each in examples], [each.user_id for each in examples]))


def foretold(seen: Sequence[Scene], examples: Sequence[Example]) -> list[Example]:
    """The examples with one more signal: log(1 + how many other customers respond to the campaign in any of them)."""
    responding = {(scene.case.user_id, key) for scene in seen for key in scene.truth}
    by_campaign = Counter(key for _, key in responding)

    def future(scene: Scene) -> Matrix:
        others = [by_campaign[key] - ((scene.case.user_id, key) in responding) for key in sorted(scene.candidates)]
        return np.log1p(np.array(others, np.float64))

    return [
        replace(example, names=(*example.names, FUTURE), values=np.column_stack([example.values, future(scene)]))
        for scene, example in zip(seen, examples, strict=True)
    ]


def told(result: dict) -> str:
    lines = [f"{result['cases']} cases of {result['folder']}, NDCG@10", f"served {line(result['served'])}"]
    for kind in ("hindsight", "hindsight_and_future_popularity"):
        lines += [f"{kind.replace('_', ' ')}, by {way} {line(found)}" for way, found in result[kind].items()]
    return "\n".join(lines)


def line(interval: Sequence[float]) -> str:
    mean, low, high = interval
    return f"{mean:.3f} [{low:.3f}, {high:.3f}]"


if __name__ == "__main__":
    main()
