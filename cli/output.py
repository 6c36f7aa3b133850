"""What every command shares: settings or one clear line, JSON for scripts, exit codes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import click
import msgspec

from stores.errors import StoreError
from stores.settings import BadSetting, Settings, load_settings

FAILED = 1
WRONG_USE = 2
QUARANTINED = 3

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document, for scripts.")


class Failed(click.ClickException):
    """Ends the command with one line and exit code 1."""

    exit_code = FAILED


def settings_or_exit() -> Settings:
    """The settings of this environment; a bad one ends the command with the line that names its variable."""
    try:
        return load_settings(os.environ)
    except BadSetting as exc:
        raise click.UsageError(str(exc)) from exc


@contextmanager
def store_errors() -> Iterator[None]:
    """A store that does not answer, or answers wrongly, ends the command with one line."""
    try:
        yield
    except StoreError as exc:
        raise Failed(str(exc)) from exc


def print_json(value: object) -> None:
    """Prints a value as JSON with stable order."""
    click.echo(msgspec.json.format(msgspec.json.encode(value)).decode())


def key_shown(settings: Settings) -> dict[str, str]:
    """The header that shows the API the key of the setting `api_key`, if there is one."""
    return {"Authorization": f"Bearer {settings.api_key}"} if settings.api_key else {}
