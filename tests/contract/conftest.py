"""The real servers that a package carries: the contract tests run on them too, beside the engines of a laptop."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from msgspec.structs import replace
from sqlalchemy import Engine

from stores.errors import NotFound
from stores.settings import Settings
from stores.sql import open_engine
from stores.vectors import STATE, Vectors
from tests.contract.milvus_standalone import milvus_standalone
from tests.contract.sql_databases import fresh_database, postgresql


@pytest.fixture(scope="module")
def milvus_standalone_url() -> Iterator[str]:
    """The address of a real Milvus, ended with the file that asked for it: it never idles. Where it cannot run the tests on it fail."""
    with milvus_standalone() as url:
        yield url


@pytest.fixture(params=["milvus-lite", "milvus-2.3.5"])
def milvus(request: pytest.FixtureRequest, settings: Settings) -> Settings:
    """Settings that lead to an empty Milvus: the stack's own engine, then a real standalone server.

    The latter's collections are emptied, not dropped: it takes three seconds to create one.
    """
    if request.param == "milvus-lite":
        return settings
    url = request.getfixturevalue("milvus_standalone_url")
    settings = replace(settings, milvus_url=url, milvus_token="")
    vectors = Vectors(settings)
    for name in (*vectors.collections(), STATE):
        with suppress(NotFound):
            vectors.delete(name, list(vectors.ids(name)))
    vectors.close()
    return settings


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    """The address of a real PostgreSQL, started once per session."""
    with postgresql() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def sql_engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """An empty SQL database: SQLite in a file, then PostgreSQL."""
    if request.param == "sqlite":
        engine = open_engine(Settings(sql_url=f"sqlite:///{tmp_path / 'contract.sqlite3'}"))
        yield engine
        engine.dispose()
        return
    with fresh_database(request.getfixturevalue("postgresql_url")) as url:
        engine = open_engine(Settings(sql_url=url))
        yield engine
        engine.dispose()
