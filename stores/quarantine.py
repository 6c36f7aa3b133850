"""What could not be read, in MongoDB: kept with its file, line and reason until somebody mends it or it is forgotten."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence

import msgspec
from msgspec import Struct

from stores.errors import ContractBroken, NotFound
from stores.mongodb import Database, Document, columns, read
from stores.records import FileReport, Rejected

ID_CHARS = 12
FEWEST_ID_CHARS = 6


class Quarantined(Struct, frozen=True, kw_only=True):
    """A record that could not be read, and the file that it stood in. `replayed_in` is the file that it waits in to be taken
    again, "" where it was not replayed."""

    name: str
    sha256: str
    sequence: int
    line: int
    reason: str
    raw: str
    replayed_in: str = ""

    @property
    def digest(self) -> str:
        """64 hex digits over the file's content, the line and the text."""
        return hashlib.sha256(msgspec.json.encode((self.sha256, self.line, self.raw))).hexdigest()

    @property
    def id(self) -> str:
        """What a person calls it by: the digest's beginning."""
        return self.digest[:ID_CHARS]


class Quarantine:
    """The quarantined records of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, file: FileReport, rejected: Sequence[Rejected]) -> None:
        """Keeps what could not be read in a file; the same line of the same content is kept once."""
        self._database.upsert("quarantine", (row_of(file, each) for each in rejected))

    def newest(self, limit: int, *, file: str = "", reason: str = "") -> list[Quarantined]:
        """The newest file's last line first. `file` is its name, with or without what `campaigns load` put before it; `reason`
        is a part of the reason, in any case. At most `limit`; 0 is all."""
        found: list[Quarantined] = []
        for document in self._database.descending("quarantine", by=("sequence", "line")):
            each = read(document, Quarantined)
            if file in ("", each.name, each.name.partition("-")[2]) and reason.lower() in each.reason.lower():
                found.append(each)
                if len(found) == limit:
                    break
        return found

    def one(self, beginning: str) -> Quarantined:
        """The record whose id begins so.

        Raises:
            NotFound: there is none.
            ContractBroken: there are several, or too little of the id was given.
        """
        if len(beginning) < FEWEST_ID_CHARS:
            raise ContractBroken("mongodb", f"{beginning!r} is too short for an id in quarantine: {FEWEST_ID_CHARS} characters at least")
        found = [read(document, Quarantined) for document in self._database.beginning("quarantine", f"q:{beginning}")]
        if not found:
            raise NotFound("mongodb", f"there is nothing in quarantine with the id {beginning}")
        if len(found) > 1:
            raise ContractBroken("mongodb", f"{len(found)} records in quarantine have an id that begins with {beginning}: give more of it")
        return found[0]

    def all(self) -> Iterator[Quarantined]:
        """Everything in quarantine, in no order, in bounded memory."""
        return (read(document, Quarantined) for document in self._database.find("quarantine"))

    def replaying(self, records: Iterable[Quarantined], name: str) -> None:
        """Says that these records are about to wait in an input file of this name: to be written before the file."""
        self._database.upsert("quarantine", ((f"q:{each.digest}", {"replayed_in": name}) for each in records))

    def replayed(self, name: str) -> None:
        """Drops what was replayed in this file, which was taken: each of its records is stored, or in quarantine anew."""
        documents = self._database.find("quarantine", {"replayed_in": name}, only=("_id",))
        self._database.delete("quarantine", [str(document["_id"]) for document in documents])

    def put_reason(self, record: Quarantined, reason: str) -> None:
        """Keeps why a record still cannot be read."""
        self._database.upsert("quarantine", [(f"q:{record.digest}", {"reason": reason})])

    def drop(self, records: Iterable[Quarantined]) -> None:
        self._database.delete("quarantine", (f"q:{each.digest}" for each in records))

    def drop_file(self, sha256: str) -> None:
        """Drops what was read in a file of this content: it will be read again."""
        documents = self._database.find("quarantine", {"sha256": sha256}, only=("_id",))
        self._database.delete("quarantine", [str(document["_id"]) for document in documents])


def row_of(file: FileReport, rejected: Rejected) -> tuple[str, Document]:
    """The row of what could not be read, under an id made of the file's content, the line and the text."""
    raw = rejected.raw.encode("utf-8", "backslashreplace").decode()  # half a surrogate pair must not stop the file
    kept = Quarantined(name=file.name, sha256=file.sha256, sequence=file.sequence, line=rejected.line, reason=rejected.reason, raw=raw)
    return f"q:{kept.digest}", columns(kept)
