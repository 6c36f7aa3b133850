"""`campaigns rebuild [ASSET]…`: writes stores anew, beside or under the readers, and publishes a release."""

import time
from collections.abc import Callable
from contextlib import contextmanager

import click
import httpx
from msgspec import Struct
from rich.console import Console

from cli.output import FAILED, Failed, json_option, print_json, settings_or_exit
from local.dagster_runs import REBUILD, REBUILD_TAG, REBUILDABLE, CheckFailed, DagsterRuns, Finished, Materialized, StepFailed
from local.processes import CannotStart

POLL_S = 0.5
SUCCESS = "SUCCESS"


class Rebuilt(Struct, frozen=True, kw_only=True):
    """A launched rebuild; `status` is LAUNCHED where nobody waited, `release` the number that it published."""

    run_id: str
    url: str
    assets: list[str]
    status: str = "LAUNCHED"
    release: int | None = None
    failures: list[str] = []


@click.command()
@click.argument("assets", nargs=-1, type=click.Choice(REBUILDABLE), metavar="[ASSET]...")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait until the run has ended.")
@click.option("--timeout", "timeout_s", type=click.IntRange(1), default=3600, show_default=True, help="Seconds to wait at most.")
@json_option
def rebuild(assets: tuple[str, ...], wait: bool, timeout_s: int, as_json: bool) -> None:
    """Write embeddings, vectors, graph, metrics, or all of them, anew from the records, and publish a release.

    Vectors are built in new collections beside those in use, which readers leave with the release; metrics are replaced in
    one transaction; embeddings and the graph are gone over in place, each entry whole. To rebuild the embeddings is to embed
    every text again, and rebuilds the vectors too.

    Dagster runs it, after whatever runs now. Exit code 0 when it succeeded, or was launched with --no-wait, else 1.

    \b
    Examples:
      campaigns rebuild graph
      campaigns rebuild vectors metrics --json | jq .release
      campaigns rebuild --no-wait
    """
    runs, named = DagsterRuns(settings_or_exit().dagster_url), list(assets or REBUILDABLE)
    console = Console(stderr=as_json)
    try:
        with dagster_errors(runs.url):
            run_id = runs.launch(REBUILD, tags={REBUILD_TAG: ",".join(named)})
            launched = Rebuilt(run_id=run_id, url=runs.run_url(run_id), assets=named)
            console.print(f"{launched.url}", highlight=False, soft_wrap=True)
            rebuilt = follow(runs, launched, console, timeout_s=timeout_s) if wait else launched
    finally:
        runs.close()
    if as_json:
        print_json(rebuilt)
    else:
        for failure in rebuilt.failures:
            console.print(failure, style="red", markup=False, highlight=False, soft_wrap=True)
        console.print(f"Release {rebuilt.release} is served." if rebuilt.status == SUCCESS else f"The rebuild: {rebuilt.status}.")
    raise SystemExit(FAILED if wait and rebuilt.status != SUCCESS else 0)


def follow(runs: DagsterRuns, launched: Rebuilt, console: Console, *, timeout_s: int) -> Rebuilt:
    """Tells of each asset as it is done, and gives what came of the run.

    Raises:
        Failed: it takes longer than this is to be waited for.
    """
    status, release, failures = launched.status, None, []
    for event in runs.follow(launched.run_id, pause_until(time.monotonic() + timeout_s, launched.url)):
        match event:
            case Materialized(asset=asset, seconds=seconds, counts=counts):
                console.print(f"  {asset}  {seconds:.1f} s", highlight=False)
                release = counts.get("number", release) if asset == "release" else release
            case CheckFailed(asset=asset, check=check):
                failures.append(f"{asset}: {check} does not hold")
            case StepFailed(asset=asset, message=message):
                failures.append(f"{asset}: {message}")
            case Finished(status=ended):
                status = ended
    return Rebuilt(run_id=launched.run_id, url=launched.url, assets=launched.assets, status=status, release=release, failures=failures)


def pause_until(deadline: float, url: str) -> Callable[[], None]:
    """A pause between two looks, which raises Failed once the deadline has passed."""

    def pause() -> None:
        if time.monotonic() > deadline:
            raise Failed(f"the rebuild goes on, but was waited for long enough: see {url}")
        time.sleep(POLL_S)

    return pause


@contextmanager
def dagster_errors(url: str):
    """A webserver that does not answer, or refuses, ends the command with one line."""
    try:
        yield
    except httpx.HTTPError as exc:
        raise Failed(f"Dagster at {url} does not answer ({type(exc).__name__}): is the platform up?") from exc
    except CannotStart as exc:
        raise Failed(str(exc)) from exc
