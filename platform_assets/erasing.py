"""How a customer is forgotten: what is held of them where, what `raw_docs` removes first, and what is removed at the end.

In between the stores follow by themselves: the records are gone from MongoDB, and every store reflects MongoDB. Each step
may be cut off and done again. Nothing here is ever logged or told to Dagster but numbers.
"""

import time
from itertools import chain
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from platform_assets.resources import Stores
from ranking.words import campaign_text
from stores.erasures import Erasure
from stores.errors import ContractBroken
from stores.graph import TIES
from stores.intake import file_digest, pending
from stores.ledger import Change
from stores.records import Decoded, Record, Rejected
from stores.rewriting import counted, rewritten
from stores.sql import chunks
from stores.suppression import mark_of, owners_in

RECORDS = "raw_docs"
INBOX = "inbox"
INTAKE = "mongodb intake"
WAITING = (INBOX, INTAKE)
"""Where a customer may be found again at any moment, until a refresh drops what waits there."""
EMBEDDINGS = "mongodb embeddings"
OF_CUSTOMERS = ("message_vectors", "user_vectors")


class Theirs(Struct, frozen=True):
    """Tells what is of one customer: a record that names them, or a text that could not be read and may be theirs."""

    user_id: str

    def __call__(self, entry: Decoded) -> bool:
        if isinstance(entry, Record):
            return entry.user_id == self.user_id
        return isinstance(entry, Rejected) and self.user_id in owners_in(entry.raw)


class Finished(Struct, frozen=True):
    """What became of the requests: done in this run, or waiting for a later one; `texts` had their embeddings removed."""

    done: int
    waiting: int
    texts: int


def requests(stores: Stores, *, restored: bool) -> list[Erasure]:
    """Who is to be forgotten, the oldest request first. A restored database may hold again who was forgotten: they are added.

    Whoever asks after this waits for the next run, but no load brings them back: ask for the suppression after this.
    """
    erasures = stores.documents.erasures
    if restored and (found := erasures.suppression(stores.settings.erasure_key)).marks:
        for user_id in stores.ledger.owners(RECORDS):
            if mark_of(user_id, found.key) in found.marks:
                erasures.request(user_id, key=found.key, now_ms=now_ms())
    return erasures.pending()


def holdings(stores: Stores, user_id: str) -> dict[str, int]:
    """How much is held of a customer, by place. Looks into every store and file, whatever the ledgers say."""
    theirs, limit = Theirs(user_id), stores.settings.max_record_bytes
    ties = stores.graph.ties([user_id]).get(user_id)
    vectors = dict.fromkeys((f"milvus {kind}" for kind in OF_CUSTOMERS), 0)
    for name in stores.vectors.collections():
        if kind := next((kind for kind in OF_CUSTOMERS if name.startswith(kind)), None):
            vectors[f"milvus {kind}"] += len(stores.vectors.ids_of(name, user_id))
    return {
        INBOX: sum(counted(path, theirs, max_record_bytes=limit) for path in pending(Path(stores.settings.inbox_dir))),
        INTAKE: len(stores.documents.intake.of(user_id)),
        "mongodb raw_docs": len(stores.documents.records_of([user_id])[user_id]),
        "mongodb quarantine": sum(user_id in owners_in(each.raw) for each in stores.documents.quarantine.all()),
        **vectors,
        "neo4j customers": int(ties is not None),
        "neo4j ties": sum(len(getattr(ties, kind)) for kind in TIES) if ties else 0,
        "neo4j words": len(ties.words) if ties else 0,
        "sql events": len(stores.metrics.events_of([user_id])),
        "sql engagement": len(stores.metrics.engagement_of([user_id])),
        "sql ledger": sum(stores.ledger.naming(user_id).values()),
        "redis": stores.cache.revealing(user_id),
    }


