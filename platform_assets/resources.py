"""What every asset works with: the settings, the stores and the embedder, opened when they are first used in a run."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property

import dagster as dg
from msgspec import Struct

from platform_assets.embedder import Embedder
from ranking.engagement import EngagementWeights
from stores.cache import Cache
from stores.documents import Documents
from stores.errors import StoreError, Unavailable
from stores.graph import Graph
from stores.ledger import Change, Ledger
from stores.metrics import Metrics
from stores.settings import BadSetting, Settings, load_settings
from stores.sql import open_engine
from stores.vectors import Vectors, collection_name

RETRY = dg.RetryPolicy(max_retries=2, delay=2, backoff=dg.Backoff.EXPONENTIAL)


class Collections(Struct, frozen=True):
    """The names under which Milvus keeps the vectors of one model."""

    messages: str
    users: str

    @property
    def ledger(self) -> str:
        """The ledger of these collections: another model has other collections, and so a ledger of its own."""
        return self.messages


class Stores:
    """The five stores at the addresses of `settings`, each prepared when it is first asked for."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
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
    def vectors(self) -> Vectors:
        vectors = Vectors(self.settings)
        vectors.prepare(messages=self.collections.messages, users=self.collections.users, dimension=self.embedder.dimension)
        return vectors

    @cached_property
    def cache(self) -> Cache:
        cache = Cache(self.settings)
        cache.prepare()
        return cache

    @cached_property
    def collections(self) -> Collections:
        named = {
            kind: collection_name(
                kind, model=self.settings.embedding_model, dimension=self.embedder.dimension, fingerprint=self.embedder.fingerprint
            )
            for kind in ("message_vectors", "user_vectors")
        }
        return Collections(messages=named["message_vectors"], users=named["user_vectors"])

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

    def close(self) -> None:
        """Closes what was opened."""
        for name in ("documents", "graph", "vectors", "cache"):
            if name in self.__dict__:
                self.__dict__[name].close()
        if "_sql" in self.__dict__:
            self._sql.dispose()


def stores_at(settings: Settings | None = None) -> dg.ResourceDefinition:
    """The stores as a resource: opened when a run begins, closed when it ends.

    Without `settings` they come from the environment of the run, so that Dagster keeps no address and no password.
    """

    @dg.resource(description="The five stores and the embedding model, at the addresses of the CAMPAIGNS_* variables.")
    def stores(_context: dg.InitResourceContext) -> Iterator[Stores]:
        with surfaced():
            opened = Stores(settings or load_settings(os.environ))
        try:
            yield opened
        finally:
            opened.close()

    return stores


@contextmanager
def surfaced() -> Iterator[None]:
    """Store errors as Dagster knows them: `Unavailable` is retried, anything a person must look at fails at once."""
    try:
        yield
    except Unavailable:
        raise
    except (StoreError, BadSetting) as exc:
        raise dg.Failure(description=str(exc), allow_retries=False) from exc
