"""Which collections a rebuild, a refresh and a resumed rebuild write, told from the releases alone."""

import dagster as dg
import pytest

from platform_assets.rebuilding import NO_REBUILD, TAG, Collections, Rebuild, collections_of, rebuild_of
from stores.records import Release
from stores.settings import BadSetting

BASE = "message_vectors_tiny_4_v"


def release(number: int, *, revision: int = 0, model: str = "tiny", run_id: str = "r") -> Release:
    suffix = f"_{model}_4_v" + (f"_r{revision}" if revision else "")
    names = (f"message_vectors{suffix}", f"user_vectors{suffix}")
    return Release(
        number=number, digest="d", message_vectors=names[0], user_vectors=names[1], model=model, dimension=4, sequence=1, run_id=run_id
    )


def written(rebuild: Rebuild, *releases: Release) -> str:
    return collections_of(rebuild, releases, model="tiny", dimension=4, version="v").messages


def of(*assets: str, runs: tuple[str, ...] = ("now",)) -> Rebuild:
    return Rebuild(frozenset(assets), frozenset(runs))


def test_a_refresh_writes_the_revision_that_the_newest_release_of_its_model_names() -> None:
    assert written(NO_REBUILD) == BASE
    assert written(NO_REBUILD, release(3, revision=2), release(2)) == f"{BASE}_r2"
    assert written(NO_REBUILD, release(4, model="other"), release(3, revision=2)) == f"{BASE}_r2"
    assert written(NO_REBUILD, release(4, model="tiny_4_v_r2")) == BASE


def test_a_rebuild_writes_collections_named_after_the_release_that_it_will_publish() -> None:
    assert written(of("vectors")) == f"{BASE}_r1"
    assert written(of("vectors"), release(7, revision=2)) == f"{BASE}_r8"
    assert written(of("graph", "metrics"), release(7, revision=2)) == f"{BASE}_r2"


def test_a_rebuild_that_is_resumed_after_its_release_goes_on_with_its_own_collections() -> None:
    assert written(of("vectors", runs=("again", "cut off")), release(8, revision=8, run_id="cut off"), release(7)) == f"{BASE}_r8"


def run(**tags: str) -> dg.DagsterRun:
    return dg.DagsterRun(job_name="rebuild", run_id="a1", root_run_id="b2", parent_run_id="b2", tags={f"{k}": v for k, v in tags.items()})


def test_a_run_says_by_its_tags_what_it_rebuilds() -> None:
    assert rebuild_of(None) == rebuild_of(run()) == NO_REBUILD
    assert rebuild_of(run(**{TAG: "graph,metrics"})) == of("graph", "metrics", runs=("a1",))
    assert rebuild_of(run(**{TAG: "embeddings"})).assets == {"embeddings", "vectors"}
    with pytest.raises(BadSetting, match="raw_docs cannot be rebuilt"):
        rebuild_of(run(**{TAG: "raw_docs,graph"}))


def test_only_a_resumed_run_is_the_same_attempt_as_the_one_before() -> None:
    assert rebuild_of(run(**{TAG: "graph"})).runs == {"a1"}
    assert rebuild_of(run(**{TAG: "graph", "dagster/is_resume_retry": "true"})).runs == {"a1", "b2"}


def test_the_collections_of_a_run_have_one_ledger() -> None:
    assert Collections(messages="m", users="u", campaigns="c").ledger == "m"
