"""Fits the linear model on past outcomes: what customers responded to against what they did not.

The fitted model is plain numbers, evaluated without the libraries that fit it.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from math import log

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from ranking.cases import cases_of
from ranking.conversations import NO_LEADS, Leads
from ranking.fusion import DECIMALS, Ranked
from ranking.intervals import mean_by_customer
from ranking.measures import ndcg
from ranking.model import RRF, Comparison, RankingModel, features_of
from ranking.objectives import OBJECTIVES, Matrix, Objective, Told
from ranking.own_history import NOTHING_USUAL
from ranking.placing import SOURCES, by_source, order_of
from ranking.recommend import Tuning
from ranking.walk import Archive, Scene, as_served, scenes
from stores.records import iso

FEWEST_CASES = 60
"""Fewer than this say too little to weigh features by: fusion by reciprocal rank is kept."""
MOST_CASES = 1500
HELD_OUT_SHARE = 0.25
NEGATIVES = 300
FIRST_OF_EACH = 20
SMALLEST_SCALE = 1e-6
BEYOND_PRIOR = 5.0
BEYOND_SHARE = 0.5
MOST_BEYOND = 10_000
"""How many campaigns' terms a model keeps, the strongest: with the longest ids that there may be they are 1.4 MB."""
TALK = "own_history.talk"
"""The feature that needs the model to keep which words lead where."""
EITHER_WAY = frozenset(("engagement.age", "engagement.customers"))
"""Features that may count against a campaign: being old, and having been popular beyond what it is lately."""


class Example(Struct, frozen=True, kw_only=True):
    """One case as the fit sees it: `values` (candidates, features), rows in the order of `campaign_ids` and columns in that of `names`,
    and which rows the customer responded to.

    `stands_for` says how many campaigns each row stands for: those that were drawn stand for the ones that were not.
    """

    user_id: str
    at_ms: int
    ended_ms: int
    campaign_ids: tuple[str, ...]
    names: tuple[str, ...]
    values: Matrix
    positive: NDArray[np.bool_]
    stands_for: Matrix


def example_of(scene: Scene) -> Example:
    """The scene's candidates as features: all that the customer responded to, and of the others at most 300.

    Those are the first twenty of each source, the ones that a ranking has to tell apart, and others drawn by lot.
    """
    sample = sample_of(scene)
    rows: dict[str, dict[str, float]] = {key: {} for key in sample}
    for source, found in scene.rankings.items():
        for each in found:
            if (row := rows.get(each.candidate.campaign_id)) is not None:
                row.update(features_of(source, each))
    names = tuple(sorted({name for row in rows.values() for name in row}))
    return Example(
        user_id=scene.case.user_id,
        at_ms=scene.case.at_ms,
        ended_ms=scene.case.ended_ms,
        campaign_ids=tuple(rows),
        names=names,
        values=np.array([[row.get(name, 0.0) for name in names] for row in rows.values()]),
        positive=np.array([key in scene.truth for key in rows]),
        stands_for=np.array(list(sample.values())),
    )


def sample_of(scene: Scene) -> dict[str, float]:
    """The campaigns that stand for a scene, in order of campaign_id, and how many each stands for."""
    others = [key for key in scene.lot if key not in scene.truth]
    if len(others) <= NEGATIVES:
        return dict.fromkeys(sorted(scene.candidates), 1.0)
    first = {each.candidate.campaign_id for found in scene.rankings.values() for each in sorted(found, key=by_rank)[:FIRST_OF_EACH]}
    certain = scene.truth | first
    left = [key for key in others if key not in first]
    drawn = left[: NEGATIVES - len(first - scene.truth)]
    return {key: 1.0 if key in certain else len(left) / len(drawn) for key in sorted([*certain, *drawn])}


def by_rank(ranked: Ranked) -> tuple[int, str]:
    return ranked.rank, ranked.candidate.campaign_id


