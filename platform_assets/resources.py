"""What every asset works with: the settings, the stores and the embedder, opened when they are first used in a run."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property

import dagster as dg
import msgspec

from platform_assets.embedder import Embedder
from platform_assets.rebuilding import NO_REBUILD, RELEASES_KEPT, Collections, Rebuild, collections_of, rebuild_of
from platform_assets.reconcile import version_of
from ranking.engagement import EngagementWeights
from ranking.recommend import Tuning
from stores.cache import Cache
from stores.documents import Documents
from stores.errors import StoreError, Unavailable
from stores.graph import Graph
from stores.ledger import Change, Ledger
from stores.metrics import Metrics
from stores.settings import BadSetting, Settings, load_settings
from stores.sql import open_engine
from stores.vectors import Vectors

VECTORS_CODE_VERSION = "2"
RETRY = dg.RetryPolicy(max_retries=2, delay=2, backoff=dg.Backoff.EXPONENTIAL)


class Stores:
    """The five stores at the addresses of `settings`, each prepared when it is first asked for."""

    def __init__(self, settings: Settings, rebuild: Rebuild = NO_REBUILD) -> None:
        self.settings = settings
        self.rebuild = rebuild
        self.delta: dict[str, Sequence[Change]] = {}  # per ledger, what this run wrote: checks in the same run look at just that

    @cached_property
    def embedder(self) -> Embedder:
        return Embedder(self.settings)

    @cached_property
    def _sql(self):
        return open_engine(self.settings)

    @cached_property
    def ledger(self) -> Ledger:
        ledger = Ledger(self._sql)
        ledger.prepare()
        return ledger

    @cached_property
    def metrics(self) -> Metrics:
        metrics = Metrics(self._sql)
        metrics.prepare()
        return metrics

    @cached_property
    def documents(self) -> Documents:
        documents = Documents(self.settings)
        documents.prepare()
        return documents

    @cached_property
    def graph(self) -> Graph:
        graph = Graph(self.settings)
        graph.prepare()
        return graph

    @cached_property
    def vectors_as_found(self) -> Vectors:
        """Milvus as it is: `vectors` makes the collections that are missing."""
        return Vectors(self.settings)

    @cached_property
    def vectors(self) -> Vectors:
        vectors = self.vectors_as_found
        names = self.collections
        vectors.prepare(messages=names.messages, users=names.users, campaigns=names.campaigns, dimension=self.embedder.dimension)
        return vectors

    @cached_property
    def cache(self) -> Cache:
        cache = Cache(self.settings)
        cache.prepare()
        return cache

    @cached_property
    def collections(self) -> Collections:
        """The collections that this run writes, and that its release will name."""
        return collections_of(
            self.rebuild,
            self.documents.releases(RELEASES_KEPT),
            model=self.settings.embedding_model,
            dimension=self.embedder.dimension,
            version=self.vectors_version,
        )

    @property
    def vectors_version(self) -> str:
        """What shapes a vector: the code, the model and the settings. Another version is built beside the one in use."""
        return version_of(VECTORS_CODE_VERSION, self.embedder.fingerprint, self.settings.user_vector_half_life_days)

    @property
    def embeddings_ledger(self) -> str:
        """The ledger of the embeddings by the model in use."""
        return f"embeddings@{self.embedder.fingerprint[:16]}"

    @property
    def weights(self) -> EngagementWeights:
        return EngagementWeights(
            message=self.settings.weight_message,
            click=self.settings.weight_click,
            conversion=self.settings.weight_conversion,
            unweighted_intents=self.settings.unweighted_intents,
        )

    @property
    def tuning(self) -> Tuning:
        """What ranking is tuned by: the settings of the same names."""
        return msgspec.convert(self.settings, Tuning, from_attributes=True)

    def close(self) -> None:
        """Closes what was opened."""
        for name in ("documents", "graph", "vectors_as_found", "cache"):
            if name in self.__dict__:
                self.__dict__[name].close()
        if "_sql" in self.__dict__:
            self._sql.dispose()


def stores_at(settings: Settings | None = None) -> dg.ResourceDefinition:
    """The stores as a resource: opened when a run begins, closed when it ends.

    Without `settings` they come from the environment of the run, so that Dagster keeps no address and no password.
    """

    @dg.resource(description="The five stores and the embedding model, at the addresses of the CAMPAIGNS_* variables.")
    def stores(context: dg.InitResourceContext) -> Iterator[Stores]:
        with surfaced():
            opened = Stores(settings or load_settings(os.environ), rebuild_of(context.run))
        try:
            yield opened
        finally:
            opened.close()

    return stores


@contextmanager
def surfaced() -> Iterator[None]:
    """Store errors as Dagster knows them: `Unavailable` is retried, anything a person must look at fails at once.

    Without the driver's error behind them: that one repeats the rows that it was about, and Dagster keeps what it is told.
    """
    try:
        yield
    except (StoreError, BadSetting) as exc:
        exc.__cause__, exc.__suppress_context__ = None, True
        if isinstance(exc, Unavailable):
            raise
        raise dg.Failure(description=str(exc), allow_retries=False) from exc
