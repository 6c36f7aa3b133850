"""The `campaigns` command: starts the platform, loads files, asks for recommendations, says how things stand."""

from importlib import import_module

import click

COMMANDS = ("evaluate", "export", "forget", "key", "load", "quarantine", "rebuild", "recommend", "status", "up", "verify", "warm")


class Commands(click.Group):
    """The commands, each taken from its own module once it is asked for: one need not wait for the drivers that another needs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return getattr(import_module(f"cli.{cmd_name}"), cmd_name) if cmd_name in COMMANDS else None


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="campaign-platform")
def main() -> None:
    """Ranked campaigns, each with a reason, from what customers say and do.

    \b
    Exit codes: 0 done; 1 it could not be done; 2 wrong use or a bad setting; 3 done, but some records are in quarantine.
    """
