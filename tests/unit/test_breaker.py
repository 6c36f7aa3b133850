"""A store that does not answer is left alone, and found again."""

import asyncio

import pytest

from stores import breaker
from stores.breaker import FAILURES, Breaker
from stores.errors import ContractBroken, Unavailable


def fail(with_: Breaker, error: BaseException) -> BaseException:
    """What comes out of a call that ends with this error."""
    with pytest.raises(type(error)) as raised, with_:
        raise error
    return raised.value


def opened() -> Breaker:
    made = Breaker("redis")
    for _ in range(FAILURES):
        fail(made, Unavailable("redis", "silent"))
    return made


def test_after_some_failures_in_a_row_nobody_waits_for_the_store() -> None:
    with pytest.raises(Unavailable, match="left alone"), opened():
        pytest.fail("the store was asked")


def test_an_answer_in_between_closes_it() -> None:
    made = Breaker("redis")
    for _ in range(3 * FAILURES):
        fail(made, Unavailable("redis", "silent"))
        with made:
            pass


@pytest.mark.parametrize("error", [ContractBroken("redis", "no"), asyncio.CancelledError()])
def test_other_errors_do_not_open_it(error: BaseException) -> None:
    made = Breaker("redis")
    for _ in range(3 * FAILURES):
        assert fail(made, error) is error


def test_one_call_at_a_time_finds_out_whether_the_store_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    made = opened()
    later_s = breaker.time.monotonic() + 10
    monkeypatch.setattr(breaker.time, "monotonic", lambda: later_s)
    with made, pytest.raises(Unavailable), made:
        pytest.fail("a second one asked")
    with made, made:
        pass
