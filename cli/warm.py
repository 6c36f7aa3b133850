"""`campaigns warm`: has the API compute and cache the answers of the most active customers."""

import time

import click
from msgspec import Struct
from rich.console import Console

from cli.output import FAILED, Failed, json_option, print_json, settings_or_exit, store_errors
from retrieval import client
from stores.metrics import Metrics
from stores.settings import Settings
from stores.sql import chunks, open_engine

AT_ONCE = 500
TIMEOUT_S = 120.0


class Warmed(Struct, frozen=True, kw_only=True):
    """What became of the customers: `computed` and `cached` count answers that are in the cache now, `failed` those that are not."""

    customers: int
    computed: int
    cached: int
    failed: int
    seconds: float


@click.command()
@click.option("--customers", type=click.IntRange(1, 1_000_000), default=1000, show_default=True, help="How many, the most active first.")
@json_option
def warm(customers: int, as_json: bool) -> None:
    """Fill the cache for the most active customers, as after a release.

    Their answers are computed by the API in bulk, beside the questions of others. What is cached under the current release
    is left as it is.

    \b
    Examples:
      campaigns warm
      campaigns warm --customers 5000 --json
    """
    settings, began_s = settings_or_exit(), time.monotonic()
    with store_errors():
        user_ids = most_active(settings, customers)
    sources: list[str | None] = []
    try:
        with client.Client(settings.api_url, key=settings.api_key, timeout_s=TIMEOUT_S) as api, Console(stderr=True).status("warming"):
            for some in chunks(user_ids, AT_ONCE):
                answers = api.send(client.bulk(some)).value.answers
                sources += [None if each.degraded or each.stale else each.retrieval_source for each in answers]
    except client.Unreachable as exc:
        raise Failed(f"the API at {settings.api_url} does not answer ({exc}): is the platform up?") from exc
    except client.Refused as exc:
        raise Failed(str(exc)) from exc
    warmed = Warmed(
        customers=len(user_ids),
        computed=sources.count("computed"),
        cached=sources.count("cache"),
        failed=sources.count(None),
        seconds=round(time.monotonic() - began_s, 2),
    )
    if as_json:
        print_json(warmed)
    else:
        told = f"{warmed.customers} customers in {warmed.seconds:.1f} s: {warmed.computed} answers computed, {warmed.cached} cached before"
        click.echo(told + (f", {warmed.failed} not to be cached now" if warmed.failed else ""))
    raise SystemExit(FAILED if warmed.failed else 0)


def most_active(settings: Settings, limit: int) -> list[str]:
    metrics = Metrics(open_engine(settings))
    try:
        return metrics.most_active(limit)
    finally:
        metrics.close()
