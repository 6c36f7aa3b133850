"""ranking_quality: the ranking judged on the platform's own past, beside simpler ones → figures, charts, and a gate before the release."""

import math
from collections.abc import Mapping
from pathlib import Path

import dagster as dg
import msgspec

from platform_assets.automation import FORGET, on_new_data
from platform_assets.learning import extent_of, gathered, made_by, reason_to_look_again
from platform_assets.plots import Bar, bar_chart
from platform_assets.resources import RETRY, Stores, surfaced
from ranking.fitting import FEWEST_CASES
from ranking.model import RRF
from ranking.quality import SERVED, Quality, judge
from stores.errors import ContractBroken
from stores.models import Judgement

CODE_VERSION = "3"
FILE = "ranking_quality.json"
ONE_FIT = math.inf  # the model is fitted once, before everything that is judged
SHOWN = ("ndcg@5", "ndcg@10", "recall@5", "recall@10", "mrr", "coverage@10", "diversity@10")


@dg.asset(
    deps=["ranking_model"],
    group_name="serving",
    kinds={"python", "mongodb"},
    owners=["team:data-platform"],
    code_version=CODE_VERSION,
    pool="mongodb",
    retry_policy=RETRY,
    automation_condition=on_new_data(),
)
def ranking_quality(context: dg.AssetExecutionContext, stores: dg.ResourceParam[Stores]) -> dg.MaterializeResult:
    """How good the served ranking is on the latest part of the past, beside chance, popularity and single sources.

    A model is fitted for this on the part before, so that nothing is judged on what it was fitted on.

    What was judged stands as long as the model, and until records or outcomes are more by the share `ranking_refit_share`. All
    figures are also in `ranking_quality.json`, in the folder of the setting `quality_dir`.
    """
    with surfaced():
        models = stores.documents.models
        if (fit := models.fit()) is None:
            raise ContractBroken("mongodb", "there is no ranking model to judge: materialize ranking_model first")
        by, last = made_by(stores, f"{CODE_VERSION} {fit.model}"), models.judgement()
        reason = reason_to_look_again(stores, last, by=by)
        judged = judgement(stores, fit.model, by) if last is None or reason else last
        found = figures(judged)
        write(stores.settings.quality_dir, judged)
    context.log.info("ranking quality: %s; %s", judged.quality or "no cases", reason or "it stands")
    return dg.MaterializeResult(
        data_version=dg.DataVersion(f"{by}-{judged.records}-{judged.outcomes}"),
        metadata={
            "outcome": f"judged: {reason}" if reason else "nothing changed",
            "model": judged.model,
            **{name.replace("@", "_at_"): value for name, value in judged.quality.items()},
            "methods": dg.MetadataValue.md(methods_table(found)),
            "segments": dg.MetadataValue.md(segments_table(found)),
        },
    )


@dg.asset_check(asset=ranking_quality, blocking=False)
def what_is_served_is_better_than_popularity(stores: dg.ResourceParam[Stores]) -> dg.AssetCheckResult:
    """NDCG@10 of the served ranking is above that of popularity, on the same cases, where there are enough of them. A warning."""
    with surfaced():
        judged = stores.documents.models.judgement()
        found = figures(judged) if judged else None
    mean, low, high = found.differences["served-popularity"]["ndcg@10"] if found else (0.0, 0.0, 0.0)
    return dg.AssetCheckResult(
        passed=found is None or found.cases < FEWEST_CASES or mean > 0,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"cases": found.cases if found else 0, "gain": mean, "low": low, "high": high},
    )


@dg.asset_check(asset=ranking_quality, blocking=True)
def quality_has_not_fallen_since_the_last_release(
    context: dg.AssetCheckExecutionContext, stores: dg.ResourceParam[Stores]
) -> dg.AssetCheckResult:
    """NDCG@10 is not below that of the last release by more than the 95 % interval of the difference.

    A rebuild of `ranking_model` accepts a fall, and a customer who is to be forgotten does not wait for a ranking.
    """
    with surfaced():
        judged, release = stores.documents.models.judgement(), stores.documents.latest_release()
    before, now = release.quality if release else {}, judged.quality if judged else {}
    accepted = context.run.job_name == FORGET or "ranking_model" in stores.rebuild.assets
    return dg.AssetCheckResult(
        passed=accepted or not fallen(before, now),
        metadata={"ndcg_at_10": now.get("ndcg@10", 0.0), "released": before.get("ndcg@10", 0.0), "accepted": accepted},
    )


