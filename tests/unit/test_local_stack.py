"""What `campaigns up` takes for the first answer of a new release."""

import httpx

from local.stack import is_whole


def test_an_answer_that_lacks_a_source_is_not_what_a_person_is_shown_first() -> None:
    assert is_whole(httpx.Response(200))
    assert not is_whole(httpx.Response(200, headers={"X-Degraded": "milvus"}))
    assert not is_whole(httpx.Response(503))
