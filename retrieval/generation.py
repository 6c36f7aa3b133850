"""The generation that answers are made from: the current release, and the lineup of its catalogue, held in memory.

Redis tells the release's number with every cached answer, for one round trip. When the number changes, or Redis cannot
tell, MongoDB is asked, which keeps the releases; at most once every `RECHECK_S`. What Redis lost is given back to it.
"""

import asyncio
import logging
import time

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from ranking.model import RRF, RankingModel
from ranking.recommend import Lineup, Tuning, lineup
from retrieval.flights import Flights
from retrieval.problems import NoRelease
from stores.cache import CacheReader
from stores.documents import DocumentsReader
from stores.errors import StoreError, Unavailable
from stores.evidence import Catalogue
from stores.metrics import Metrics
from stores.records import Release
from stores.settings import Settings
from stores.vectors import VectorsReader

RECHECK_S = 1.0

log = logging.getLogger("retrieval")


class Generation(Struct, frozen=True, kw_only=True):
    """One release with what may be offered under it.

    `missing` names the stores that kept a newer one from being taken, or this one from being taken whole.
    """

    release: Release
    lineup: Lineup
    missing: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether the vectors of the campaigns are there, in a release that has such."""
        catalogue = self.lineup.catalogue
        return bool(catalogue.vectors) or not (catalogue.campaigns and self.release.campaign_vectors)


class Generations:
    """Holds the current generation. `metrics` is read in a thread; nothing is read before the first call."""

    def __init__(
        self,
        *,
        documents: DocumentsReader,
        cache: CacheReader,
        metrics: Metrics,
        vectors: VectorsReader,
        settings: Settings,
        tuning: Tuning,
    ) -> None:
        self._documents = documents
        self._vectors = vectors
        self._cache = cache
        self._metrics = metrics
        self._settings = settings
        self.tuning = tuning
        self._flights: Flights[Generation] = Flights()
        self._asked: tuple[int | None, float] = (None, float("-inf"))
        self.held: Generation | None = None
        """The generation in memory, which may be behind; None before the first was loaded."""

    async def current(self, number: int | None) -> Generation:
        """The generation to answer from, where Redis says that release `number` is current: 0 where it lost it, None where it is silent.

        When the stores that a newer one would be loaded from do not answer, the one in memory, with their names in `missing`.

        Raises:
            NoRelease: nothing was ever released.
            StoreError: nothing is in memory, and a store does not answer.
        """
        held = self.held
        if held is not None and held.release.number == number and held.whole:
            if held.missing:  # Redis says that nothing newer was published: what could not be asked for it is not missing any more
                self.held = held = replace(held, missing=())
            return self.as_of_now(held)
        if held is not None and self._just_asked(number):
            return self.as_of_now(held)
        try:
            async with asyncio.timeout(2 * self._settings.read_timeout_s):
                return self.as_of_now(await self._flights.join("load", lambda: self._load(number)))
        except TimeoutError:
            failure: StoreError = Unavailable("sql", "the catalogue is not read yet")  # the other stores' calls end before this
        except StoreError as exc:
            failure = exc
        if held is None:
            raise failure
        log.warning("release %d goes on being served: %s", held.release.number, failure)
        self.held = replace(held, missing=(failure.store,))
        return self.as_of_now(self.held)

    def _just_asked(self, number: int | None) -> bool:
        asked, at_s = self._asked
        return asked == number and time.monotonic() < at_s + RECHECK_S

    async def _load(self, number: int | None) -> Generation:
        """What `_take` gives, noted as asked only at its end: meanwhile whoever asks waits too, and is not given the release before."""
        try:
            return await self._take(number)
        finally:
            self._asked = (number, time.monotonic())

    async def _take(self, number: int | None) -> Generation:
        """Takes the latest release into memory, and gives its number back to Redis where Redis is behind.

        Without Milvus it is taken without the vectors of the campaigns, for which Milvus is asked again the next time.
        Runs to its end however long the catalogue takes, for whoever asks next.
        """
        release = await self._documents.latest_release()
        if release is None:
            raise NoRelease
        held = self.held
        if held is None or held.release != release:
            held = await self._with(release, await asyncio.to_thread(self._metrics.catalogue))
            log.info("serving release %d, digest %s", release.number, release.digest)
        elif not held.whole:
            held = await self._with(release, held.lineup.catalogue)
        self.held = replace(held, missing=() if held.whole else ("milvus",))
        if number != release.number:
            await self._restore(release)
        return self.held

    async def _with(self, release: Release, catalogue: Catalogue) -> Generation:
        """The generation of this release and catalogue, with its model, and the vectors of the campaigns where Milvus gives them."""
        model = RRF
        if release.ranking_model:
            model = msgspec.json.decode(await self._documents.ranking_model(release.ranking_model), type=RankingModel)
        if release.campaign_vectors:
            try:
                vectors = await self._vectors.campaign_vectors(release.campaign_vectors, catalogue.campaigns)
                catalogue = replace(catalogue, vectors=vectors)
            except StoreError as exc:
                log.warning("release %d is served without the vectors of its campaigns: %s", release.number, exc)
        made = await asyncio.to_thread(lineup, catalogue, now_ms=self._settings.now_ms, tuning=self.tuning, model=model)
        return Generation(release=release, lineup=made)

    async def _restore(self, release: Release) -> None:
        try:
            await self._cache.restore(release)
        except StoreError as exc:
            log.info("release %d was not given back to Redis: %s", release.number, exc)

    def as_of_now(self, held: Generation) -> Generation:
        """The generation with the lineup of this moment: campaigns start and end without any release."""
        until_ms, now_ms = held.lineup.until_ms, self._settings.now_ms
        if until_ms is None or now_ms < until_ms:
            return held
        was = held.lineup
        renewed = replace(held, lineup=lineup(was.catalogue, now_ms=now_ms, tuning=self.tuning, model=was.model, before=was))
        if self.held is held:
            self.held = renewed
        return renewed

    async def close(self) -> None:
        await self._flights.close()
