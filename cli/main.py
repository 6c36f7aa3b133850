"""The `campaigns` command: starts the platform, loads files, asks for recommendations, says how things stand."""

import click

from cli.evaluate import evaluate
from cli.export import export
from cli.forget import forget
from cli.key import key
from cli.load import load
from cli.quarantine import quarantine
from cli.rebuild import rebuild
from cli.recommend import recommend
from cli.status import status
from cli.up import up
from cli.verify import verify
from cli.warm import warm


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="campaign-platform")
def main() -> None:
    """Ranked campaigns, each with a reason, from what customers say and do.

    \b
    Exit codes: 0 done; 1 it could not be done; 2 wrong use or a bad setting; 3 done, but some records are in quarantine.
    """


for command in (up, load, recommend, status, verify, rebuild, quarantine, forget, export, evaluate, key, warm):
    main.add_command(command)
