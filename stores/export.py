"""Everything that is held about a customer, from every store: what the `campaigns export` command and the API give."""

from pathlib import Path

from stores.cache import Cache
from stores.documents import Documents
from stores.errors import NotFound
from stores.exported import Export, Said, Unread, VectorsHeld, Waiting
from stores.graph import Graph
from stores.intake import decode_file, pending
from stores.json_lines import decoded
from stores.metrics import Metrics
from stores.quarantine import Quarantined
from stores.records import Record, iso
from stores.settings import Settings
from stores.sql import open_engine
from stores.suppression import owners_in
from stores.vectors import Vectors, key_field


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
            posted=[said(entry) for event in documents.intake.of(user_id) if isinstance(entry := decoded(1, event.encode()), Record)],
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
    """What waits in the inbox and is theirs, or may be.

    Raises:
        NotFound: the folder is not on this machine, so nobody here knows.
    """
    found = []
    try:
        files = pending(Path(settings.inbox_dir))
    except FileNotFoundError as exc:
        raise NotFound("inbox", f"there is no folder {settings.inbox_dir} here") from exc
    for path in files:
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
