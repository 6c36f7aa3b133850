"""The whole comparison: each store against the records, as far as its first differences."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import islice

from msgspec import Struct

from platform_assets.resources import Stores
from platform_assets.verification.difference import Difference
from platform_assets.verification.documents import embedded, mongodb
from platform_assets.verification.graph import neo4j
from platform_assets.verification.metrics import sql
from platform_assets.verification.release import release
from platform_assets.verification.vectors import milvus
from stores.errors import ContractBroken, NotFound

DIFFERENCES_A_STORE = 20
Comparison = Callable[[Stores, Counter[str]], Iterator[Difference]]
COMPARISONS: dict[str, Comparison] = {
    "mongodb": mongodb,
    "embeddings": embedded,
    "milvus": milvus,
    "neo4j": neo4j,
    "sql": sql,
    "release": release,
}


class Verification(Struct, frozen=True, kw_only=True):
    """What was looked at in each store, and what is not as it must be: at most 20 differences a store."""

    consistent: bool
    stores: dict[str, dict[str, int]]
    differences: list[Difference]


def verify(stores: Stores) -> Verification:
    """Compares every store with the records. Writes nothing; what a refresh writes meanwhile may show as a difference.

    A store is looked through until its 20th difference; `stores` counts what was seen until then, and the differences.

    Raises:
        Unavailable: a store does not answer.
    """
    seen: dict[str, dict[str, int]] = {}
    differences: list[Difference] = []
    for name, compare in COMPARISONS.items():
        counts: Counter[str] = Counter()
        found = first_differences(name, compare(stores, counts))
        seen[name] = counts | {"differences": len(found)}
        differences += found
    return Verification(consistent=not differences, stores=seen, differences=differences)


def first_differences(name: str, found: Iterator[Difference]) -> list[Difference]:
    """The first of a store's differences; where what is stored cannot be read at all, that is the last of them."""
    kept: list[Difference] = []
    with closing(found):  # type: ignore[type-var]  # they are generators, which hold cursors open
        try:
            kept.extend(islice(found, DIFFERENCES_A_STORE))
        except (ContractBroken, NotFound) as exc:
            kept.append(Difference(store=name, kind="unreadable", id=exc.store, detail=exc.detail))
    return kept
