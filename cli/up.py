"""`campaigns up`: the whole platform on this machine."""

import os
import sys
from pathlib import Path

import click
from rich.console import Console

from cli.output import FAILED, WRONG_USE, json_option
from stores.settings import BadSetting


@click.command()
@click.option("--api-port", type=click.IntRange(1, 65535), default=8000, show_default=True, help="Port of the API on 127.0.0.1.")
@click.option("--dagster-port", type=click.IntRange(1, 65535), default=3000, show_default=True, help="Port of Dagster's UI on 127.0.0.1.")
@click.option("--state", type=click.Path(file_okay=False, path_type=Path), default=".state", show_default=True, help="Folder of all data.")
@click.option("--sample/--no-sample", default=True, show_default=True, help="Load the sample in data/, unless it was loaded before.")
@json_option
def up(*, api_port: int, dagster_port: int, state: Path, sample: bool, as_json: bool) -> None:
    """Run the platform on this machine: stores, Dagster, the API and a sample. Ctrl-C stops it.

    \b
    Examples:
      campaigns up
      campaigns up --api-port 8001 --dagster-port 3001
      campaigns up --state /tmp/trial --no-sample

    With --json the document is printed once the platform answers, and everything else goes to stderr.

    A store whose address is set (CAMPAIGNS_MONGO_URL, CAMPAIGNS_MILVUS_URL, CAMPAIGNS_NEO4J_URL, CAMPAIGNS_REDIS_URL)
    is not started but used where it is.
    """
    from local.processes import PortTaken
    from local.stack import Wanted, run
    from local.steps import Steps

    steps = Steps(Console(stderr=as_json))
    wanted = Wanted(state=state.absolute(), api_port=api_port, dagster_port=dagster_port, sample=sample, as_json=as_json)
    try:
        sys.exit(0 if run(wanted, os.environ, steps) else FAILED)
    except (PortTaken, BadSetting) as exc:
        steps.wrong(str(exc))
        sys.exit(WRONG_USE)
