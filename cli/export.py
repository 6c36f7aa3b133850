"""`campaigns export USER`: everything that is held about a customer."""

import os
import re
from pathlib import Path

import click
import msgspec
from msgspec import Struct

from cli.output import Failed, settings_or_exit, store_errors
from stores.cache import Cache
from stores.documents import Documents
from stores.graph import Graph
from stores.intake import decode_file, pending
from stores.metrics import Metrics
from stores.quarantine import Quarantined
from stores.records import ID_PATTERN, CustomerTies, Json, Profile, Record, Tally, iso
from stores.settings import Settings
from stores.sql import open_engine
from stores.suppression import owners_in
from stores.vectors import Vectors, key_field


class Said(Struct, frozen=True, kw_only=True):
    """One record, with its time as ISO 8601 in UTC."""

    message_id: str
    timestamp: str
    event: str
    message: str | None
    role: str
    campaign_id: str | None
    group: str | None
    intent: str | None
    channel: str | None
    session_id: str | None
    profile: Profile | None
    extra: dict[str, Json]


class Unread(Struct, frozen=True, kw_only=True):
    """One record in quarantine that is, or may be, theirs."""

    id: str
    file: str
    line: int
    reason: str
    raw: str


class Waiting(Struct, frozen=True, kw_only=True):
    """What waits in one file of the inbox."""

    file: str
    records: list[Said]
    unreadable: list[str]


class VectorsHeld(Struct, frozen=True, kw_only=True):
    """How many vectors one collection holds of a customer: one for each message, or the one of the customer."""

    collection: str
    vectors: int


class Export(Struct, frozen=True, kw_only=True):
    """Everything held about a customer. `ties` is what the graph holds, `engagement` what is counted per campaign."""

    user_id: str
    records: list[Said]
    quarantine: list[Unread]
    inbox: list[Waiting]
    ties: CustomerTies | None
    engagement: dict[str, Tally]
    vectors: list[VectorsHeld]
    cached_answers: int
    being_forgotten: bool


@click.command()
@click.argument("user_id")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write to this file, for its owner's eyes only.")
def export(user_id: str, output: Path | None) -> None:
    """Everything held about a customer, as one JSON document: to stdout, or to a file that only its owner may read.

    Records with all that came with them, what stands in quarantine and names them, ties, engagement figures and whether
    there are vectors. It fails rather than leave a store out.

    \b
    Examples:
      campaigns export u_001 | jq '.records | length'
      campaigns export u_001 --output u_001.json
    """
    settings = settings_or_exit()
    if not re.match(ID_PATTERN, user_id):
        raise click.UsageError(f"{user_id!r} is no user id: letters, digits and _ . : @ - only, 128 at most")
    with store_errors():
        document = msgspec.json.format(msgspec.json.encode(held(settings, user_id)))
    if output is None:
        click.echo(document.decode())
    else:
        write_private(output, document + b"\n")


def held(settings: Settings, user_id: str) -> Export:
    """Asks every store.

    Raises:
        StoreError: one does not answer.
    """
    documents, vectors, graph, cache = Documents(settings), Vectors(settings), Graph(settings), Cache(settings)
    metrics = Metrics(open_engine(settings))
    try:
        documents.prepare()
        metrics.prepare()
        return Export(
            user_id=user_id,
            records=[said(record) for record in documents.records_of([user_id])[user_id]],
            quarantine=[unread(each) for each in documents.quarantine.all() if user_id in owners_in(each.raw)],
            inbox=waiting(settings, user_id),
            ties=graph.ties([user_id]).get(user_id),
            engagement={campaign_id: tally for (_, campaign_id), tally in metrics.engagement_of([user_id]).items()},
            vectors=vectors_of(vectors, user_id),
            cached_answers=cache.revealing(user_id),
            being_forgotten=any(each.user_id == user_id for each in documents.erasures.pending()),
        )
    finally:
        for store in (documents, vectors, graph, cache, metrics):
            store.close()


def vectors_of(vectors: Vectors, user_id: str) -> list[VectorsHeld]:
    """The collections that hold something of a customer."""
    counts = {name: len(vectors.ids_of(name, user_id)) for name in vectors.collections() if key_field(name)}
    return [VectorsHeld(collection=name, vectors=count) for name, count in counts.items() if count]


def waiting(settings: Settings, user_id: str) -> list[Waiting]:
    """What waits in the inbox and is theirs, or may be."""
    found = []
    for path in pending(Path(settings.inbox_dir)):
        records, unreadable = [], []
        for entry in decode_file(path, max_record_bytes=settings.max_record_bytes):
            if isinstance(entry, Record):
                records += [said(entry)] if entry.user_id == user_id else []
            elif (raw := getattr(entry, "raw", None)) and user_id in owners_in(raw):
                unreadable.append(raw)
        if records or unreadable:
            found.append(Waiting(file=path.name, records=records, unreadable=unreadable))
    return found


def said(record: Record) -> Said:
    fields = {name: getattr(record, name) for name in Said.__struct_fields__ if name != "timestamp"}
    return Said(timestamp=iso(record.timestamp_ms), **fields)


def unread(record: Quarantined) -> Unread:
    return Unread(id=record.id, file=record.name, line=record.line, reason=record.reason, raw=record.raw)


def write_private(path: Path, content: bytes) -> None:
    """Writes a new file, whole or not at all, that only its owner may read; one that is there is not overwritten."""
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
        os.link(unfinished, path)
    except OSError as exc:
        raise Failed(f"{path}: {exc.strerror}") from exc
    finally:
        unfinished.unlink(missing_ok=True)