def fit(
    examples: Sequence[Example], *, before_ms: int, usual: Mapping[str, float] = NOTHING_USUAL, leads: Leads = NO_LEADS
) -> RankingModel:
    """The linear model of those examples that had ended before a moment; RRF, said so, where they are too few. Deterministic.

    `usual` is how much of all that was said until then phrases make up, `leads` which words led to which campaigns: kept
    where that weighs anything.
    """
    past = [example for example in examples if example.ended_ms < before_ms and example.positive.any() and not example.positive.all()]
    if len(past) < FEWEST_CASES:
        return replace(RRF, cases=len(past), why=few(len(past)))
    past = past[-MOST_CASES:]
    names = sorted({name for example in past for name in example.names})
    objective = best_objective(names, past)
    weights, scales = weighed(names, past, OBJECTIVES[objective])
    sums = [aligned(example, names) @ weights for example in past]
    model = RankingModel(
        kind="linear",
        weights={name: float(weight) for name, weight in zip(names, weights, strict=True) if weight},
        scales={name: round(float(scale), 6) for name, scale, weight in zip(names, scales, weights, strict=True) if weight},
        centre=round(float(np.mean([np.max(each) for each in sums])), 6),
        usual=dict(usual),
        beyond=chosen_beyond(past, sums),
        leads={word: dict(leads[word]) for word in leads} if dict(zip(names, weights, strict=True)).get(TALK) else {},
        cases=len(past),
        positives=int(sum(each.positive.sum() for each in past)),
        trained_before_ms=before_ms,
        objective=objective,
        why=f"fitted by {objective} on {len(past)} cases that had ended before {iso(before_ms)}",
    )
    return model.versioned()


def chosen_beyond(past: Sequence[Example], sums: Sequence[Matrix]) -> dict[str, float]:
    """For each campaign, half of log((chosen + 5) / (expected + 5)): how often it was chosen in past cases, and by these weighted sums
    of the examples' rows should be.

    Five cases are added so that few say little; half, since popularity, one of the signals, has told some of it. At most the
    10,000 strongest.
    """
    chosen: dict[str, float] = defaultdict(float)
    expected: dict[str, float] = defaultdict(float)
    for example, each in zip(past, sums, strict=True):
        odds = np.exp(each - each.max())
        chances = odds / (odds @ example.stands_for) * example.positive.sum()
        for key, positive, stands_for, chance in zip(example.campaign_ids, example.positive, example.stands_for, chances, strict=True):
            chosen[key] += float(positive)
            expected[key] += float(chance * stands_for)
    found = ((key, BEYOND_SHARE * log((chosen[key] + BEYOND_PRIOR) / (expected[key] + BEYOND_PRIOR))) for key in sorted(expected))
    told = {key: round(beyond, DECIMALS) for key, beyond in found}
    strongest = sorted((key for key in told if told[key]), key=lambda key: (-abs(told[key]), key))[:MOST_BEYOND]
    return {key: told[key] for key in sorted(strongest)}


def aligned(example: Example, names: Sequence[str]) -> Matrix:
    """The example's values in the order of `names`, 0 for a feature that it lacks."""
    place = {name: column for column, name in enumerate(names)}
    table = np.zeros((len(example.values), len(names)))
    table[:, [place[name] for name in example.names]] = example.values
    return table


def weighed(names: Sequence[str], past: Sequence[Example], objective: Objective) -> tuple[Matrix, Matrix]:
    """The features' weights and their spread in training. Evidence for a campaign never counts against it, but for `EITHER_WAY`.

    A feature that would count against a campaign stands in for another one by chance, and did worse on later cases.
    """
    tables = [aligned(example, names) for example in past]
    scales = np.sqrt(np.mean([table.var(axis=0) for table in tables], axis=0))
    kept = [column for column, scale in enumerate(scales) if scale > SMALLEST_SCALE]
    told = [Told(table[:, kept] / scales[kept], each.positive, each.stands_for) for table, each in zip(tables, past, strict=True)]
    weights = np.zeros(len(names))
    weights[kept] = objective(told, [names[column] in EITHER_WAY for column in kept]) / scales[kept]
    return np.round(weights, 6), scales


def best_objective(names: Sequence[str], past: Sequence[Example]) -> str:
    """The first objective, unless another does better beyond chance.

    The weights are fitted on the first three quarters of the examples and compared by how they order the last quarter. Between
    objectives that do about as well there a mere difference of means would choose by lot.
    """
    border = int(len(past) * (1 - HELD_OUT_SHARE))
    users = [example.user_id for example in past[border:]]

    def orders(objective: Objective) -> NDArray[np.float64]:
        weights, _ = weighed(names, past[:border], objective)
        return np.array([ordered_by(weights, names, example) for example in past[border:]])

    (default, objective), *others = OBJECTIVES.items()
    found = orders(objective)
    gains = {name: mean_by_customer(list(orders(other) - found), users) for name, other in others}
    better = {name: mean for name, (mean, low, _) in gains.items() if low > 0}
    return max(better, key=lambda name: better[name], default=default)