def begin(stores: Stores, request: Erasure) -> None:
    """Notes what is held of a customer, then removes it from the inbox, the intake, quarantine and the records, in this order."""
    user_id, documents = request.user_id, stores.documents
    stores.cache.suppress(user_id)
    if not request.begun_at_ms:
        texts = {stores.embedder.key(record.message or "") for record in documents.records_of([user_id])[user_id] if record.speaks}
        found = holdings(stores, user_id) | {EMBEDDINGS: len(documents.known_embeddings(texts))}
        documents.erasures.put(replace(request, found=found, begun_at_ms=now_ms()))
    theirs, limit = Theirs(user_id), stores.settings.max_record_bytes
    for path in pending(Path(stores.settings.inbox_dir)):
        if counted(path, theirs, max_record_bytes=limit):
            before = file_digest(path)
            if rewritten(path, theirs, max_record_bytes=limit):
                documents.quarantine.drop_file(before)  # of a run that was cut off in this file: its records come again
    documents.intake.drop(user_id)
    for some in chunks(documents.quarantine.all(), stores.settings.batch_rows):
        documents.quarantine.drop([each for each in some if user_id in owners_in(each.raw)])
    changes = [Change(record.key, None, user_id) for record in documents.records_of([user_id])[user_id]]
    for batch in chunks(changes, stores.settings.batch_rows):
        stores.ledger.intend(RECORDS, batch)
        documents.delete([change.id for change in batch])
        stores.ledger.note(RECORDS, batch, held=set())
    stores.ledger.settle(RECORDS)


def finish(stores: Stores) -> Finished:
    """Removes what no ledger leads to, looks whether anything is left, and forgets the ids of those of whom nothing is.

    A request that came during this run waits for the next one, as does one whose records stand in a file that could not be
    rewritten, or of whom something was posted at the last moment: the refresh that takes it drops them.

    Raises:
        ContractBroken: something is left that should not be.
    """
    requests = stores.documents.erasures.pending()
    begun = [each for each in requests if each.begun_at_ms]
    if not begun:
        return Finished(0, len(requests), 0)
    for each in begun:
        drop_from_older_vectors(stores, each.user_id)
        stores.documents.intake.drop(each.user_id)
        stores.cache.forget(each.user_id)
    texts, orphans = sweep_embeddings(stores)
    done = 0
    for each in begun:
        left = holdings(stores, each.user_id) | {EMBEDDINGS: orphans}
        if any(number for place, number in left.items() if place not in WAITING):
            places = ", ".join(f"{place} {number}" for place, number in left.items() if number)
            raise ContractBroken("mongodb", f"a customer was to be forgotten, and there is left: {places}; launch `refresh`")
        if not any(left[place] for place in WAITING):
            stores.cache.lift(each.user_id)
            stores.documents.erasures.done(each, left=left, now_ms=now_ms())
            done += 1
    return Finished(done, len(requests) - done, texts)


def drop_from_older_vectors(stores: Stores, user_id: str) -> None:
    """Removes a customer from the collections that follow no record any more: those of the release before, or of another model."""
    for name in stores.vectors.collections():
        if name not in stores.collections.names:
            stores.vectors.delete(name, stores.vectors.ids_of(name, user_id))
            stores.ledger.drop_owner(name, user_id)


def sweep_embeddings(stores: Stores) -> tuple[int, int]:
    """Removes the embeddings of texts that nobody says and no campaign has; how many those were, and how many are left of such.

    Also those by other models: whoever goes back to one embeds anew. A text that was changed has left its vector behind, and
    no record leads there any more: so all of them are looked through.
    """
    for name in stores.ledger.stores():
        if name.startswith("embeddings@") and name != stores.embeddings_ledger:
            stores.ledger.forget(name)
    texts = chain(stores.documents.texts(), map(campaign_text, stores.documents.campaigns()))
    needed = {bytes.fromhex(stores.embedder.key(text)) for text in texts}
    orphans = [key for key in stores.documents.embedding_keys() if bytes.fromhex(key) not in needed]
    stores.documents.delete_embeddings(orphans)
    return len(orphans), sum(bytes.fromhex(key) not in needed for key in stores.documents.embedding_keys())


def now_ms() -> int:
    return time.time_ns() // 1_000_000
