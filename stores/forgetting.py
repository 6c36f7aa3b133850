"""How a customer's erasure is asked for, and what proves that it was done: for the command and the API alike."""

import time

from msgspec import Struct

from stores.cache import Cache
from stores.documents import Documents
from stores.erasures import Erasure
from stores.errors import StoreError
from stores.settings import Settings
from stores.suppression import mark_of


class Place(Struct, frozen=True, kw_only=True):
    """How much there was of a customer in one place, and how much is left."""

    found: int
    left: int


class Asked(Struct, frozen=True):
    """A request that is durable. `untold` says why Redis was not told, so that cached answers go on until the job runs."""

    erasure: Erasure
    untold: StoreError | None = None


def ask(settings: Settings, user_id: str) -> Asked:
    """Writes the request, durably, and then stops answers.

    Raises:
        BadSetting: the erasure key is missing or too short.
        StoreError: MongoDB does not answer, or the key is not the one that earlier erasures were made with.
    """
    documents, cache = Documents(settings), Cache(settings)
    try:
        documents.prepare()
        request = documents.erasures.request(user_id, key=settings.erasure_key, now_ms=time.time_ns() // 1_000_000)
        try:
            cache.suppress(user_id)
        except StoreError as exc:
            return Asked(request, exc)
        return Asked(request)
    finally:
        documents.close()
        cache.close()


def standing(settings: Settings, user_id: str) -> Erasure | None:
    """How a customer's erasure stands; None where none was ever asked for."""
    documents = Documents(settings)
    try:
        return documents.erasures.get(mark_of(user_id, settings.erasure_key))
    finally:
        documents.close()


def places_of(erasure: Erasure) -> dict[str, Place]:
    """What was found where, and what is left. Before it is done, all that was found counts as left."""
    left = erasure.left if erasure.done_at_ms else erasure.found
    return {place: Place(found=found, left=left.get(place, 0)) for place, found in erasure.found.items()}
