"""Leaving a store alone that does not answer, so that nobody waits for it in vain."""

import time
from types import TracebackType
from typing import Self

from stores.errors import Unavailable

FAILURES = 3
RETRY_S = 0.5


class Breaker:
    """Opens after `FAILURES` calls in a row ended as Unavailable; then one call each `RETRY_S` is let through, until one is answered.

    Calls under way at the same time enter the same breaker. An error of any other name is an answer.
    """

    def __init__(self, store: str) -> None:
        self._store = store
        self._failures = 0
        self._retry_at_s = 0.0

    @property
    def is_open(self) -> bool:
        """Whether the store is being left alone."""
        return self._failures >= FAILURES

    def close(self) -> None:
        """Lets every call through again: the store was seen to answer."""
        self._failures = 0

    def __enter__(self) -> Self:
        if self.is_open:
            now_s = time.monotonic()
            if now_s < self._retry_at_s:
                raise Unavailable(self._store, "did not answer lately, and is left alone for a moment")
            self._retry_at_s = now_s + RETRY_S
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, _: TracebackType | None) -> None:
        if isinstance(exc, Unavailable):
            self._failures += 1
            self._retry_at_s = time.monotonic() + RETRY_S
        elif exc is None or isinstance(exc, Exception):  # not where the caller went away: nothing is known then
            self._failures = 0
