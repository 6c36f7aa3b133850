"""`campaigns export USER`: everything that is held about a customer."""

import os
import re
from pathlib import Path

import click
import msgspec

from cli.output import Failed, settings_or_exit, store_errors
from stores.export import held
from stores.records import ID_PATTERN


@click.command()
@click.argument("user_id")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write to this file, for its owner's eyes only.")
def export(user_id: str, output: Path | None) -> None:
    """Everything held about a customer, as one JSON document: to stdout, or to a file that only its owner may read.

    Records with all that came with them, what stands in quarantine and names them, ties, engagement figures and whether
    there are vectors. It fails rather than leave a store out.

    \b
    Examples:
      campaigns export u_001 | jq '.records | length'
      campaigns export u_001 --output u_001.json
    """
    settings = settings_or_exit()
    if not re.match(ID_PATTERN, user_id):
        raise click.UsageError(f"{user_id!r} is no user id: letters, digits and _ . : @ - only, 128 at most")
    with store_errors():
        document = msgspec.json.format(msgspec.json.encode(held(settings, user_id)))
    if output is None:
        click.echo(document.decode())
    else:
        write_private(output, document + b"\n")


def write_private(path: Path, content: bytes) -> None:
    """Writes a new file, whole or not at all, that only its owner may read; one that is there is not overwritten."""
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
        os.link(unfinished, path)
    except OSError as exc:
        raise Failed(f"{path}: {exc.strerror}") from exc
    finally:
        unfinished.unlink(missing_ok=True)
