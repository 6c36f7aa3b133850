"""The API's documentation page: it works without any other address, and what it loads is what was looked at."""

import asyncio
import hashlib
import re

import httpx
import pytest

from retrieval.app import create_app, public_paths
from retrieval.documented import ASSETS, FOLDER
from retrieval.keys import drawn, entry_of
from stores.settings import Settings

APP = create_app(Settings(api_keys=(entry_of(drawn(), name="shop", scope="read"),)))


def get(path: str) -> httpx.Response:
    """An answer to somebody without a key, of an app that opened no store."""

    async def asked() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(APP), base_url="http://api") as client:
            return await client.get(path)

    return asyncio.run(asked())


def test_the_page_and_all_that_it_loads_come_from_here() -> None:
    page = get("/docs")
    assert (page.status_code, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    named = re.findall(r'(?:href|src)="([^"]+)"', page.text)
    assert [name for name in named if re.match(r"(https?:)?//", name)] == []
    loaded = [name for name in named if not name.startswith("data:")]
    assert {f"assets/{name}" for name in ASSETS} <= set(loaded)
    for name in loaded:
        found = get(f"/{name}")
        assert found.status_code == 200
        assert found.headers["Content-Type"].startswith(ASSETS.get(name.removeprefix("assets/"), "application/vnd.oai.openapi+json"))


def test_the_page_may_load_nothing_from_elsewhere() -> None:
    policy = get("/docs").headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; ")
    assert "connect-src 'self'" in policy
    assert not re.search(r"https?:|\*|script-src[^;]*unsafe", policy)


def test_our_own_files_name_no_other_address_and_ask_no_validator() -> None:
    for name in ("index.html", "start.js"):
        assert not re.search(r"https?://", (FOLDER / name).read_text())
    assert "validatorUrl: null" in (FOLDER / "start.js").read_text()


def test_what_is_not_ours_is_what_was_looked_at() -> None:
    sums = re.findall(r"^    ([0-9a-f]{64})  (\S+)$", (FOLDER / "README.md").read_text(), re.MULTILINE)
    assert {name for _, name in sums} == {"swagger-ui.css", "swagger-ui-bundle.js"}
    for sum_, name in sums:
        assert hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() == sum_


def test_only_health_and_the_documentation_need_no_key() -> None:
    assets = {f"/assets/{name}" for name in ASSETS}
    docs = {"/docs", "/docs/{path}", "/docs/openapi.json", "/openapi.json"}
    assert public_paths(APP) == assets | docs | {"/health/live", "/health/ready"}


@pytest.mark.parametrize("path", ["/assets/README.md", "/assets/../app.py", "/assets/%2e%2e/app.py", "/docs/x/y"])
def test_no_other_file_is_given(path: str) -> None:
    assert get(path).status_code in {401, 404}


def test_the_document_tells_how_a_key_is_shown() -> None:
    schema = get("/openapi.json").json()
    assert {each["type"] for each in schema["components"]["securitySchemes"].values()} == {"http", "apiKey"}
    assert {"401", "429"} <= set(schema["paths"]["/recommendations/{user_id}"]["get"]["responses"])


def test_an_explained_answer_is_a_plain_one_too() -> None:
    schema = get("/openapi.json").json()
    found = schema["paths"]["/recommendations/{user_id}"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert len(found["anyOf"]) == 2
    assert '"oneOf"' not in get("/openapi.json").text
