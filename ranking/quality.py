"""How good the served ranking is, next to simpler ones: judged on past cases, each with the evidence and the model of its time."""

from collections.abc import Callable, Sequence
from itertools import combinations
from zlib import crc32

import numpy as np
from msgspec import Struct

from ranking.cases import Case, cases_of
from ranking.diversity import likeness
from ranking.fitting import MOST_CASES, Example, example_of, fit
from ranking.intervals import Interval, mean_by_customer
from ranking.measures import ndcg, recall, reciprocal_rank
from ranking.model import RRF, RankingModel
from ranking.placing import SOURCES, methods, order_of
from ranking.recommend import Tuning
from ranking.refitting import Extent, outgrown
from ranking.walk import Archive, Scene, as_served, scenes
from stores.records import iso

SERVED = "served"
FIRST = 10
LIGHT = 5
JUDGED_SHARE = 0.3
NO_PROGRESS: Callable[[int, int], None] = lambda done, of: None  # noqa: E731


class Judged(Struct, frozen=True, kw_only=True):
    """What one way of ranking gave in one case: its measures, by name, and its first ten."""

    measures: dict[str, float]
    first: tuple[str, ...]


class Segment(Struct, frozen=True, kw_only=True):
    """The cases of one kind of customer, or of one kind of moment: how many, NDCG@10 by method, and the differences to served."""

    cases: int
    ndcg10: dict[str, float]
    differences: dict[str, Interval]


class Quality(Struct, frozen=True, kw_only=True):
    """What was found. `methods` and `differences` hold measures by method: means, and mean, low and high of a 95 % interval.

    `ndcg10` is that of what is served, with its own interval: NaN where there are no cases. `segments` are new customers (no
    engagement known), light (fewer than five) and heavy ones, and the moments of the cases.
    `models` says from when on which model was served, and why it; `silent` names the sources that had nothing to say in any case.
    """

    cases: int
    customers: int
    candidates: float
    ndcg10: Interval
    methods: dict[str, dict[str, float]]
    differences: dict[str, dict[str, Interval]]
    segments: dict[str, Segment]
    models: dict[str, str]
    silent: list[str]


def judge(
    archive: Archive,
    *,
    cases: Sequence[Case] | None = None,
    since_ms: int | None = None,
    refit_share: float,
    fitted: bool = True,
    most_cases: int = 1000,
    progress: Callable[[int, int], None] = NO_PROGRESS,
) -> Quality:
    """Judges every method on `cases`, or on a time split of the records' own, from `since_ms` on.

    Without `since_ms` the given cases are all judged, of the records' own the last three tenths. The served model is fitted anew
    when the platform would: when records or outcomes have become more by `refit_share`, on what had ended before; where it is not
    `fitted`, reciprocal rank fusion is served. Of more than `most_cases` cases that many are judged, drawn by lot.
    """
    own = cases_of(archive.records, archive.campaigns)
    to_judge = sampled(chosen(own if cases is None else cases, given=cases is not None, since_ms=since_ms), most_cases)
    last_ms = max((case.at_ms for case in to_judge), default=0)
    to_fit_on = sampled([case for case in own if case.at_ms < last_ms], MOST_CASES) if fitted else []
    trial = Trial(archive.tuning, refit_share=refit_share, fitted=fitted)
    ids = {case.case_id for case in to_judge}
    everything = to_judge + [case for case in to_fit_on if case.case_id not in ids]
    fits = {case.case_id for case in to_fit_on}
    for done, scene in enumerate(scenes(archive, everything), start=1):
        if scene.case.case_id in ids:
            trial.judge(scene)
        if scene.case.case_id in fits:
            trial.examples.append(example_of(scene))
        progress(done, len(everything))
    return trial.quality()


def chosen(cases: Sequence[Case], *, given: bool, since_ms: int | None) -> list[Case]:
    """The cases to judge, in order of time."""
    ordered = sorted(cases, key=lambda case: (case.at_ms, case.case_id))
    if since_ms is None and not given and ordered:
        since_ms = ordered[int(len(ordered) * (1 - JUDGED_SHARE))].at_ms
    return [case for case in ordered if since_ms is None or case.at_ms >= since_ms]


def sampled(cases: list[Case], most: int) -> list[Case]:
    """At most that many of the cases, drawn by a hash, in order of time."""
    if len(cases) <= most:
        return cases
    kept = set(sorted((case.case_id for case in cases), key=lambda case_id: crc32(case_id.encode()))[:most])
    return [case for case in cases if case.case_id in kept]


