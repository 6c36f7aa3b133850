"""How good one ranked list is, given what the customer responded to. All lie in [0, 1], higher is better."""

from collections.abc import Sequence
from math import log2


def ndcg(ranked: Sequence[str], truth: frozenset[str], *, k: int) -> float:
    """Normalised discounted cumulative gain of the first k, each hit counting 1 / log2(1 + place), over the best that could be had."""
    gained = sum(1 / log2(1 + place) for place, key in enumerate(ranked[:k], start=1) if key in truth)
    return gained / sum(1 / log2(1 + place) for place in range(1, min(k, len(truth)) + 1)) if truth else 0.0


def recall(ranked: Sequence[str], truth: frozenset[str], *, k: int) -> float:
    """The share of the truth that is among the first k."""
    return len(truth.intersection(ranked[:k])) / len(truth) if truth else 0.0


def reciprocal_rank(ranked: Sequence[str], truth: frozenset[str]) -> float:
    """1 / place of the first hit, 0 where there is none."""
    return next((1 / place for place, key in enumerate(ranked, start=1) if key in truth), 0.0)
