"""The SQL database that metrics and ledgers share: one engine by URL, one table of errors, one portable upsert."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Delete, Engine, Insert, Table, Update, and_, bindparam, create_engine, delete, event, exc, insert
from sqlalchemy.engine import URL, make_url

from stores.errors import ContractBroken, DriverErrors, NotFound, StoreError, Unavailable, translated
from stores.settings import Settings

Item = TypeVar("Item")


def _dbapi_verdict(error: Exception) -> type[StoreError]:
    """A connection that broke under a statement can be tried again, whatever the driver called it."""
    return Unavailable if isinstance(error, exc.DBAPIError) and error.connection_invalidated else ContractBroken


SQL_ERRORS: DriverErrors = {
    exc.OperationalError: Unavailable,
    exc.InterfaceError: Unavailable,
    exc.TimeoutError: Unavailable,
    exc.DisconnectionError: Unavailable,
    exc.NoResultFound: NotFound,
    exc.DBAPIError: _dbapi_verdict,
    exc.SQLAlchemyError: ContractBroken,
    exc.EmulatedDBAPIException: ContractBroken,
}


def open_engine(settings: Settings) -> Engine:
    """An engine for `settings.sql_url` that connects on first use and waits at most `write_timeout_s` for anything.

    SQLite is opened in write-ahead mode, so that readers never wait for a writer; its folder is made when missing. Errors
    do not repeat the rows that a statement was about.
    """
    url = make_url(settings.sql_url)
    if url.get_backend_name() == "sqlite":
        return _sqlite(url, timeout_s=settings.write_timeout_s)
    timeout_s = max(1, round(settings.write_timeout_s))
    arguments: dict[str, object] = {"connect_timeout": timeout_s}
    if url.get_backend_name() == "postgresql":
        arguments["options"] = f"-c statement_timeout={timeout_s * 1000}"
    return create_engine(url, pool_pre_ping=True, pool_timeout=timeout_s, connect_args=arguments, hide_parameters=True)


def _sqlite(url: URL, *, timeout_s: float) -> Engine:
    if url.database and url.database != ":memory:":
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, connect_args={"timeout": timeout_s}, hide_parameters=True)

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # BEGIN is said below: the driver's own would leave reads outside transactions
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # a writer takes the lock at once: one that starts as a reader and turns writer can fail half-way with "locked"
        connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("writing") else "BEGIN")

    return engine


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """One read transaction: every statement inside sees the same moment. PostgreSQL must be asked for that."""
    options = {"isolation_level": "REPEATABLE READ"} if engine.dialect.name == "postgresql" else {}
    with translated("sql", SQL_ERRORS), engine.connect().execution_options(**options) as connection:
        yield connection


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """One write transaction: committed whole at the end, or not at all."""
    with translated("sql", SQL_ERRORS), engine.connect().execution_options(writing=True) as connection, connection.begin():
        yield connection


def replace_rows(connection: Connection, table: Table, rows: Sequence[Mapping[str, object]]) -> None:
    """Puts rows in place of those with the same primary key, within the caller's transaction, on any SQL dialect."""
    if not rows:
        return
    keys = [column.name for column in table.primary_key.columns]
    remove_rows(connection, table, [{name: row[name] for name in keys} for row in rows])
    execute_each(connection, insert(table), rows)


def remove_rows(connection: Connection, table: Table, keys: Sequence[Mapping[str, object]]) -> None:
    """Deletes the rows with these primary keys, within the caller's transaction."""
    if not keys:
        return
    match = and_(*(table.c[name] == bindparam(f"key_{name}") for name in keys[0]))
    execute_each(connection, delete(table).where(match), [{f"key_{name}": value for name, value in key.items()} for key in keys])


def execute_each(connection: Connection, statement: Insert | Update | Delete, rows: Sequence[Mapping[str, object]]) -> None:
    """Executes a statement once for each row of parameters, which all have the same names and are values that the driver takes as
    they are. SQLAlchemy's own way prepares every value by itself, which takes longer than the small local database.
    """
    if not rows:
        return
    compiled = statement.compile(dialect=connection.dialect, column_keys=list(rows[0]))
    constant = {name: value for name, value in compiled.params.items() if name not in rows[0]}
    values: list[Any] = [{**constant, **row} for row in rows] if constant else list(rows)
    if compiled.positiontup is not None:
        values = [tuple(row[name] for name in compiled.positiontup) for row in values]
    connection.exec_driver_sql(str(compiled), values)


def chunks(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Lists of at most `size` items, in order."""
    chunk: list[Item] = []
    for item in items:
        chunk.append(item)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
