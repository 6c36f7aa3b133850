"""Which questions may be answered past the router: those that the routes would take as they stand."""

import pytest

from retrieval.shortcut import PATH, QUERY


@pytest.mark.parametrize(("path", "user_id"), [("/recommendations/u_001", "u_001"), ("/recommendations/a:b.c@d-1", "a:b.c@d-1")])
def test_a_customers_path_is_known(path: str, user_id: str) -> None:
    found = PATH.match(path)
    assert found is not None
    assert found[1] == user_id


@pytest.mark.parametrize(
    "path",
    ["/recommendations", "/recommendations/", "/recommendations/u/", "/recommendations/u/x", "/recommendations/_u", "/recommendations/u\n"],
)
def test_any_other_is_for_the_routes(path: str) -> None:
    assert PATH.match(path) is None


@pytest.mark.parametrize(("query", "limit"), [(b"", None), (b"limit=1", b"1"), (b"limit=10", b"10"), (b"limit=100", b"100")])
def test_a_plain_limit_is_known(query: bytes, limit: bytes | None) -> None:
    found = QUERY.match(query)
    assert found is not None
    assert found[1] == limit


@pytest.mark.parametrize(
    "query", [b"limit=0", b"limit=101", b"limit=01", b"limit=", b"limit=1&limit=2", b"limit=1\n", b"explain=true", b"x"]
)
def test_any_other_question_is_for_the_routes(query: bytes) -> None:
    assert QUERY.match(query) is None
