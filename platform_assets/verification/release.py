"""The release pointer: what readers trust is there, and is what the stores hold."""

from collections import Counter
from collections.abc import Iterator

from platform_assets.assets.release import abandoned, digest_of
from platform_assets.resources import Stores
from platform_assets.verification.difference import Difference


def release(stores: Stores, counts: Counter[str]) -> Iterator[Difference]:
    """MongoDB's latest release is the published one and that of these contents; its collections and model exist, and no needless ones."""

    def difference(kind: str, id_: str, detail: str) -> Difference:
        return Difference(store="release", kind=kind, id=id_, detail=detail)

    latest, published = stores.documents.latest_release(), stores.cache.published()
    if latest is None:
        yield difference("missing", "latest", "nothing was released yet: a refresh is due")
        return
    counts["number"], counts["published"] = latest.number, published or 0
    if published != latest.number:
        said = f"Redis names release {published}" if published else "Redis has lost it, until the next request or refresh"
        yield difference("differs", "published", f"MongoDB's latest release is {latest.number}; {said}")
    if latest.digest != digest_of(stores):
        yield difference(
            "stale", f"release {latest.number}", "the stores hold other contents, or were made by other settings: a refresh is due"
        )
    existing = set(stores.vectors_as_found.collections())
    for name in latest.collections:
        if name not in existing:
            yield difference("missing", name, "readers are sent to a collection that is not there")
    if latest.ranking_model and not stores.documents.models.has(latest.ranking_model):
        yield difference(
            "missing", f"ranking model {latest.ranking_model}", "readers are to rank by a model that is not kept: rebuild ranking_model"
        )
    for name in abandoned(stores):
        yield difference("extra", name, "a run that was cut off left it behind: the next refresh drops it")
