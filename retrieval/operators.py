"""What operators do through the API: forget customers, give them what is held of them, look at releases.

These use the shelf's synchronous side, as the command does, in a thread: they are few, and each store is opened for the one call.
"""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from msgspec.structs import replace

from retrieval.schemas import ErasureStatus, PlaceStatus
from stores.documents import Documents
from stores.erasures import Erasure, checked_key
from stores.export import held
from stores.exported import Export
from stores.forgetting import Asked, ask, places_of, standing
from stores.records import Release, iso
from stores.settings import Settings

Done = TypeVar("Done")


class Operators:
    """The operators' part of the service. A store may take `answer_timeout_s` for each call.

    Every call raises StoreError where a store does not answer; what concerns erasures raises BadSetting where their key is not set.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = replace(settings, write_timeout_s=settings.answer_timeout_s)

    async def forget(self, user_id: str) -> Asked:
        """Asks for a customer to be forgotten: durable, and answers stop, when this returns. Dagster's sensor sees to the rest."""
        return await asyncio.to_thread(ask, self._settings, user_id)

    async def erasure(self, user_id: str) -> Erasure | None:
        """How a customer's erasure stands; None where none was asked for."""
        checked_key(self._settings.erasure_key)
        return await asyncio.to_thread(standing, self._settings, user_id)

    async def export(self, user_id: str) -> Export:
        """Everything that is held of a customer; it fails rather than leave a store out."""
        return await asyncio.to_thread(held, self._settings, user_id)

    async def releases(self, limit: int) -> list[Release]:
        """The latest releases, newest first."""
        return await asyncio.to_thread(self._with_documents, lambda documents: documents.releases(limit))

    def _with_documents(self, call: Callable[[Documents], Done]) -> Done:
        documents = Documents(self._settings)
        try:
            return call(documents)
        finally:
            documents.close()


def status_of(erasure: Erasure) -> ErasureStatus:
    """An erasure as the API shows it."""
    return ErasureStatus(
        status="done" if erasure.done_at_ms else "begun" if erasure.begun_at_ms else "requested",
        mark=erasure.mark,
        requested_at=iso(erasure.requested_at_ms),
        done_at=iso(erasure.done_at_ms) if erasure.done_at_ms else None,
        places={name: PlaceStatus(found=place.found, left=place.left) for name, place in places_of(erasure).items()},
    )
