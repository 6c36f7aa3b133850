"""`campaigns recommend USER`: asks the API, as any other client would."""

import re

import click
import httpx
import msgspec
from rich.console import Console
from rich.table import Table

from cli.output import Failed, json_option, key_shown, settings_or_exit
from stores.records import ID_PATTERN

TIMEOUT_S = 10.0


@click.command()
@click.argument("user_id")
@click.option("--limit", type=click.IntRange(1, 100), default=10, show_default=True, help="How many campaigns at most.")
@json_option
def recommend(user_id: str, limit: int, as_json: bool) -> None:
    """The ranked campaigns for a customer, with the reason for each.

    \b
    Examples:
      campaigns recommend u_001
      campaigns recommend u_001 --limit 3 --json
    """
    settings = settings_or_exit()
    if not re.match(ID_PATTERN, user_id):
        raise click.UsageError(f"{user_id!r} is no user id: letters, digits and _ . : @ - only, 128 at most")
    try:
        answer = httpx.get(
            f"{settings.api_url}/recommendations/{user_id}", params={"limit": limit}, headers=key_shown(settings), timeout=TIMEOUT_S
        )
    except httpx.HTTPError as exc:
        raise Failed(f"the API at {settings.api_url} does not answer ({type(exc).__name__}): is the platform up?") from exc
    if answer.status_code != 200:
        problem = answer.json() if "json" in answer.headers.get("content-type", "") else {}
        raise Failed(problem.get("detail") or problem.get("title") or f"the API answered {answer.status_code}")
    if as_json:
        click.echo(msgspec.json.format(answer.content).decode())
    else:
        show(answer)


def show(answer: httpx.Response) -> None:
    """The answer as a table, with where it came from below."""
    body = answer.json()
    table = Table("#", "campaign", "score", "reason", title=f"Campaigns for {body['user_id']}", title_justify="left")
    for rank, each in enumerate(body["recommendations"], start=1):
        table.add_row(str(rank), each["campaign_id"], f"{each['ranking_score']:.3f}", each["reason"])
    console = Console()
    console.print(table)
    said = [body["retrieval_source"], f"release {answer.headers.get('x-release', '?')}"]
    if missing := answer.headers.get("x-degraded"):
        said.append(f"without {missing}")
    console.print(", ".join(said), style="dim")
