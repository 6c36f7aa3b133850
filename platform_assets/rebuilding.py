"""What a rebuild is asked to write anew, which Milvus collections a run writes, and which nobody needs any more.

Message, user and campaign vectors lie in three collections, named by model, dimension, version (the code and the settings that
shape a vector) and revision. Another model or version is another three, built beside those that readers are in; a
rebuild is another revision of the same. Nothing but the releases says which revision counts: so no crash can lose it.
"""

import re
from collections.abc import Sequence

import dagster as dg
from msgspec import Struct

from stores.records import Release
from stores.settings import BadSetting
from stores.vectors import collection_name

TAG = "campaigns/rebuild"
ASSETS = ("embeddings", "vectors", "graph", "metrics", "ranking_model")
RELEASES_KEPT = 2  # the current one's collections and its predecessor's: readers may still be inside the latter
NAMES = ("message_vectors", "user_vectors", "campaign_vectors")


class Rebuild(Struct, frozen=True):
    """The assets that this run writes anew, and the runs (itself, and the one it resumes) that are the same attempt at it."""

    assets: frozenset[str] = frozenset()
    runs: frozenset[str] = frozenset()


NO_REBUILD = Rebuild()


class Collections(Struct, frozen=True):
    """The names under which Milvus keeps the vectors of one model."""

    messages: str
    users: str
    campaigns: str

    @property
    def names(self) -> frozenset[str]:
        return frozenset((self.messages, self.users, self.campaigns))

    @property
    def ledger(self) -> str:
        """The ledger of these collections: other collections have a ledger of their own."""
        return self.messages


def rebuild_of(run: dg.DagsterRun | None) -> Rebuild:
    """What a run's tag asks for. A rebuild of the embeddings rebuilds the vectors too, which are copies of them.

    Raises:
        BadSetting: the tag names something that is no asset, or none that can be rebuilt.
    """
    if run is None or not run.tags.get(TAG):
        return Rebuild()
    assets = set(run.tags[TAG].split(","))
    if unknown := sorted(assets.difference(ASSETS)):
        raise BadSetting(f"the tag {TAG}: {', '.join(unknown)} cannot be rebuilt; it takes {','.join(ASSETS)}")
    if "embeddings" in assets:
        assets.add("vectors")
    resumed = {run.parent_run_id} if run.tags.get("dagster/is_resume_retry") == "true" and run.parent_run_id else set()
    return Rebuild(frozenset(assets), frozenset({run.run_id, *resumed}))


def collections_of(rebuild: Rebuild, releases: Sequence[Release], *, model: str, dimension: int, version: str) -> Collections:
    """The collections that this run writes. `releases` are the latest, newest first."""
    shape = {"model": model, "dimension": dimension, "fingerprint": version}
    if "vectors" in rebuild.assets:
        revision = next_number(rebuild, releases)
    else:
        revision = revision_in_use(collection_name("message_vectors", **shape), releases)
    return Collections(*(collection_name(kind, **shape, revision=revision) for kind in NAMES))


def next_number(rebuild: Rebuild, releases: Sequence[Release]) -> int:
    """The number of the release that this rebuild will publish, or has published before it was cut off."""
    return next((release.number for release in releases if release.run_id not in rebuild.runs), 0) + 1


def revision_in_use(base: str, releases: Sequence[Release]) -> int:
    """The revision of a collection that the newest of these releases names, 0 where none does."""
    names = (re.fullmatch(rf"{re.escape(base)}(?:_r(\d+))?", release.message_vectors) for release in releases)
    return next((int(name[1] or 0) for name in names if name), 0)
