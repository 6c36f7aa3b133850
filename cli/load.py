"""`campaigns load FILE…`: into the inbox, and on to the release."""

import time
from pathlib import Path

import click
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from cli.output import QUARANTINED, Failed, json_option, print_json, settings_or_exit, store_errors
from local.dagster_runs import DagsterRuns
from stores.documents import Documents
from stores.intake import decode_file, deliver, file_digest
from stores.records import FileReport, Rejected, Release
from stores.settings import Settings

POLL_S = 0.5
REASONS_SHOWN = 3


class Delivered(Struct, frozen=True, kw_only=True):
    """A file that was put into the inbox under `name`."""

    source: str
    name: str
    sha256: str
    readable: int
    rejected: int


class Loaded(Struct, frozen=True, kw_only=True):
    """What became of the files: `reports` and `release` are there once the platform has taken them."""

    delivered: list[Delivered]
    reports: list[FileReport] = []
    release: Release | None = None

    @property
    def quarantined(self) -> int:
        """Records that could not be read: as the platform counted them, or as they looked before it did."""
        return sum(report.quarantined for report in self.reports) or sum(each.rejected for each in self.delivered)


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait until a release reflects the files.")
@click.option("--timeout", "timeout_s", type=click.IntRange(1), default=600, show_default=True, help="Seconds to wait at most.")
@json_option
def load(files: tuple[Path, ...], wait: bool, timeout_s: int, as_json: bool) -> None:
    """Load conversations, events and campaigns: JSON arrays, JSON Lines or CSV, also gzipped.

    Each file is read through first; one without a single readable record is refused. Records that cannot be read go to
    quarantine, the others are taken, and the exit code is then 3.

    \b
    Examples:
      campaigns load data/campaigns.json data/sample_conversations.json
      campaigns load export.csv.gz --no-wait
      campaigns load today.jsonl --json | jq .reports
    """
    settings, console = settings_or_exit(), Console(stderr=True)
    delivered = [put_into_inbox(settings, path, console) for path in files]
    loaded = Loaded(delivered=delivered)
    if wait:
        with store_errors(), console.status("waiting for the platform to take the files"):
            loaded = follow(settings, delivered, deadline=time.monotonic() + timeout_s)
    if as_json:
        print_json(loaded)
    else:
        show(loaded)
    raise SystemExit(QUARANTINED if loaded.quarantined else 0)


def put_into_inbox(settings: Settings, path: Path, console: Console) -> Delivered:
    """Reads a file through, says what is wrong with it, and copies it into the inbox whole or not at all."""
    readable, rejected = 0, []
    for entry in decode_file(path, max_record_bytes=settings.max_record_bytes):
        if isinstance(entry, Rejected):
            rejected.append(entry)
        else:
            readable += 1
    for entry in rejected[:REASONS_SHOWN]:
        console.print(f"{path}:{entry.line}: {entry.reason}", style="yellow", markup=False, highlight=False)
    if len(rejected) > REASONS_SHOWN:
        console.print(f"{path}: {len(rejected) - REASONS_SHOWN} more records cannot be read", style="yellow", markup=False)
    if not readable:
        raise Failed(f"{path}: no record in it can be read, so it was not loaded")
    # the prefix keeps files in the order in which they were loaded, and lets the same file be loaded again
    name = f"{time.time_ns()}-{path.name}"
    deliver(path, Path(settings.inbox_dir), name=name)
    return Delivered(source=str(path), name=name, sha256=file_digest(path), readable=readable, rejected=len(rejected))


def follow(settings: Settings, delivered: list[Delivered], *, deadline: float) -> Loaded:
    """Waits until a release reflects the files.

    Raises:
        Failed: it took too long, or the run that was to take them failed.
    """
    documents, runs, since_ms = Documents(settings), DagsterRuns(settings.dagster_url), time.time_ns() // 1_000_000
    try:
        while True:
            reports = [report for each in delivered if (report := documents.taken(each.name, each.sha256))]
            if len(reports) == len(delivered) and documents.confirmed() >= max(report.sequence for report in reports):
                return Loaded(delivered=delivered, reports=reports, release=documents.latest_release())
            last = runs.last()
            if last and last.status == "FAILURE" and last.started_ms > since_ms:
                raise Failed(f"the refresh failed: see {last.url}; the files that were not taken are still in the inbox")
            if time.monotonic() > deadline:
                raise Failed(
                    f"{len(reports)} of {len(delivered)} files are taken so far, and no release reflects them yet: is Dagster's daemon up?"
                )
            time.sleep(POLL_S)
    finally:
        documents.close()


def show(loaded: Loaded) -> None:
    """The files as a table."""
    console = Console()
    if not loaded.reports:
        for each in loaded.delivered:
            console.print(f"{each.source}: {each.readable} records are in the inbox as {each.name}", markup=False)
        return
    table = Table("file", "read", "accepted", "changed", "unchanged", "deleted", "suppressed", "superseded", "quarantined")
    for each, report in zip(loaded.delivered, loaded.reports, strict=True):
        counts = (report.read, report.new, report.changed, report.unchanged, report.deleted, report.suppressed)
        counts += (report.superseded, report.quarantined)
        table.add_row(each.source, *map(str, counts))
    console.print(table)
    console.print(f"Release {loaded.release.number if loaded.release else '?'} reflects them.")
