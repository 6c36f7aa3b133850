"""`campaigns verify`: do all stores hold what the records say."""

from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table

from cli.output import FAILED, json_option, print_json, settings_or_exit, store_errors
from stores.settings import BadSetting

if TYPE_CHECKING:
    from platform_assets.verification.comparison import Verification

ADVICE = "Some stores differ: launch a refresh; where that does not mend it, `campaigns rebuild`."


@click.command()
@json_option
def verify(as_json: bool) -> None:
    """Compare the contents of all stores with the records, entry by entry. Writes nothing.

    Exit code 0 when they agree, 1 with the first differences of each store. Run it while no refresh is running: what one
    is writing shows as a difference.

    \b
    Examples:
      campaigns verify
      campaigns verify --json | jq .differences
    """
    # Dagster comes with the assets: only this command waits for it
    from platform_assets.resources import Stores
    from platform_assets.verification.comparison import verify as compared

    stores, console = Stores(settings_or_exit()), Console(stderr=True)
    try:
        with store_errors(), console.status("looking through every store"):
            found = compared(stores)
    except BadSetting as exc:
        raise click.UsageError(str(exc)) from exc
    finally:
        stores.close()
    if as_json:
        print_json(found)
    else:
        show(found)
    raise SystemExit(0 if found.consistent else FAILED)


def show(found: "Verification") -> None:
    """What was looked at, then what differs."""
    looked_at = Table("store", "looked at", "differences")
    for name, counts in found.stores.items():
        seen = ", ".join(f"{what} {n:,}" for what, n in counts.items() if what != "differences")
        looked_at.add_row(name, seen, str(counts["differences"]))
    Console().print(looked_at)
    for each in found.differences:  # not by rich, which reads `m:` and `:id:` as emoji
        click.echo(f"{each.store}: {each.kind} {each.id}: {each.detail}")
    click.echo("All stores hold what the records say." if found.consistent else ADVICE)
