"""A driver's exception leaves a store as one of four names, with its cause, and nothing else is touched."""

import pytest

from stores.errors import ContractBroken, NotFound, StoreError, Unavailable, translated


class DriverError(Exception):
    pass


class Refused(DriverError):
    pass


class RefusedTwice(Refused):
    pass


def by_length(exc: Exception) -> type[StoreError]:
    return NotFound if len(str(exc)) > 3 else Unavailable


ERRORS = {DriverError: ContractBroken, Refused: Unavailable, KeyError: by_length}


def raised(exc: Exception) -> StoreError:
    with pytest.raises(StoreError) as caught, translated("redis", ERRORS):
        raise exc
    return caught.value


@pytest.mark.parametrize(
    ("exc", "becomes"),
    [(DriverError("x"), ContractBroken), (Refused("x"), Unavailable), (RefusedTwice("x"), Unavailable)],
)
def test_the_most_specific_class_wins(exc: Exception, becomes: type[StoreError]) -> None:
    assert type(raised(exc)) is becomes


def test_a_function_in_the_table_looks_at_the_exception_itself() -> None:
    assert type(raised(KeyError("long"))) is NotFound
    assert type(raised(KeyError(1))) is Unavailable


def test_the_error_names_the_store_and_keeps_its_cause() -> None:
    cause = Refused("port 1 is closed\nand a stack trace")
    error = raised(cause)
    assert error.__cause__ is cause
    assert (error.store, error.detail, str(error)) == (
        "redis",
        "Refused: port 1 is closed",
        "redis: Refused: port 1 is closed",
    )


@pytest.mark.parametrize(
    ("message", "detail"), [("", "Refused: Refused"), ("\n ", "Refused: Refused"), ("x" * 9999, "Refused: " + "x" * 300)]
)
def test_the_detail_is_one_line_of_bearable_length(message: str, detail: str) -> None:
    assert raised(Refused(message)).detail == detail


def test_what_the_table_does_not_know_passes_through_untouched() -> None:
    unknown = ValueError("a bug of ours")
    with pytest.raises(ValueError, match="a bug of ours") as caught, translated("redis", ERRORS):
        raise unknown
    assert caught.value is unknown
    assert caught.value.__cause__ is None


def test_an_error_that_is_ours_already_is_not_translated_again() -> None:
    ours = NotFound("sql", "no such table")
    with pytest.raises(NotFound) as caught, translated("redis", {Exception: Unavailable}):
        raise ours
    assert caught.value is ours


def test_it_serves_as_a_decorator_any_number_of_times() -> None:
    @translated("redis", ERRORS)
    def call(exc: Exception | None) -> int:
        if exc:
            raise exc
        return 7

    for _ in range(2):
        assert call(None) == 7
        with pytest.raises(Unavailable):
            call(Refused("x"))


def test_an_error_repeats_no_document_that_the_driver_was_given() -> None:
    told = "batch op errors occurred, full error: {'writeErrors': [{'op': {'message': 'what a customer said'}}]}"
    with pytest.raises(ContractBroken) as caught, translated("mongodb", {RuntimeError: ContractBroken}):
        raise RuntimeError(told)
    assert str(caught.value) == "mongodb: RuntimeError: batch op errors occurred"


def test_an_error_repeats_no_key_of_a_pipeline() -> None:
    told = "Command # 1 (SET rec:epoch:u_001 6945 NX EX 7200) of pipeline caused error: ('command not allowed',)"
    with pytest.raises(Unavailable) as caught, translated("redis", {RuntimeError: Unavailable}):
        raise RuntimeError(told)
    assert str(caught.value) == "redis: RuntimeError: ('command not allowed',)"
