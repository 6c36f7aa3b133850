"""What `campaigns up` decides by itself: the ports that it draws, and what it takes for the first answer of a new release."""

import httpx

from local.processes import free_port
from local.stack import is_whole


def test_an_answer_that_lacks_a_source_is_not_what_a_person_is_shown_first() -> None:
    assert is_whole(httpx.Response(200))
    assert not is_whole(httpx.Response(200, headers={"X-Degraded": "milvus"}))
    assert not is_whole(httpx.Response(503))


def test_a_port_that_was_drawn_is_not_drawn_again_before_anything_listens_there() -> None:
    few = range(19_000, 19_400)
    assert len({free_port(few) for _ in range(60)}) == 60
