"""Series for Prometheus that cost a request almost nothing: plain numbers, made into metrics when they are asked for.

The client library's own take a lock and walk the buckets for each observation: five times the time, measured. One event
loop counts here, and the same loop answers the scrape, so no lock is needed.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0)

Labels = tuple[str, ...]


class Counts(Collector):
    """A counter for each combination of its labels."""

    def __init__(self, name: str, told: str, labels: Sequence[str] = ()) -> None:
        self._name, self._told, self._labels = name, told, labels
        self._counts: dict[Labels, int] = {} if labels else {(): 0}

    def add(self, *labels: str) -> None:
        self._counts[labels] = self._counts.get(labels, 0) + 1

    def collect(self) -> Iterator[CounterMetricFamily]:
        family = CounterMetricFamily(self._name, self._told, labels=self._labels)
        for labels, count in self._counts.items():
            family.add_metric(labels, count)
        yield family


class Times(Collector):
    """A histogram of seconds for each combination of its labels."""

    def __init__(self, name: str, told: str, labels: Sequence[str]) -> None:
        self._name, self._told, self._labels = name, told, labels
        self._counts: dict[Labels, list[int]] = {}
        self._sums: dict[Labels, float] = {}

    def add(self, seconds: float, *labels: str) -> None:
        if (counts := self._counts.get(labels)) is None:
            counts = self._counts[labels] = [0] * (len(BUCKETS_S) + 1)
            self._sums[labels] = 0.0
        counts[bisect_left(BUCKETS_S, seconds)] += 1
        self._sums[labels] += seconds

    def collect(self) -> Iterator[HistogramMetricFamily]:
        family = HistogramMetricFamily(self._name, self._told, labels=self._labels)
        for labels, counts in self._counts.items():
            total, buckets = 0, []
            for most, count in zip([*BUCKETS_S, "+Inf"], counts, strict=True):
                total += count
                buckets.append((str(most), total))
            family.add_metric(labels, buckets, sum_value=self._sums[labels])
        yield family
