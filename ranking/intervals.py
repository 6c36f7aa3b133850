"""How sure a mean over cases is, where several cases come from one customer."""

from collections.abc import Sequence

import numpy as np

RESAMPLES = 2000
SEED = 20170620

Interval = tuple[float, float, float]
"""A mean with the bounds of its 95 % interval: mean, low, high."""


def mean_by_customer(values: Sequence[float], user_ids: Sequence[str]) -> Interval:
    """The mean of `values` with its 95 % interval, by drawing customers, not cases, again and again (percentile bootstrap, seeded).

    Cases of one customer are alike: drawn one by one they would make the interval too narrow. NaN where there are no values.
    """
    if not values:
        return float("nan"), float("nan"), float("nan")
    users, place = np.unique(np.asarray(user_ids), return_inverse=True)
    sums = np.bincount(place, weights=np.asarray(values, dtype=np.float64))
    counts = np.bincount(place)
    drawn = np.random.default_rng(SEED).integers(len(users), size=(RESAMPLES, len(users)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return round(float(np.mean(values)), 6), round(float(low), 6), round(float(high), 6)
