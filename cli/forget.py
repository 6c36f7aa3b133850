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
from stores.erasures import Erasure, checked_key
from stores.forgetting import Place, ask, places_of, standing
from stores.records import ID_PATTERN
from stores.settings import BadSetting, Settings

JOB = "forget"
POLL_S = 0.5
NEXT = "the request is kept: the next refresh, or the job `forget`, completes it"


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
        asked = ask(settings, user_id)
    if asked.untold:
        console.print(f"{asked.untold}; cached answers stop when the job runs", style="yellow", markup=False)
    run_url = launched(settings, console, deadline=time.monotonic() + timeout_s if wait else None)
    with store_errors():
        done = (standing(settings, user_id) if wait else None) or asked.erasure
    proof = proof_of(done, answers_stopped=asked.untold is None, run_url=run_url)
    if as_json:
        print_json(proof)
    else:
        tell(proof, waited=wait)
    raise SystemExit(0 if proof.done or not wait else 1)


def launched(settings: Settings, console: Console, *, deadline: float | None) -> str:
    """Launches the job and, where there is a deadline, waits for it; where the run is seen."""
    runs = DagsterRuns(settings.dagster_url)

    def pause() -> None:
        if deadline is not None and time.monotonic() > deadline:
            raise Failed(f"it is not done yet, see {runs.run_url(run_id)}; {NEXT}")
        time.sleep(POLL_S)

    try:
        run_id = runs.launch(JOB)
        if deadline is None:
            return runs.run_url(run_id)
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
    return runs.run_url(run_id)


def proof_of(erasure: Erasure, *, answers_stopped: bool, run_url: str) -> Proof:
    return Proof(
        mark=erasure.mark,
        done=erasure.done_at_ms > 0,
        answers_stopped=answers_stopped,
        requested_at_ms=erasure.requested_at_ms,
        done_at_ms=erasure.done_at_ms,
        run_url=run_url,
        places=places_of(erasure),
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
