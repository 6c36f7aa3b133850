"""Requests made up from the API's own document, well-formed and not: nothing but what the document says comes back, and never 5xx."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from urllib.parse import quote

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance, status_code_conformance

from local.processes import free_port
from stores.records import ID_PATTERN
from stores.settings import Settings
from tests import seeding

EXAMPLES = 25
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
PROBLEM = "application/problem+json"
bounded = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)


@pytest.fixture
def api(environment: dict[str, str], settings: Settings) -> Iterator[str]:
    """A started server on full stores."""
    seeding.seed(settings, seeding.records())
    seeding.release(settings, 1)
    port = free_port()
    variables = {"CAMPAIGNS_CLOCK_AT": seeding.NOW.isoformat(), "CAMPAIGNS_ERASURE_KEY": "k" * 32}
    command = [sys.executable, "-m", "retrieval", "--port", str(port)]
    with subprocess.Popen(
        command, env=os.environ | environment | variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as server:
        url = f"http://127.0.0.1:{port}"
        try:
            for _ in range(300):
                try:
                    httpx.get(f"{url}/health/live", timeout=10)
                    break
                except httpx.TransportError:
                    time.sleep(0.1)
            yield url
        finally:
            server.terminate()  # not killed: its worker would go on


def test_the_api_answers_as_its_document_says(api: str) -> None:
    schema = schemathesis.openapi.from_url(f"{api}/openapi.json")
    asked: list[str] = []
    for found in schema.get_all_operations():
        operation = found.ok()
        for mode in GenerationMode:

            @seed(1)
            @bounded
            @given(case=operation.as_strategy(generation_mode=mode))
            def answers(case: schemathesis.Case) -> None:
                case.validate_response(case.call(), checks=CHECKS)

            answers()
        asked.append(operation.label)
    assert "GET /recommendations/{user_id}" in asked
    assert len(asked) >= 4


def test_no_id_and_no_parameter_makes_the_api_fail(api: str) -> None:
    with httpx.Client(base_url=api, timeout=10) as client:

        @seed(1)
        @settings(parent=bounded, max_examples=8 * EXAMPLES)
        @given(
            user_id=st.text(max_size=200) | st.from_regex(ID_PATTERN),
            query=st.dictionaries(st.text(max_size=20), st.text(max_size=20), max_size=3),
        )
        def answers(user_id: str, query: dict[str, str]) -> None:
            path = "/recommendations/" + quote(user_id, safe="", errors="surrogatepass")
            answer = client.get(path, params=[(quote(k, errors="ignore"), quote(v, errors="ignore")) for k, v in query.items()])
            assert answer.status_code in {200, 400, 404, 405}
            assert answer.status_code == 200 or answer.headers["Content-Type"] == PROBLEM
            if answer.status_code != 200:
                assert "Traceback" not in answer.text

        answers()
