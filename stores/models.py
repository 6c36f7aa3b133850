"""Fitted ranking models in MongoDB, named by their content, and what the latest was fitted and judged on.

A model is kept as the text that ranking makes of it and reads again: this file does not know what is in it.
"""

import hashlib
from collections.abc import Iterable

from msgspec import Struct

from stores.errors import NotFound
from stores.mongodb import Database, columns, read

FIT, JUDGEMENT = "ranking_fit", "ranking_judgement"


class Fit(Struct, frozen=True, kw_only=True):
    """When the model in use was fitted: by which code and settings (`version`), on how many records and outcomes.

    `model` is the digest of the model, `report` the text of what it was chosen by.
    """

    version: str
    records: int
    outcomes: int
    model: str
    report: str


class Judgement(Struct, frozen=True, kw_only=True):
    """How well the ranking with this model did, on the records of `fitted_on`; `report` is the text of all figures."""

    model: str
    version: str
    records: int
    report: str
    quality: dict[str, float] = {}


class Models:
    """The models of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, body: str) -> str:
        """Keeps a model; the digest that it is found by, 32 hex digits. The same model again changes nothing."""
        digest = hashlib.blake2b(body.encode(), digest_size=16).hexdigest()
        self._database.insert("ranking_models", model_id(digest), {"body": body})
        return digest

    def body(self, digest: str) -> str:
        """The text of a model.

        Raises:
            NotFound: it is not kept.
        """
        document = self._database.one("ranking_models", model_id(digest))
        if document is None:
            raise NotFound("mongodb", f"there is no ranking model {digest}")
        return str(document["body"])

    def keep(self, digests: Iterable[str]) -> int:
        """Removes all models but these; how many those were."""
        kept = {model_id(digest) for digest in digests}
        gone = [str(each["_id"]) for each in self._database.find("ranking_models", only=("_id",)) if each["_id"] not in kept]
        self._database.delete("ranking_models", gone)
        return len(gone)

    def fit(self) -> Fit | None:
        """The latest fit; None before the first."""
        document = self._database.one("platform_state", FIT)
        return None if document is None else read(document, Fit)

    def set_fit(self, fit: Fit) -> None:
        self._database.upsert("platform_state", [(FIT, columns(fit))])

    def judgement(self) -> Judgement | None:
        """The latest judgement; None before the first."""
        document = self._database.one("platform_state", JUDGEMENT)
        return None if document is None else read(document, Judgement)

    def set_judgement(self, judgement: Judgement) -> None:
        self._database.upsert("platform_state", [(JUDGEMENT, columns(judgement))])


def model_id(digest: str) -> str:
    return f"w:{digest}"
