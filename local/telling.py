"""What a person, or a script, is told about a running stack: each asset as it is done, then an answer and where everything is."""

import json
from pathlib import Path

import httpx
import msgspec
from msgspec import Struct
from rich.table import Table

from local.dagster_runs import CheckFailed, Finished, Materialized, RunEvent, StepFailed
from local.steps import Steps

SHOWN_PATH = "/recommendations/u_001?limit=3"


class Ready(Struct, frozen=True, kw_only=True):
    """The platform answers. `answer` is the body just served for `u_001`, None where nothing is released yet."""

    api_url: str
    dagster_url: str
    inbox: str
    logs: str
    env_file: str
    seconds: float
    answer: object = None


def tell_event(steps: Steps, event: RunEvent) -> None:
    """One line for what happened in a run."""
    match event:
        case Materialized(asset=asset, counts=counts, seconds=seconds):
            rows = counts.get("dagster/row_count")
            steps.detail(f"{asset:<16}{'' if rows is None else f'{rows:,} rows':>14}{seconds:>8.1f} s")
        case CheckFailed(asset=asset, check=check, severity=severity):
            steps.wrong(f"{asset}: check {check} does not hold ({severity.lower()})")
        case StepFailed(asset=asset, message=message):
            steps.wrong(f"{asset} failed: {message}")
        case Finished(status=status) if status != "SUCCESS":
            steps.wrong(f"The run ended with {status}; the last release, if there was one, goes on serving")


def tell_ready(steps: Steps, ready: Ready, said: httpx.Response, *, default_env_file: Path, as_json: bool) -> None:
    """The table of addresses, and the answer with the command that gets it; as one line of JSON to stdout where asked."""
    if as_json:
        print(msgspec.json.encode(ready).decode(), flush=True)
    table = Table(show_header=False, box=None, padding=(0, 2))
    table.add_row("Recommendations", ready.api_url + SHOWN_PATH)
    table.add_row("Dagster", ready.dagster_url)
    table.add_row("Inbox", ready.inbox)
    table.add_row("Logs", ready.logs)
    write = steps.console.print
    write(f"\n[bold]Ready after {ready.seconds:.1f} s.[/] Ctrl-C stops everything.\n", highlight=False)
    write(table)
    if Path(ready.env_file) != default_env_file:
        write(f"\nIn other terminals: export CAMPAIGNS_ENV_FILE={ready.env_file}", markup=False, highlight=False, soft_wrap=True)
    write(f"\n$ curl '{ready.api_url}{SHOWN_PATH}'", markup=False, highlight=False, soft_wrap=True)
    write(json.dumps(said.json(), indent=2, ensure_ascii=False) + "\n", markup=False, soft_wrap=True)
