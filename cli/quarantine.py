"""`campaigns quarantine list|show|replay`: what could not be read, and how it is taken again."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from cli.load import Delivered, follow
from cli.output import QUARANTINED, json_option, print_json, settings_or_exit, store_errors
from stores.documents import Documents
from stores.intake import deliver, file_digest
from stores.quarantine import Quarantined
from stores.records import FileReport
from stores.replay import Mended, mended
from stores.settings import Settings

REASON_CHARS = 90


class Listed(Struct, frozen=True, kw_only=True):
    """One record in quarantine. `replayed_in` is the file in which it waits to be taken again, "" where it does not."""

    id: str
    file: str
    line: int
    reason: str
    replayed_in: str
    raw: str


class Still(Struct, frozen=True, kw_only=True):
    """One record that stays in quarantine, and why."""

    id: str
    reason: str


class Replayed(Struct, frozen=True, kw_only=True):
    """What became of a replay: the file that took the records along, None where there was none, and its report once it is taken."""

    file: str | None
    replayed: list[str]
    still: list[Still]
    report: FileReport | None = None


@click.group()
def quarantine() -> None:
    """Records that could not be read: list them, look at one, mend and replay them.

    \b
    Examples:
      campaigns quarantine list --file day.jsonl
      campaigns quarantine show 3f9a12c04b7e --raw > mended.json
      campaigns quarantine replay 3f9a12c04b7e --from mended.json
    """


@quarantine.command("list")
@click.option("--file", default="", help="Only of this file, by its name in the inbox or the one it was loaded from.")
@click.option("--reason", default="", help="Only where the reason contains this.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="How many at most.")
@json_option
def list_(file: str, reason: str, limit: int, as_json: bool) -> None:
    """What could not be read, the newest file first.

    \b
    Examples:
      campaigns quarantine list
      campaigns quarantine list --reason timestamp --json | jq -r .[].id
    """
    with opened(settings_or_exit()) as documents:
        found = [listed(each) for each in documents.quarantine.newest(limit, file=file, reason=reason)]
    if as_json:
        print_json(found)
        return
    table = Table("id", "file", "line", "reason")
    for each in found:
        waits = " (waits to be taken again)" if each.replayed_in else ""
        short = each.reason if len(each.reason) <= REASON_CHARS else each.reason[: REASON_CHARS - 1] + "…"
        table.add_row(each.id, each.file, str(each.line), short + waits)
    Console().print(table)


@quarantine.command()
@click.argument("record_id", metavar="ID")
@click.option("--raw", "only_raw", is_flag=True, help="Print nothing but the text, to be mended in a file.")
@json_option
def show(record_id: str, only_raw: bool, as_json: bool) -> None:
    """One record: its text, why it could not be read, its file and line. The beginning of an id is enough.

    \b
    Examples:
      campaigns quarantine show 3f9a12c04b7e
      campaigns quarantine show 3f9a12 --raw > mended.json
    """
    with opened(settings_or_exit()) as documents:
        found = listed(documents.quarantine.one(record_id))
    if as_json:
        print_json(found)
    elif only_raw:
        click.echo(found.raw)
    else:
        click.echo(f"{found.file}, line {found.line}: {found.reason}")
        click.echo(f"\n{found.raw}")
        if found.replayed_in:
            click.echo(f"\nIt waits in {found.replayed_in} to be taken again.")


@quarantine.command()
@click.argument("record_ids", metavar="[ID]…", nargs=-1)
@click.option("--file", default="", help="Everything of this file.")
@click.option("--all", "everything", is_flag=True, help="Everything in quarantine.")
@click.option(
    "--from", "mended_file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="The mended text of the one record named."
)
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait until a release reflects what was replayed.")
@click.option("--timeout", "timeout_s", type=click.IntRange(1), default=600, show_default=True, help="Seconds to wait at most.")
@json_option
def replay(
    *, record_ids: tuple[str, ...], file: str, everything: bool, mended_file: Path | None, wait: bool, timeout_s: int, as_json: bool
) -> None:
    """Take records again: as they are, since the rules or the data around them may have changed, or as they were mended.

    What can be read goes to the inbox and the ordinary way from there, and leaves quarantine when it is taken. What cannot
    stays, with the reason of now, and the exit code is then 3. The text in quarantine is never changed.

    \b
    Examples:
      campaigns quarantine replay 3f9a12c04b7e --from mended.json
      campaigns quarantine replay --file day.jsonl
      campaigns quarantine replay --all --no-wait --json
    """
    if sum((bool(record_ids), bool(file), everything)) != 1:
        raise click.UsageError("name the records: one or more ID, or --file NAME, or --all")
    if mended_file and len(record_ids) != 1:
        raise click.UsageError("--from is the mended text of one record: give its ID, and no other")
    settings, console = settings_or_exit(), Console(stderr=True)
    with opened(settings) as documents:
        records = [documents.quarantine.one(each) for each in record_ids] or documents.quarantine.newest(0, file=file)
        done, delivered = replayed(settings, documents, records, mended_file)
    if delivered and wait:
        with store_errors(), console.status("waiting for the platform to take them"):
            loaded = follow(settings, [delivered], deadline=time.monotonic() + timeout_s)
        done = Replayed(file=done.file, replayed=done.replayed, still=done.still, report=loaded.reports[0])
    if as_json:
        print_json(done)
    else:
        tell(done)
    raise SystemExit(QUARANTINED if done.still or (done.report and done.report.quarantined) else 0)


def replayed(
    settings: Settings, documents: Documents, records: list[Quarantined], mended_file: Path | None
) -> tuple[Replayed, Delivered | None]:
    """Puts what can be read into one new file of the inbox; says why the rest cannot.

    That they wait in the file is noted before the file is there, and they are dropped when a file of that name was taken:
    wherever this is cut off, each record is in quarantine, in the inbox or in the stores, and may simply be replayed again.
    """
    lines, going, still = [], [], []
    for record in records:
        text = mended_file.read_bytes() if mended_file else record.raw.encode()
        found = mended(text, max_record_bytes=settings.max_record_bytes)
        if found.faults:
            if mended_file is None and found.faults[0] != record.reason:
                documents.quarantine.put_reason(record, found.faults[0])
            still.append(Still(id=record.id, reason=why(found)))
        else:
            lines += found.lines
            going.append(record)
    if not going:
        return Replayed(file=None, replayed=[], still=still), None
    name = f"{time.time_ns()}-replay.jsonl"
    documents.quarantine.replaying(going, name)
    with tempfile.NamedTemporaryFile() as whole:
        whole.write(b"\n".join(lines) + b"\n")
        whole.flush()
        deliver(Path(whole.name), Path(settings.inbox_dir), name=name)
        digest = file_digest(Path(whole.name))
    delivered = Delivered(source="quarantine", name=name, sha256=digest, readable=len(lines), rejected=0)
    return Replayed(file=name, replayed=[each.id for each in going], still=still), delivered


def why(found: Mended) -> str:
    more = f" (and {len(found.faults) - 1} more faults)" if len(found.faults) > 1 else ""
    return found.faults[0] + more


def tell(done: Replayed) -> None:
    """One line for what went, and one for each record that stays."""
    if done.file:
        click.echo(f"{len(done.replayed)} records went to the inbox as {done.file}.")
    if done.report:
        click.echo(f"Taken: {done.report.new} new, {done.report.changed} changed, {done.report.unchanged} unchanged.")
    for each in done.still:
        click.echo(f"{each.id} stays: {each.reason}")
    if not done.file and not done.still:
        click.echo("There is nothing to replay.")


def listed(record: Quarantined) -> Listed:
    return Listed(id=record.id, file=record.name, line=record.line, reason=record.reason, replayed_in=record.replayed_in, raw=record.raw)


@contextmanager
def opened(settings: Settings) -> Iterator[Documents]:
    """MongoDB for one command; a fault of it ends the command with one line."""
    documents = Documents(settings)
    try:
        with store_errors():
            documents.prepare()
            yield documents
    finally:
        documents.close()
