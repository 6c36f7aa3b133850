"""Customers who asked to be forgotten, in MongoDB: who, while it is being done; afterwards a keyed hash and what was done.

A row keeps the customer's id only until nothing else is left of them. The keyed hash stays, so that no later load brings
them back; what it was made with is the secret setting `erasure_key`, of which the database keeps a check, not the key.
"""

from msgspec import Struct
from msgspec.structs import replace

from stores.errors import ContractBroken
from stores.mongodb import Database, columns, read
from stores.settings import BadSetting
from stores.suppression import NOBODY, Suppression, mark_of

FEWEST_KEY_CHARS = 32
CHECKED = "the erasure key"  # no id: it has spaces


class Erasure(Struct, frozen=True, kw_only=True):
    """One customer's erasure. `user_id` is "" once it is done; times are epoch ms, 0 where it has not come to that.

    `found` and `left` count by place what was held before and after: "mongodb raw_docs", "milvus user_vectors", …
    """

    mark: str
    user_id: str
    requested_at_ms: int
    begun_at_ms: int = 0
    done_at_ms: int = 0
    found: dict[str, int] = {}
    left: dict[str, int] = {}


class Erasures:
    """The erasures of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def request(self, user_id: str, *, key: str, now_ms: int) -> Erasure:
        """Asks for a customer to be forgotten. A request that is not done yet stays as it is; one that is done is made anew.

        Raises:
            BadSetting: the key is missing or too short.
            ContractBroken: it is not the key that earlier erasures were made with.
        """
        self._check(checked_key(key))
        before = self.get(mark_of(user_id, key))
        if before is not None and not before.done_at_ms:
            return before
        asked = Erasure(mark=mark_of(user_id, key), user_id=user_id, requested_at_ms=now_ms)
        self.put(asked)
        return asked

    def get(self, mark: str) -> Erasure | None:
        document = self._database.one("erasures", f"x:{mark}")
        return None if document is None else read(document, Erasure)

    def put(self, erasure: Erasure) -> None:
        self._database.upsert("erasures", [(f"x:{erasure.mark}", columns(erasure))])

    def pending(self) -> list[Erasure]:
        """Those that are not done, the oldest first."""
        found = (read(document, Erasure) for document in self._database.find("erasures", {"done_at_ms": 0}))
        return sorted(found, key=lambda each: (each.requested_at_ms, each.mark))

    def done(self, erasure: Erasure, *, left: dict[str, int], now_ms: int) -> None:
        """Says that nothing is left of a customer, and forgets the id too."""
        self.put(replace(erasure, user_id="", done_at_ms=now_ms, left=left))

    def suppression(self, key: str) -> Suppression:
        """Whom no load may bring back.

        Raises:
            BadSetting: somebody was forgotten, and the key is missing or too short.
            ContractBroken: it is not the key that earlier erasures were made with.
        """
        marks = frozenset(str(document["_id"])[2:] for document in self._database.find("erasures", only=("_id",)))
        if not marks:
            return NOBODY
        self._check(checked_key(key))
        return Suppression(key=key, marks=marks)

    def _check(self, key: str) -> None:
        """Holds the key against the check that the first erasure left; another key would find nobody again."""
        check = mark_of(CHECKED, key)
        self._database.insert("platform_state", "erasure_key", {"check": check})
        found = self._database.one("platform_state", "erasure_key")
        if found is None or found["check"] != check:
            raise ContractBroken("mongodb", "CAMPAIGNS_ERASURE_KEY is not the key that customers were forgotten with: put that one back")


def checked_key(key: str) -> str:
    """The key, if it is one.

    Raises:
        BadSetting: it is missing, or so short that it could be guessed.
    """
    if len(key) < FEWEST_KEY_CHARS:
        what = "not set" if not key else f"shorter than {FEWEST_KEY_CHARS} characters"
        raise BadSetting(
            f"CAMPAIGNS_ERASURE_KEY: {what}; forgetting needs a secret that stays the same, such as from `openssl rand -hex 32`"
        )
    return key
