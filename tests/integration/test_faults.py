"""A short trial under faults: killed in every asset, engines taken away, and always the contents of a load from nothing.

The long one, by name: `python benchmarks/faults.py`.
"""

from collections.abc import Iterator

import pytest

from tests.faults.stage import stage
from tests.faults.trial import ASSETS, Fault, Trial

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    with stage(tmp_path_factory.mktemp("faults") / "trial", seed=3) as staged:
        yield staged


def test_a_refresh_killed_in_every_asset_ends_as_a_load_from_nothing_would(trial: Trial) -> None:
    for asset in ASSETS:
        trial.load()
        trial.strike(Fault(how="kill the refresh", asset=asset))
    trial.compare()
    assert sum(struck.killed_in is not None for struck in trial.struck) >= len(ASSETS) - 1
    assert trial.found == []


def test_a_refresh_that_lost_its_stores_for_a_while_ends_as_a_load_from_nothing_would(trial: Trial) -> None:
    for how, store, asset in (
        ("kill the engine", "neo4j", "graph"),
        ("freeze the engine", "milvus", "vectors"),
        ("refuse writes", "sql", "metrics"),
    ):
        trial.load()
        trial.strike(Fault(how=how, store=store, asset=asset))
    trial.compare()
    assert trial.found == []


def test_readers_never_met_anything_that_a_refresh_should_not_show(trial: Trial) -> None:
    """Through everything above: no empty list, no error but an outage's own, no release older than the one published."""
    seen = trial.reader.stop()
    assert seen.complaints == []
    assert seen.answers > 100
    assert seen.releases >= 3
