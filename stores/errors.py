"""The four names every store error goes by, and the one way a driver's exceptions become them."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

_PIPELINED = re.compile(r"Command # \d+ \(.*\) of pipeline caused error: ")


class StoreError(Exception):
    """A store could not do what was asked. `store` names it: mongodb, milvus, neo4j, redis or sql."""

    def __init__(self, store: str, detail: str) -> None:
        super().__init__(f"{store}: {detail}")
        self.store = store
        self.detail = detail


class Unavailable(StoreError):
    """The store did not answer, or asked to be left alone for now: try again."""


class NotFound(StoreError):
    """The thing asked for is not there: trying again will not help."""


class ContractBroken(StoreError):
    """The store holds, or was asked, something that must not be: a person must look."""


Verdict = type[StoreError] | Callable[[Exception], type[StoreError]]
DriverErrors = Mapping[type[Exception], Verdict]
"""One store's table: driver exception class → the error it becomes, or a function that looks at the instance.
The most specific class wins, by the exception's own method resolution order."""


def verdict(errors: DriverErrors, exc: Exception) -> type[StoreError] | None:
    """The error that `exc` becomes by this table, or None where the table does not know it."""
    for cls in type(exc).__mro__:
        if cls in errors:
            found = errors[cls]
            return found if isinstance(found, type) else found(exc)
    return None


@contextmanager
def translated(store: str, errors: DriverErrors) -> Iterator[None]:
    """Runs the block; a driver's exception that the table knows leaves it as a StoreError, with its cause kept."""
    try:
        yield
    except StoreError:
        raise
    except tuple(errors) as exc:
        if (becomes := verdict(errors, exc)) is None:
            raise
        raise becomes(store, f"{type(exc).__name__}: {said_by(exc)}") from exc


def said_by(exc: Exception) -> str:
    """What a driver's exception says, without the data that it was about: drivers repeat whole documents in theirs."""
    first_line = (str(exc).strip() or type(exc).__name__).splitlines()[0]
    return _PIPELINED.sub("", first_line.split(", full error:")[0])[:300]
