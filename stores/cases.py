"""Cases that come with a data set: whom to rank what for, as of when, and what was responded to then."""

import gzip
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from stores.records import Id, epoch_ms

NAMES = ("cases.jsonl", "cases.jsonl.gz")


class BadCase(ValueError):
    """A case cannot be read; the message names its file and line."""


class GivenCase(Struct, frozen=True, kw_only=True):
    """One line of such a file: rank `candidates` for the customer knowing what is older than `at`; `truth` is among them."""

    user_id: Id
    at: datetime
    candidates: list[Id]
    truth: list[Id]
    case_id: str = ""

    @property
    def at_ms(self) -> int:
        return epoch_ms(self.at)


def read_cases(path: Path) -> Iterator[GivenCase]:
    """The cases of a file of JSON Lines, also gzipped, in order.

    Raises:
        BadCase: a line is no case.
    """
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
        for line, text in enumerate(file, start=1):
            if text.strip():
                try:
                    case = msgspec.json.decode(text, type=GivenCase)
                except msgspec.MsgspecError as exc:
                    raise BadCase(f"{path}:{line}: {exc}") from exc
                yield msgspec.structs.replace(case, case_id=case.case_id or f"line {line}")
