"""`campaigns forget USER`: removes a customer from everywhere, and proves it."""

import re
import time

import click
import httpx
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from cli.output import Failed, json_option, print_json, settings_or_exit, store_errors
from local.dagster_runs import DagsterRuns, StepFailed
from local.processes import CannotStart
from stores.cache import Cache
from stores.documents import Documents
from stores.erasures import Erasure, checked_key
from stores.errors import StoreError
from stores.records import ID_PATTERN
from stores.settings import BadSetting, Settings

JOB = "forget"
POLL_S = 0.5
NEXT = "the request is kept: the next refresh, or the job `forget`, completes it"


class Place(Struct, frozen=True, kw_only=True):
    """How much there was of a customer in one place, and how much is left."""

    found: int
    left: int


class Proof(Struct, frozen=True, kw_only=True):
    """What was removed where. `mark` is the keyed hash that stays; `answers_stopped` says whether Redis took it at once."""

    mark: str
    done: bool
    answers_stopped: bool
    requested_at_ms: int
    done_at_ms: int
    run_url: str
    places: dict[str, Place]


@click.command()
@click.argument("user_id")
@click.option("--yes", is_flag=True, help="Do not ask whether this is meant.")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait until it is done.")
@click.option("--timeout", "timeout_s", type=click.IntRange(1), default=600, show_default=True, help="Seconds to wait at most.")
@json_option
def forget(*, user_id: str, yes: bool, wait: bool, timeout_s: int, as_json: bool) -> None:
    """Forget a customer: in every store, the cache, the inbox and quarantine. Nothing brings them back.

    Answers show nothing of them from now on; the stores follow by a job of Dagster, which goes before all refreshes that
    wait. What stays is a keyed hash (setting CAMPAIGNS_ERASURE_KEY), by which later loads know whom not to take in.
    Back-ups are not touched: see the page on operations.

    \b
    Examples:
      campaigns export u_001 --output u_001.json
      campaigns forget u_001
      campaigns forget u_001 --yes --json | jq .places
    """
    settings = settings_or_exit()
    if not re.match(ID_PATTERN, user_id):
        raise click.UsageError(f"{user_id!r} is no user id: letters, digits and _ . : @ - only, 128 at most")
    try:
        checked_key(settings.erasure_key)
    except BadSetting as exc:
        raise click.UsageError(str(exc)) from exc
    if not yes:
        click.confirm(f"Forget {user_id} for ever, in every store?", abort=True, err=True)
    console = Console(stderr=True)
    with store_errors():
        request, stopped = asked(settings, user_id, console)
    run_url, done = launched(settings, request, console, deadline=time.monotonic() + timeout_s if wait else None)
    proof = proof_of(done, answers_stopped=stopped, run_url=run_url)
    if as_json:
        print_json(proof)
    else:
        tell(proof, waited=wait)
    raise SystemExit(0 if proof.done or not wait else 1)


def asked(settings: Settings, user_id: str, console: Console) -> tuple[Erasure, bool]:
    """Writes the request, durably, and then stops answers; whether Redis took that."""
    documents, cache = Documents(settings), Cache(settings)
    try:
        documents.prepare()
        request = documents.erasures.request(user_id, key=settings.erasure_key, now_ms=time.time_ns() // 1_000_000)
        try:
            cache.suppress(user_id)
        except StoreError as exc:
            console.print(f"{exc}; cached answers stop when the job runs", style="yellow", markup=False)
            return request, False
        return request, True
    finally:
        documents.close()
        cache.close()


def launched(settings: Settings, request: Erasure, console: Console, *, deadline: float | None) -> tuple[str, Erasure]:
    """Launches the job and, where there is a deadline, waits for it; where the run is seen, and how the request stands then."""
    runs = DagsterRuns(settings.dagster_url)

    def pause() -> None:
        if deadline is not None and time.monotonic() > deadline:
            raise Failed(f"it is not done yet, see {runs.run_url(run_id)}; {NEXT}")
        time.sleep(POLL_S)

    try:
        run_id = runs.launch(JOB)
        if deadline is None:
            return runs.run_url(run_id), request
        failed = ""
        with console.status("waiting for the stores to follow"):
            for event in runs.follow(run_id, pause):
                if isinstance(event, StepFailed):
                    failed = f"{event.asset} failed: {event.message}; "
    except (CannotStart, httpx.HTTPError) as exc:
        raise Failed(f"Dagster at {settings.dagster_url} did not take the job ({exc}); {NEXT}") from exc
    finally:
        runs.close()
    if failed:
        raise Failed(f"{failed}see {runs.run_url(run_id)}; {NEXT}")
    return runs.run_url(run_id), standing(settings, request)


def standing(settings: Settings, request: Erasure) -> Erasure:
    documents = Documents(settings)
    try:
        with store_errors():
            return documents.erasures.get(request.mark) or request
    finally:
        documents.close()


def proof_of(erasure: Erasure, *, answers_stopped: bool, run_url: str) -> Proof:
    """The request as it stands. Before it is done, all that was found counts as left."""
    left = erasure.left if erasure.done_at_ms else erasure.found
    return Proof(
        mark=erasure.mark,
        done=erasure.done_at_ms > 0,
        answers_stopped=answers_stopped,
        requested_at_ms=erasure.requested_at_ms,
        done_at_ms=erasure.done_at_ms,
        run_url=run_url,
        places={place: Place(found=found, left=left.get(place, 0)) for place, found in erasure.found.items()},
    )


def tell(proof: Proof, *, waited: bool) -> None:
    """The proof as a table."""
    if not proof.done and waited:
        click.echo("Asked for. A file that waits in the inbox names the customer and cannot be rewritten: it is done once that is taken.")
        return
    if not proof.done:
        click.echo(f"Asked for. The job runs: {proof.run_url}")
        return
    table = Table("place", "found", "left")
    for place, counts in proof.places.items():
        table.add_row(place, str(counts.found), str(counts.left))
    Console().print(table)
    click.echo(f"Forgotten after {(proof.done_at_ms - proof.requested_at_ms) / 1000:.1f} s. What stays is the keyed hash {proof.mark}.")
