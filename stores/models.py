"""Ranking models in MongoDB, and what the latest was fitted and judged on.

A model is kept as the text that ranking makes of it and reads again: this file does not know what is in it.
"""

from collections.abc import Iterable

from msgspec import Struct

from stores.errors import NotFound
from stores.mongodb import Database, Document, columns, read

FIT, JUDGEMENT = "ranking_fit", "ranking_judgement"


class Fit(Struct, frozen=True, kw_only=True):
    """When the model in use was fitted: by which code and settings (`made_by`), when there were so many records and outcomes."""

    model: str
    made_by: str
    records: int
    outcomes: int


class Judgement(Struct, frozen=True, kw_only=True):
    """How well the ranking with a model did, when there were so many records; `report` is the text of all figures.

    `quality` holds what releases are compared by.
    """

    model: str
    made_by: str
    records: int
    outcomes: int
    report: str
    quality: dict[str, float] = {}


class Models:
    """The models of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, version: str, body: str) -> None:
        """Keeps the text of a model; of the same version, equal answers come."""
        self._database.upsert("ranking_models", [(model_id(version), {"body": body})])

    def body(self, version: str) -> str:
        """The text of a model.

        Raises:
            NotFound: it is not kept.
        """
        return body_of(self._database.one("ranking_models", model_id(version)), version)

    def has(self, version: str) -> bool:
        """Whether a model of this version is kept."""
        return self._database.one("ranking_models", model_id(version)) is not None

    def keep(self, versions: Iterable[str]) -> int:
        """Removes all models but these; how many those were."""
        kept = {model_id(version) for version in versions}
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


def model_id(version: str) -> str:
    return f"w:{version}"


def body_of(document: Document | None, version: str) -> str:
    """The text in a model's document.

    Raises:
        NotFound: there is no document.
    """
    if document is None:
        raise NotFound("mongodb", f"there is no ranking model {version}")
    return str(document["body"])