def ordered_by(weights: Matrix, names: Sequence[str], example: Example) -> float:
    """NDCG@10 of an example's rows in the order of their weighted sums."""
    order = np.argsort(-np.round(aligned(example, names) @ weights, DECIMALS), kind="stable")
    return ndcg([str(row) for row in order], frozenset(map(str, np.flatnonzero(example.positive))), k=10)


def fit_model(archive: Archive, *, most_cases: int = MOST_CASES) -> RankingModel:
    """The model to release: fitted on the records' own cases, and released only where it beats what needs no fitting.

    The last quarter of the cases is held out. A model of the others is compared there with reciprocal rank fusion and with
    every single source; if it is better than fusion, the model of all cases is given, else fusion. Of many cases the latest
    `most_cases` are looked at.
    """
    cases = cases_of(archive.records, archive.campaigns)[-min(most_cases, MOST_CASES) :]
    if len(cases) < FEWEST_CASES:
        return replace(RRF, cases=len(cases), why=few(len(cases)))
    border_ms = sorted(case.at_ms for case in cases)[int(len(cases) * (1 - HELD_OUT_SHARE))]
    examples: list[Example] = []
    trial: RankingModel | None = None
    found: dict[str, list[float]] = {}
    users: list[str] = []
    usual: Mapping[str, float] = NOTHING_USUAL
    leads: Leads = NO_LEADS
    for scene in scenes(archive, cases):
        usual, leads = scene.lineup.model.usual, scene.lineup.model.leads
        if scene.case.at_ms >= border_ms:
            trial = trial or fit(examples, before_ms=border_ms, usual=usual, leads=leads)
            users.append(scene.case.user_id)
            for name, ndcg10 in rivals(scene, trial, archive.tuning):
                found.setdefault(name, []).append(ndcg10)
        examples.append(example_of(scene))
    compared = compare(found, users)
    if trial is None or trial.kind == "rrf":
        return replace(RRF, cases=len(examples), why=few(sum(example.ended_ms < border_ms for example in examples)))
    gain = compared["rrf"].gain
    about = f"NDCG@10 {np.mean(found['linear']):.3f} on the {len(users)} latest cases, {gain:+.3f} over reciprocal rank fusion"
    if gain <= 0:
        return replace(
            RRF, cases=len(examples), held_out=len(users), compared=compared, why=f"reciprocal rank fusion: a fitted model had {about}"
        )
    final = fit(examples, before_ms=max(example.ended_ms for example in examples) + 1, usual=usual, leads=leads)
    return replace(final, held_out=len(users), compared=compared, why=f"fitted by {final.objective} on {final.cases} past cases: {about}")


def few(cases: int) -> str:
    return f"reciprocal rank fusion: {cases} past cases are too few to fit on, {FEWEST_CASES} are needed"


def rivals(scene: Scene, model: RankingModel, tuning: Tuning) -> Iterator[tuple[str, float]]:
    """NDCG@10 of the model, of reciprocal rank fusion, and of each source alone."""
    plain = as_served(scene, RRF)
    yield "linear", ndcg(order_of(as_served(scene, model), tuning=tuning), scene.truth, k=10)
    yield "rrf", ndcg(order_of(plain, tuning=tuning), scene.truth, k=10)
    for source in SOURCES:
        yield source, ndcg(by_source(source)(plain), scene.truth, k=10)


def compare(found: Mapping[str, Sequence[float]], users: Sequence[str]) -> dict[str, Comparison]:
    """By how much the linear model beat each of the others on the same cases."""
    compared = {}
    for name, values in found.items():
        gain, low, high = mean_by_customer([ours - theirs for ours, theirs in zip(found["linear"], values, strict=True)], users)
        compared[name] = Comparison(ndcg10=round(float(np.mean(values)), 6), gain=gain, low=low, high=high)
    return compared
