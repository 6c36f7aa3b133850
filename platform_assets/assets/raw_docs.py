"""raw_docs: files of the inbox and events posted to the API → records and campaigns in MongoDB, every record accounted for."""

import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import dagster as dg
import msgspec
from msgspec import Struct

from platform_assets import erasing
from platform_assets.automation import FORGET
from platform_assets.reconcile import Reconciliation, ensure_trust, renew_stamp, version_of
from platform_assets.resources import RETRY, Stores, surfaced
from stores.documents import Held, Stored
from stores.intake import decode_file, file_digest, pending
from stores.json_lines import decoded
from stores.ledger import Change, Extent
from stores.posted import NAME as INTAKE
from stores.posted import digest_of
from stores.records import Campaign, Decoded, FileReport, Record, Rejected, Tombstone, content_hash
from stores.sql import chunks
from stores.suppression import Suppression

CODE_VERSION = "1"
LEDGER = "raw_docs"
COUNTS = ("read", "new", "changed", "unchanged", "deleted", "suppressed", "superseded", "quarantined")
FILES_SHOWN = 20


class RawDocs:
    """MongoDB's side of its own ledger: what is there is the truth, so a lost ledger is written anew from it."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    def stamp(self) -> str | None:
        return self._stores.documents.stamp(LEDGER)

    def set_stamp(self, value: str) -> None:
        self._stores.documents.set_stamp(LEDGER, value)

    def intact(self, extent: Extent) -> bool:
        counts = self._stores.documents.counts("raw_docs", "campaigns")
        return extent.held <= counts["raw_docs"] + counts["campaigns"] <= extent.held + extent.unsettled

    def present(self) -> Iterator[tuple[str, str]]:
        return ((key, held.owner) for key, held in self._stores.documents.scan())

    def distrusted(self) -> None:
        """Nothing is derived from the documents here."""

    def recover(self) -> None:
        """Brings the ledger in line with what MongoDB holds, after a write that was cut off or a database that was restored."""
        stores = self._stores
        for entries in chunks(stores.ledger.unsettled(LEDGER), stores.settings.batch_rows):
            held = stores.documents.held([entry_id for entry_id, _ in entries])
            changes = [_as_held(entry_id, owner, held.get(entry_id)) for entry_id, owner in entries]
            stores.ledger.note(LEDGER, changes, held=set(held))
        stores.ledger.settle(LEDGER)


class FileTaken(Struct, frozen=True):
    """One file of the inbox, or what was posted, taken in full."""

    report: FileReport
    seconds: float


@dg.asset(
    group_name="intake",
    kinds={"mongodb"},
    owners=["team:data-platform"],
    code_version=CODE_VERSION,
    pool="mongodb",
    retry_policy=RETRY,
)
def raw_docs(context: dg.AssetExecutionContext, stores: dg.ResourceParam[Stores]) -> dg.MaterializeResult:
    """Customers' conversations and the campaigns, one document each, from what was posted and the files of the inbox.

    What was posted is taken first, as one file more. Every file is taken once, in name order; it leaves the inbox when each
    of its records is stored, deleted or in quarantine. The same message_id again replaces the record if its content differs.
    Before anything is taken, the records of customers who asked to be forgotten are removed; what comes of them later is
    counted as suppressed, and not kept.
    """
    with surfaced():
        plan, mirror = plan_of(stores), RawDocs(stores)
        recovered = ensure_trust(stores.ledger, mirror, plan)
        mirror.recover()
        takes = context.run.job_name != FORGET
        waiting = pending(Path(stores.settings.inbox_dir)) if takes else []
        posted = stores.documents.intake.waiting(before_ns=time.time_ns()) if takes else []
        requests = erasing.requests(stores, restored=bool(recovered))
        suppression = stores.documents.erasures.suppression(stores.settings.erasure_key)
        if waiting or posted or requests:
            renew_stamp(stores.ledger, mirror, plan)
        for request in requests:
            erasing.begin(stores, request)
        told = {"run_id": context.run.run_id, "log": context.log.info}
        taken = [take_posted(stores, posted, suppression, **told)] if posted else []
        taken += [take(stores, path, suppression, **told) for path in waiting]
        found = stores.ledger.keep_totals(LEDGER)
    reports = [each.report for each in taken if each is not None]
    totals = {name: sum(getattr(report, name) for report in reports) for name in COUNTS}
    seconds = sum(each.seconds for each in taken if each is not None)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(f"{plan.version}-{found.digest}"),
        metadata={
            "dagster/row_count": found.extent.held,
            **totals,
            "seconds": round(seconds, 3),
            "rows_per_second": round(totals["read"] / seconds, 1) if seconds else 0.0,
            "outcome": "no new file" if not reports else f"{len(reports)} files taken",
            "files": dg.MetadataValue.md(files_table(reports)),
            **({"recovered": recovered} if recovered else {}),
        },
    )


@dg.asset_check(asset=raw_docs, blocking=True)
def every_record_read_is_accounted_for(stores: dg.ResourceParam[Stores]) -> dg.AssetCheckResult:
    """read = new + changed + unchanged + deleted + suppressed + superseded + quarantined, for each of the latest files."""
    with surfaced():
        unbalanced = [report.name for report in stores.documents.files(1000) if not report.balances]
    return dg.AssetCheckResult(passed=not unbalanced, metadata={"unbalanced_files": len(unbalanced), "first": ", ".join(unbalanced[:3])})


@dg.asset_check(asset=raw_docs, blocking=True)
def ids_are_unique_and_all_in_the_ledger(stores: dg.ResourceParam[Stores]) -> dg.AssetCheckResult:
    """MongoDB holds exactly as many records and campaigns as its ledger names, and no write is unsettled."""
    with surfaced():
        counts, extent = stores.documents.counts("raw_docs", "campaigns", "quarantine"), stores.ledger.extent(LEDGER)
    stored = counts["raw_docs"] + counts["campaigns"]
    return dg.AssetCheckResult(
        passed=stored == extent.held and extent.unsettled == 0,
        metadata={
            "records": counts["raw_docs"],
            "campaigns": counts["campaigns"],
            "in_ledger": extent.held,
            "quarantined": counts["quarantine"],
        },
    )


def take(stores: Stores, path: Path, suppression: Suppression, *, run_id: str, log) -> FileTaken | None:
    """Takes one file in full and removes it; None where a file of this name and content was taken before."""
    began, digest = time.monotonic(), file_digest(path)
    if stores.documents.taken(path.name, digest):
        log("%s was taken before: it is removed", path.name)
        path.unlink()
        return None
    report = FileReport(name=path.name, sha256=digest, sequence=stores.documents.next_sequence(), run_id=run_id)
    report = take_all(stores, report, decode_file(path, max_record_bytes=stores.settings.max_record_bytes), suppression)
    stores.documents.quarantine.replayed(path.name)
    stores.documents.put_file(report)
    path.unlink()
    return timed(report, began, log)


def take_posted(stores: Stores, keys: Sequence[str], suppression: Suppression, *, run_id: str, log) -> FileTaken:
    """Takes the events of these postings like the lines of one file. They stay in the intake, noted as recorded, until a
    release reflects them: answers honour them meanwhile. Cut off before that, they are taken again and are unchanged.

    It goes before the files that wait: cut off and done again, it then overwrites nothing that came later.
    """
    began, intake = time.monotonic(), stores.documents.intake
    report = FileReport(name=INTAKE, sha256=digest_of(keys), sequence=stores.documents.next_sequence(), run_id=run_id)
    events = (event for posting in intake.get(keys) for event in posting.events)
    report = take_all(stores, report, (decoded(line, event.encode()) for line, event in enumerate(events, start=1)), suppression)
    stores.documents.put_file(report)
    intake.recorded(keys, report.sequence)
    return timed(report, began, log)


def timed(report: FileReport, began: float, log) -> FileTaken:
    seconds = time.monotonic() - began
    log("%s: %s in %.2f s", report.name, ", ".join(f"{name} {getattr(report, name)}" for name in COUNTS), seconds)
    return FileTaken(report, seconds)


def take_all(stores: Stores, report: FileReport, entries: Iterable[Decoded], suppression: Suppression) -> FileReport:
    """Stores the entries, counted from line 1, and returns the report with all of them counted."""
    for batch in chunks(enumerate(entries, start=1), stores.settings.batch_rows):
        report = take_batch(stores, report, batch, suppression)
    stores.ledger.settle(LEDGER)
    return msgspec.structs.replace(report, taken_at_ms=time.time_ns() // 1_000_000)


def take_batch(stores: Stores, report: FileReport, batch: Sequence[tuple[int, Decoded]], suppression: Suppression) -> FileReport:
    """Stores one batch of a file and returns the report with these records counted."""
    kept = [(line, entry) for line, entry in batch if not suppression.covers(entry)]
    rejected = [entry for _, entry in kept if isinstance(entry, Rejected)]
    stores.documents.put_quarantined(report, rejected)
    latest = {entry.key: (line, entry) for line, entry in kept if not isinstance(entry, Rejected)}
    held = stores.documents.held(latest)
    upserts, changes, counts = [], [], dict.fromkeys(COUNTS, 0)
    counts |= {"read": len(batch), "quarantined": len(rejected), "suppressed": len(batch) - len(kept)}
    counts["superseded"] = len(kept) - len(rejected) - len(latest)
    for key, (line, entry) in latest.items():
        before = held.get(key)
        outcome, change = decide(entry, before)
        counts[outcome] += 1
        if change:
            changes.append(change)
            if not isinstance(entry, Tombstone):
                upserts.append(Stored(entry, change.content_hash or "", report.sequence, line))
    if changes:
        stores.ledger.intend(LEDGER, changes)
        stores.documents.put(upserts)
        stores.documents.delete([change.id for change in changes if change.content_hash is None])
        stores.ledger.note(LEDGER, changes, held={stored.entry.key for stored in upserts})
    return msgspec.structs.replace(report, **{name: getattr(report, name) + counts[name] for name in COUNTS})


def decide(entry: Record | Campaign | Tombstone, before: Held | None) -> tuple[str, Change | None]:
    """What an entry does to what is stored under its key: the name of the count it falls under, and the change if any."""
    if isinstance(entry, Tombstone):
        return ("deleted", Change(entry.key, None, before.owner)) if before else ("unchanged", None)
    fingerprint, owner = content_hash(entry), entry.user_id if isinstance(entry, Record) else ""
    if before is None:
        return "new", Change(entry.key, fingerprint, owner)
    if before.content_hash == fingerprint:
        return "unchanged", None
    return "changed", Change(entry.key, fingerprint, owner, before.owner if before.owner != owner else None)


def plan_of(stores: Stores) -> Reconciliation:
    """MongoDB follows nothing: what it holds is the truth."""
    return Reconciliation(source=LEDGER, target=LEDGER, version=version_of(CODE_VERSION), batch_rows=stores.settings.batch_rows)


def files_table(reports: Sequence[FileReport]) -> str:
    """The files as a table that a person reads in Dagster's UI; no record's text is in it."""
    if not reports:
        return "No new file was in the inbox."
    head = f"| file | {' | '.join(COUNTS)} |\n|---|{'---|' * len(COUNTS)}\n"
    shown = [f"| {r.name} | {' | '.join(str(getattr(r, name)) for name in COUNTS)} |" for r in reports[:FILES_SHOWN]]
    more = f"\n\nand {len(reports) - FILES_SHOWN} more files" if len(reports) > FILES_SHOWN else ""
    return head + "\n".join(shown) + more


def _as_held(entry_id: str, owner: str, held: Held | None) -> Change:
    return Change(entry_id, held.content_hash if held else None, held.owner if held else owner)
