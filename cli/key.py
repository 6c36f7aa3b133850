"""`campaigns key new NAME`: draws a key for the API."""

from typing import get_args

import click

from cli.output import json_option, print_json
from retrieval.keys import VARIABLE, Scope, drawn, entry_of


@click.group()
def key() -> None:
    """Keys for the API. A key is revoked by removing its entry from CAMPAIGNS_API_KEYS and restarting the API."""


@key.command()
@click.argument("name")
@click.option("--scope", type=click.Choice(get_args(Scope)), default="read", show_default=True, help="What the key may do.")
@json_option
def new(name: str, scope: Scope, as_json: bool) -> None:
    """Draws a key, and prints it this once, with the entry that the setting needs.

    \b
    Examples:
      campaigns key new shop
      campaigns key new maria --scope operator --json
    """
    drawn_key = drawn()
    try:
        entry = entry_of(drawn_key, name=name, scope=scope)
    except ValueError as exc:
        raise click.UsageError(str(exc)) from exc
    if as_json:
        print_json({"key": drawn_key, "entry": entry})
        return
    click.echo(f"key, shown only now: {drawn_key}")
    click.echo(f"for {VARIABLE}, after a comma where there are others: {entry}")
