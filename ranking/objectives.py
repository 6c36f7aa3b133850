"""What weights are fitted to: two ways of saying that what customers responded to comes before what they did not.

scikit-learn and SciPy are imported only when something is fitted.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

INVERSE_PENALTY = 0.3
"""Of the ridge on the weights of standardised features, where each case weighs 1."""
INVERSE_PENALTY_OF_CHOICES = 0.03

Matrix = NDArray[np.float64]


class Told(NamedTuple):
    """What one case tells: its rows in standard deviations, which of them were responded to, and how many campaigns each stands for."""

    values: Matrix
    positive: NDArray[np.bool_]
    stands_for: Matrix


Objective = Callable[[Sequence[Told], Sequence[bool]], Matrix]
"""Finds weights for what cases tell; a weight may be below 0 only where the second argument says so."""


def pairs(told: Sequence[Told], either_way: Sequence[bool]) -> Matrix:
    """Weights by which what was responded to comes before each of the others.

    Features whose weight comes out negative are left out and the others fitted again, until there is none.
    """
    kept, weights = list(range(len(either_way))), np.zeros(len(either_way))
    while kept:
        found = regressed([Told(each.values[:, kept], each.positive, each.stands_for) for each in told])
        against = {column for column, weight in zip(kept, found, strict=True) if weight < 0 and not either_way[column]}
        if not against:
            weights[kept] = found
            break
        kept = [column for column in kept if column not in against]
    return weights


def regressed(told: Iterable[Told]) -> Matrix:
    """Logistic regression on the differences of all pairs, each case weighing 1."""
    from sklearn.linear_model import LogisticRegression

    differences, importances = [], []
    for each in told:
        better, worse = each.values[each.positive], each.values[~each.positive]
        differences.append((better[:, None, :] - worse[None, :, :]).reshape(-1, each.values.shape[1]))
        importance = np.tile(each.stands_for[~each.positive], len(better))
        importances.append(importance / importance.sum())
    rows = np.concatenate(differences)
    signs = np.where(np.arange(len(rows)) % 2 == 0, 1.0, -1.0)
    model = LogisticRegression(C=INVERSE_PENALTY, fit_intercept=False, max_iter=500)
    model.fit(rows * signs[:, None], signs > 0, sample_weight=np.concatenate(importances))
    return np.asarray(model.coef_[0], dtype=np.float64)


def choices(told: Sequence[Told], either_way: Sequence[bool]) -> Matrix:
    """Weights under which what was responded to is the likeliest choice from a whole list (conditional logit), each case weighing 1.

    McFadden, "Conditional Logit Analysis of Qualitative Choice Behavior" (1974): the first places matter most, where pairs all
    count alike.
    """
    from scipy.optimize import minimize

    found = minimize(
        lambda weights: surprise(weights, told),
        np.zeros(len(either_way)),
        jac=True,
        method="L-BFGS-B",
        bounds=[(None, None) if either else (0.0, None) for either in either_way],
        options={"maxiter": 500},
    )
    return np.asarray(found.x, dtype=np.float64)


def surprise(weights: Matrix, told: Sequence[Told]) -> tuple[float, Matrix]:
    """How unlikely the outcomes are, as a sum of -log(chance) with a ridge on the weights, and its gradient.

    An outcome is chosen from itself and all that was not responded to.
    """
    total, gradient = float(weights @ weights) / (2 * INVERSE_PENALTY_OF_CHOICES), weights / INVERSE_PENALTY_OF_CHOICES
    for each in told:
        sums = each.values @ weights
        odds = np.exp(sums - sums.max())
        good, others = odds[each.positive], np.where(each.positive, 0.0, odds * each.stands_for)
        chances = good / (good + others.sum())
        total -= float(np.mean(np.log(chances)))
        rest = others * np.mean(chances / good)
        rest[each.positive] = (chances - 1) / len(good)
        gradient = gradient + rest @ each.values
    return total, gradient


OBJECTIVES: dict[str, Objective] = {"choices": choices, "pairs": pairs}
"""By name; the first is taken unless another is shown to do better."""