class Trial:
    """Judges scenes in order of time, serving in each what was fitted on the examples that had ended before."""

    def __init__(self, tuning: Tuning, *, refit_share: float, fitted: bool) -> None:
        self._tuning = tuning
        self._fitted = fitted
        self._refit_share = refit_share
        self._methods = methods(tuning)
        self._model = RRF
        self._fitted_on: Extent | None = None
        self._models: dict[str, str] = {}
        self.examples: list[Example] = []
        self._cases: list[tuple[str, str, str]] = []
        self._sizes: list[int] = []
        self._judged: dict[str, list[Judged]] = {name: [] for name in (SERVED, *self._methods)}
        self._offered: set[str] = set()
        self._speaking: set[str] = set()

    def judge(self, scene: Scene) -> None:
        """Ranks one scene every way, each as a platform that goes that way would: with what its model keeps, or without any."""
        model, plain = self._model_at(scene), as_served(scene, RRF)
        served = plain if model.kind == "rrf" else as_served(scene, model)
        self._cases.append((scene.case.user_id, busy(scene.engagements), scene.case.moment))
        self._sizes.append(len(scene.candidates))
        self._offered |= scene.candidates
        self._speaking |= {source for source, found in scene.rankings.items() if found}
        self._judged[SERVED].append(judged(order_of(served, tuning=self._tuning), scene))
        for name, order in self._methods.items():
            self._judged[name].append(judged(order(plain), scene))

    def _model_at(self, scene: Scene) -> RankingModel:
        at_ms, kept = scene.case.at_ms, scene.lineup.model
        if self._fitted_on is None or outgrown(self._fitted_on, scene.extent, share=self._refit_share):
            self._model = fit(self.examples, before_ms=at_ms, usual=kept.usual, leads=kept.leads) if self._fitted else RRF
            self._fitted_on = scene.extent
            self._models[iso(at_ms)] = self._model.why
        return self._model

    def quality(self) -> Quality:
        """Everything judged so far, summed up."""
        users = [user_id for user_id, _, _ in self._cases]
        means = {name: self._means(found) for name, found in self._judged.items()}
        rows = {
            name: [row for row, kinds in enumerate(self._cases) if name in kinds[1:]]
            for name in sorted({kind for kinds in self._cases for kind in kinds[1:]})
        }
        return Quality(
            cases=len(users),
            customers=len(set(users)),
            candidates=round(float(np.mean(self._sizes)), 1) if self._sizes else 0.0,
            ndcg10=mean_by_customer([each.measures["ndcg@10"] for each in self._judged[SERVED]], users),
            methods=means,
            differences={f"{SERVED}-{name}": self._differences(name, range(len(users))) for name in self._methods},
            segments={name: self._segment(some) for name, some in rows.items()},
            models=self._models,
            silent=[source for source in SOURCES if source not in self._speaking],
        )

    def _means(self, found: Sequence[Judged]) -> dict[str, float]:
        names = found[0].measures if found else ()
        means = {name: round(float(np.mean([each.measures[name] for each in found])), 6) for name in names}
        shown = {key for each in found for key in each.first}
        return means | {"coverage@10": round(len(shown) / max(1, len(self._offered)), 6)}

    def _differences(self, name: str, rows: Sequence[int]) -> dict[str, Interval]:
        served, other = self._judged[SERVED], self._judged[name]
        users = [self._cases[row][0] for row in rows]
        measures = served[0].measures if served else ()
        return {
            measure: mean_by_customer([served[row].measures[measure] - other[row].measures[measure] for row in rows], users)
            for measure in measures
        }

    def _segment(self, rows: Sequence[int]) -> Segment:
        return Segment(
            cases=len(rows),
            ndcg10={
                name: round(float(np.mean([found[row].measures["ndcg@10"] for row in rows])), 6) for name, found in self._judged.items()
            },
            differences={f"{SERVED}-{name}": self._differences(name, rows)["ndcg@10"] for name in self._methods},
        )


def busy(engagements: int) -> str:
    """The kind of customer, by how many engagements are known."""
    return "new" if not engagements else "light" if engagements < LIGHT else "heavy"


def judged(order: Sequence[str], scene: Scene) -> Judged:
    """One method's order of a scene, measured."""
    truth, first = scene.truth, tuple(order[:FIRST])
    measures = {
        "ndcg@5": ndcg(order, truth, k=5),
        "ndcg@10": ndcg(order, truth, k=10),
        "recall@5": recall(order, truth, k=5),
        "recall@10": recall(order, truth, k=10),
        "mrr": reciprocal_rank(order, truth),
        "diversity@10": diversity(first, scene),
    }
    return Judged(measures=measures, first=first)


def diversity(first: Sequence[str], scene: Scene) -> float:
    """How unlike each other the campaigns of a list are: 1 - the mean likeness of its pairs, 0 where there is no pair."""
    campaigns, texts = scene.lineup.catalogue.campaigns, scene.lineup.offering.texts
    alike = [likeness(campaigns[one], campaigns[other], texts) for one, other in combinations(first, 2)]
    return 1 - sum(alike) / len(alike) if alike else 0.0