def fallen(before: Mapping[str, float], now: Mapping[str, float]) -> bool:
    """Whether NDCG@10 is lower now, and not by chance: the 95 % interval of the difference, made of the two's own, lies below 0.

    Fewer cases than a model needs say too little to hold anything back.
    """
    if min(before.get("cases", 0), now.get("cases", 0)) < FEWEST_CASES:
        return False
    reach = math.hypot(before["ndcg@10"] - before["low"], now["high"] - now["ndcg@10"])
    return now["ndcg@10"] + reach < before["ndcg@10"]


def judgement(stores: Stores, model: str, by: str) -> Judgement:
    """Judges the ranking on the past as it is now, and keeps what came of it."""
    found = judge(gathered(stores), refit_share=ONE_FIT, fitted=model != RRF.version, most_cases=stores.settings.ranking_cases)
    mean, low, high = found.ndcg10
    quality = {"ndcg@10": mean, "low": low, "high": high, "cases": float(found.cases)} if found.cases else {}
    extent = extent_of(stores)
    report = msgspec.json.encode(found).decode() if found.cases else ""
    made = Judgement(model=model, made_by=by, records=extent.records, outcomes=extent.outcomes, report=report, quality=quality)
    stores.documents.models.set_judgement(made)
    return made


def figures(judged: Judgement) -> Quality | None:
    """All figures of a judgement; None where there was no case to judge."""
    return msgspec.json.decode(judged.report, type=Quality) if judged.report else None


def write(folder: str, judged: Judgement) -> None:
    """Writes the figures as a file, whole at once, unless it holds them already. No customer's id is among them."""
    if not folder or not judged.report:
        return
    path = Path(folder) / FILE
    content = msgspec.json.format(judged.report.encode())
    if not path.is_file() or path.read_bytes() != content:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".tmp")
        unfinished.write_bytes(content)
        unfinished.replace(path)


def methods_table(found: Quality | None) -> str:
    """Every way of ranking with its measures and what the served one gains over it, best first: a picture, and a table."""
    if found is None:
        return "There is no case to judge yet: nobody clicked or converted on a campaign that ran."
    best_first = sorted(found.methods.items(), key=lambda held: (-held[1]["ndcg@10"], held[0]))
    _, low, high = found.ndcg10
    whiskers = {SERVED: (low, high)}
    bars = [Bar(name, means["ndcg@10"], *whiskers.get(name, ()), strong=name == SERVED) for name, means in best_first]
    head = f"| method | {' | '.join(SHOWN)} | served gains in ndcg@10 |\n|---|{'---:|' * len(SHOWN)}---:|\n"
    rows = (f"| {name} | {' | '.join(f'{means[each]:.3f}' for each in SHOWN)} | {gained(found, name)} |" for name, means in best_first)
    about = f"{found.cases} cases of {found.customers} customers, {found.candidates:g} candidates each on average."
    return f"{bar_chart('NDCG@10', bars)}\n\n{about}\n\n{head}" + "\n".join(rows)


def gained(found: Quality, name: str) -> str:
    if (difference := found.differences.get(f"{SERVED}-{name}")) is None:
        return ""
    mean, low, high = difference["ndcg@10"]
    return f"{mean:+.3f} ({low:+.3f} to {high:+.3f})"


def segments_table(found: Quality | None) -> str:
    """NDCG@10 by kind of customer and of moment."""
    if found is None:
        return "There is no case to judge yet."
    names = list(found.methods)
    rows = [
        f"| {kind} | {each.cases} | {' | '.join(f'{each.ndcg10[name]:.3f}' for name in names)} |" for kind, each in found.segments.items()
    ]
    return f"| segment | cases | {' | '.join(names)} |\n|---|---:|{'---:|' * len(names)}\n" + "\n".join(rows)
