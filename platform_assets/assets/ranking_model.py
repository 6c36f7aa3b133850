"""ranking_model: the platform's own past → how sources are fused, fitted where there is enough of it, kept in MongoDB."""

import math

import dagster as dg
import msgspec

from platform_assets.automation import on_new_data
from platform_assets.learning import extent_of, gathered, made_by, reason_to_look_again
from platform_assets.plots import Bar, bar_chart
from platform_assets.resources import RETRY, Stores, surfaced
from ranking.fitting import fit_model
from ranking.model import RankingModel
from stores.models import Fit

CODE_VERSION = "5"
FEATURES_SHOWN = 25


@dg.asset(
    deps=["vectors", "graph", "metrics"],
    group_name="serving",
    kinds={"scikitlearn", "mongodb"},
    owners=["team:data-platform"],
    code_version=CODE_VERSION,
    pool="mongodb",
    retry_policy=RETRY,
    automation_condition=on_new_data(),
)
def ranking_model(context: dg.AssetExecutionContext, stores: dg.ResourceParam[Stores]) -> dg.MaterializeResult:
    """How the sources' candidates become one ranking: by weights that are fitted on what customers responded to, or by reciprocal rank.

    The weights are fitted on the earlier part of the past and held against reciprocal rank fusion and each single source on the
    later part; what does best is served. With few outcomes that is reciprocal rank fusion, and it says so. What was fitted stands
    until records or outcomes are more by the share `ranking_refit_share`, or a rebuild is asked for.
    """
    with surfaced():
        models, by = stores.documents.models, made_by(stores, CODE_VERSION)
        last = models.fit()
        reason = reason_to_look_again(stores, last, by=by)
        model = fitted(stores, by) if last is None or reason else model_of(stores, last.model)
    context.log.info("ranking model %s: %s; %s", model.version, model.why, reason or "it stands")
    return dg.MaterializeResult(
        data_version=dg.DataVersion(f"{by}-{model.version}"),
        metadata={
            "outcome": f"fitted: {reason}" if reason else "nothing changed",
            "kind": model.kind,
            "fitted_by": model.objective or "nothing was fitted",
            "version": model.version,
            "why": model.why,
            "cases": model.cases,
            "positives": model.positives,
            "held_out_cases": model.held_out,
            "weights": dg.MetadataValue.md(weights_table(model)),
            "compared": dg.MetadataValue.md(comparison_table(model)),
        },
    )


@dg.asset_check(asset=ranking_model, blocking=True)
def the_model_in_use_is_kept_and_sound(stores: dg.ResourceParam[Stores]) -> dg.AssetCheckResult:
    """The model that the next release will name can be read again, is of the version that it is kept under, and has finite weights."""
    with surfaced():
        last = stores.documents.models.fit()
        model = model_of(stores, last.model) if last else None
    finite = model is not None and all(map(math.isfinite, (*model.weights.values(), model.centre)))
    named = model is not None and last is not None and model.versioned().version == model.version == last.model
    return dg.AssetCheckResult(passed=finite and named, metadata={"version": last.model if last else "", "finite": finite, "named": named})


def fitted(stores: Stores, by: str) -> RankingModel:
    """Fits on the past as it is now, and keeps what came of it."""
    model = fit_model(gathered(stores), most_cases=stores.settings.ranking_cases)
    extent = extent_of(stores)
    stores.documents.models.put(model.version, msgspec.json.encode(model).decode())
    stores.documents.models.set_fit(Fit(model=model.version, made_by=by, records=extent.records, outcomes=extent.outcomes))
    return model


def model_of(stores: Stores, version: str) -> RankingModel:
    """The model of this version, as it is kept."""
    return msgspec.json.decode(stores.documents.models.body(version), type=RankingModel)


def weights_table(model: RankingModel) -> str:
    """What weighs how much, the most important first: a picture, and a table. Importance is weight x the feature's spread in training."""
    if model.kind == "rrf":
        return f"No weights: {model.why}."
    importance = {name: weight * model.scales.get(name, 0.0) for name, weight in model.weights.items()}
    first = sorted(importance, key=lambda name: (-abs(importance[name]), name))[:FEATURES_SHOWN]
    bars = [Bar(f"{'-' if importance[name] < 0 else '+'} {name}", abs(importance[name]), strong=importance[name] > 0) for name in first]
    rows = "\n".join(f"| {name} | {model.weights[name]:.4f} | {importance[name]:.4f} |" for name in first)
    return f"{bar_chart('importance', bars)}\n\n| feature | weight | importance |\n|---|---:|---:|\n{rows}"


def comparison_table(model: RankingModel) -> str:
    """How each way of ranking did on the held-out last part of the past, and what the model gained over it with its 95 % interval."""
    if not model.compared:
        return f"Nothing was compared: {model.why}."
    best_first = sorted(model.compared.items(), key=lambda held: (-held[1].ndcg10, held[0]))
    chart = bar_chart("NDCG@10", [Bar(name, each.ndcg10) for name, each in best_first])
    cells = ((name, f"{each.ndcg10:.3f}", f"{each.gain:+.3f}", f"{each.low:+.3f} to {each.high:+.3f}") for name, each in best_first)
    rows = "\n".join(f"| {' | '.join(row)} |" for row in cells)
    return f"{chart}\n\n| method | NDCG@10 | the model's gain | 95 % interval |\n|---|---:|---:|---:|\n{rows}"
