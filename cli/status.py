"""`campaigns status`: every store, the release, the last files and the last run."""

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import click
import msgspec
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from cli.output import json_option, print_json, settings_or_exit
from local.dagster_runs import DagsterRuns, LastRun
from stores.cache import Cache
from stores.documents import Documents
from stores.errors import StoreError
from stores.graph import Graph
from stores.intake import pending
from stores.metrics import Metrics
from stores.records import FileReport, Release, iso
from stores.settings import Settings
from stores.sql import open_engine
from stores.vectors import Vectors

TIMEOUT_S = 3.0
FILES_SHOWN = 5


class StoreState(Struct, frozen=True, kw_only=True):
    """One store as it was found: `rows` by collection, label or table, or why it could not be asked."""

    reachable: bool
    rows: dict[str, int] = {}
    error: str | None = None


class PlatformState(Struct, frozen=True, kw_only=True):
    """The platform as it was found. `release_age_s` counts from its publication, `data_age_s` from its newest record."""

    stores: dict[str, StoreState]
    release: Release | None = None
    release_age_s: int | None = None
    data_age_s: int | None = None
    waiting_files: int = 0
    files: list[FileReport] = []
    last_run: LastRun | None = None

    @property
    def well(self) -> bool:
        """Whether every store answers and there is a release."""
        return self.release is not None and all(store.reachable for store in self.stores.values())


@click.command()
@json_option
def status(as_json: bool) -> None:
    """How things stand: each store with its rows, the release and its age, the last files and the last run.

    Exit code 0 when every store answers and there is a release, else 1.

    \b
    Examples:
      campaigns status
      campaigns status --json | jq .release.number
    """
    found = look(settings_or_exit())
    if as_json:
        print_json(found)
    else:
        show(found)
    raise SystemExit(0 if found.well else 1)


def look(settings: Settings) -> PlatformState:
    """Asks every store, each within a few seconds; one that does not answer takes nothing from the others."""
    quick = msgspec.structs.replace(settings, write_timeout_s=min(TIMEOUT_S, settings.write_timeout_s))
    documents = Documents(quick)
    release, files = None, []
    with suppress(StoreError):  # it is said below, where MongoDB is asked for its rows
        release, files = documents.latest_release(), documents.files(FILES_SHOWN)
    now_ms = time.time_ns() // 1_000_000
    return PlatformState(
        stores={
            "mongodb": asked(documents.counts),
            "milvus": asked(lambda: vector_rows(quick, release)),
            "neo4j": asked(lambda: Graph(quick).counts()),
            "sql": asked(lambda: sql_rows(quick)),
            "redis": asked(lambda: {"release": Cache(quick).published() or 0}),
        },
        release=release,
        release_age_s=(now_ms - release.released_at_ms) // 1000 if release else None,
        data_age_s=(settings.now_ms - release.newest_record_ms) // 1000 if release else None,
        waiting_files=len(waiting(settings)),
        files=files,
        last_run=DagsterRuns(settings.dagster_url).last(),
    )


def asked(rows: Callable[[], dict[str, int]]) -> StoreState:
    """What a store answers to a count of its rows."""
    try:
        return StoreState(reachable=True, rows=rows())
    except StoreError as exc:
        return StoreState(reachable=False, error=exc.detail)


def vector_rows(settings: Settings, release: Release | None) -> dict[str, int]:
    """Rows of the collections that the release names."""
    vectors = Vectors(settings)
    vectors.ping()
    return {name: vectors.count(name) for name in (release.collections if release else ())}


def sql_rows(settings: Settings) -> dict[str, int]:
    metrics = Metrics(open_engine(settings))
    metrics.prepare()
    return metrics.counts()


def waiting(settings: Settings) -> list[str]:
    """The files that wait in the inbox."""
    return [path.name for path in pending(Path(settings.inbox_dir))]


def show(found: PlatformState) -> None:
    """The state as tables."""
    console = Console()
    stores = Table("store", "", "rows", title="Stores", title_justify="left")
    for name, store in found.stores.items():
        rows = ", ".join(f"{what} {count:,}" for what, count in store.rows.items()) if store.reachable else store.error
        stores.add_row(name, "[green]up[/]" if store.reachable else "[red]down[/]", rows)
    console.print(stores)
    if found.release:
        console.print(f"Release {found.release.number}, {age(found.release_age_s)} old; its newest record is {age(found.data_age_s)} old.")
    else:
        console.print("No release yet.", style="yellow")
    columns = ("file", "taken", "read", "new", "changed", "unchanged", "deleted", "suppressed", "quarantined")
    files = Table(*columns, title="Last files", title_justify="left")
    for each in found.files:
        counts = (each.read, each.new, each.changed, each.unchanged, each.deleted, each.suppressed, each.quarantined)
        files.add_row(each.name, iso(each.taken_at_ms), *map(str, counts))
    console.print(files)
    console.print(f"{found.waiting_files} files wait in the inbox.")
    last = found.last_run
    console.print(f"Last run: {last.status}, {last.url}" if last else "Last run: Dagster does not answer, or nothing ran yet.")


def age(seconds: int | None) -> str:
    """A time span in the largest unit that fits."""
    for unit, length_s in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds is not None and seconds >= 2 * length_s:
            return f"{seconds // length_s} {unit}"
    return f"{seconds} seconds"
