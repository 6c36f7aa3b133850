"""`campaigns evaluate FOLDER`: how good the ranking is on a folder of records, next to simpler ways."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

import click
import msgspec
import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from cli.output import Failed, json_option, print_json, settings_or_exit
from ranking.cases import Case
from ranking.engagement import EngagementWeights
from ranking.known import Conditions
from ranking.quality import Quality, judge
from ranking.recommend import Tuning
from ranking.walk import Archive
from ranking.words import campaign_text
from stores.cases import NAMES, BadCase, read_cases
from stores.intake import decode_file, input_files
from stores.records import Campaign, Record, Rejected, Tombstone, epoch_ms
from stores.settings import BadSetting, Settings
from stores.sql import chunks
from stores.vector_file import VectorFile

STATE = Path(".state/evaluation")
TEXTS_AT_A_TIME = 2000
SHOWN = ("ndcg@10", "recall@10", "mrr", "coverage@10", "diversity@10")
folder_argument = click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))


@click.command()
@folder_argument
@click.option(
    "--cases", "cases_file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Cases to judge, else the folder's own."
)
@click.option("--since", type=click.DateTime(), help="Judge the cases from this moment on (UTC).")
@click.option(
    "--most", "most_cases", type=click.IntRange(1), default=1000, show_default=True, help="Judge at most so many cases, drawn by lot."
)
@click.option("--state", type=click.Path(file_okay=False, path_type=Path), default=STATE, show_default=True, help="Where vectors are kept.")
@click.option("--embeddings/--no-embeddings", default=True, show_default=True, help="Leave out what needs the embedding model.")
@json_option
def evaluate(
    folder: Path, cases_file: Path | None, since: datetime | None, state: Path, *, embeddings: bool, as_json: bool, most_cases: int
) -> None:
    """Judge the ranking on the records and campaigns of a folder, against random, popularity, each single source and their fusion.

    The folder holds what `campaigns load` takes. It may hold cases.jsonl (user_id, at, candidates, truth); without cases, the
    records are cut by time: before each conversation and halfway through it, the last three tenths of them judged. Each case
    sees only what is older, and models fitted on that, anew whenever the platform would. No running platform is asked or changed.

    \b
    Examples:
      campaigns evaluate data --no-embeddings
      campaigns evaluate export/ --since 2026-06-01 --json | jq .differences
    """
    settings, console = settings_or_exit(), Console(stderr=True)
    with console.status("reading the folder"):
        records, campaigns = entries_of(folder, settings, console)
        cases = given_cases(cases_file or cases_in(folder))
    if not records or not campaigns:
        raise Failed(f"{folder}: there are {len(records)} records and {len(campaigns)} campaigns to judge a ranking on")
    with Progress(console=console, transient=True) as progress:
        vectors = vectors_of(records, campaigns, settings, state, progress) if embeddings else {}
        task = progress.add_task("judging", total=None)
        found = judge(
            archive_of(records, campaigns, vectors, settings),
            cases=cases,
            since_ms=epoch_ms(since) if since else None,
            refit_share=settings.ranking_refit_share,
            most_cases=most_cases,
            progress=lambda done, of: progress.update(task, completed=done, total=of),
        )
    if not found.cases:
        raise Failed(f"{folder}: there is no case to judge: nobody clicked or converted on a campaign that ran, in the time asked about")
    if as_json:
        print_json(found)
    else:
        show(found)


def archive_of(records: Sequence[Record], campaigns: dict[str, Campaign], vectors: Mapping[str, np.ndarray], settings: Settings) -> Archive:
    """What there is to judge on, ranked with what the platform would rank with under these settings; nobody is held out."""
    weights = EngagementWeights(
        message=settings.weight_message,
        click=settings.weight_click,
        conversion=settings.weight_conversion,
        unweighted_intents=settings.unweighted_intents,
    )
    return Archive(
        records=records,
        campaigns=campaigns,
        vectors=vectors,
        conditions=Conditions(
            weights=weights, user_vector_half_life_days=settings.user_vector_half_life_days, neighbours=settings.neighbours
        ),
        tuning=msgspec.convert(settings, Tuning, from_attributes=True),
    )


def entries_of(folder: Path, settings: Settings, console: Console) -> tuple[list[Record], dict[str, Campaign]]:
    """What the folder's files hold, later files and lines over earlier ones, as when they are loaded in name order."""
    records: dict[str, Record] = {}
    campaigns: dict[str, Campaign] = {}
    rejected = 0
    for path in input_files(folder, links=True):
        if path.name in NAMES:
            continue
        for entry in decode_file(path, max_record_bytes=settings.max_record_bytes):
            match entry:
                case Record():
                    records[entry.key] = entry
                case Campaign():
                    campaigns[entry.campaign_id] = entry
                case Tombstone():
                    records.pop(entry.key, None)
                case Rejected():
                    rejected += 1
    if rejected:
        console.print(f"{rejected} records cannot be read and are left out", style="yellow")
    return list(records.values()), campaigns


def cases_in(folder: Path) -> Path | None:
    """The folder's file of cases, if it has one."""
    return next((folder / name for name in NAMES if (folder / name).is_file()), None)


def given_cases(path: Path | None) -> list[Case] | None:
    """The cases of a file; None where there is no file."""
    if path is None:
        return None
    try:
        return [
            Case(
                case_id=each.case_id,
                user_id=each.user_id,
                at_ms=each.at_ms,
                ended_ms=each.at_ms,
                truth=frozenset(each.truth),
                candidates=frozenset(each.candidates),
            )
            for each in read_cases(path)
        ]
    except BadCase as exc:
        raise Failed(str(exc)) from exc


def vectors_of(
    records: Iterable[Record], campaigns: Mapping[str, Campaign], settings: Settings, state: Path, progress: Progress
) -> dict[str, np.ndarray]:
    """Text → vector, for all that customers said and all campaigns' texts; what the state folder lacks is embedded and kept there."""
    from platform_assets.embedder import Embedder

    texts = {record.message for record in records if record.speaks and record.message}
    texts |= {campaign_text(campaign) for campaign in campaigns.values()}
    embedder, file = Embedder(settings), VectorFile(state / "vectors.sqlite")
    try:
        keys = {text: embedder.key(text) for text in sorted(texts)}
        held = file.get(keys.values())
        missing = [text for text, key in keys.items() if key not in held]
        task = progress.add_task("embedding", total=len(missing), visible=bool(missing))
        for some in chunks(missing, TEXTS_AT_A_TIME):
            made = {keys[text]: vector for text, vector in zip(some, embedder.embed(some).vectors, strict=True)}
            file.put(made)
            held |= made
            progress.advance(task, len(some))
    except BadSetting as exc:
        raise click.UsageError(str(exc)) from exc
    finally:
        file.close()
    return {text: held[key] for text, key in keys.items()}


def show(found: Quality) -> None:
    """The methods as a table, best first, each with its difference to the served ranking."""
    console = Console()
    console.print(f"{found.cases} cases of {found.customers} customers, {found.candidates:g} candidates each on average", highlight=False)
    table = Table("method", *SHOWN, "served is better in ndcg@10 by")
    for name, means in sorted(found.methods.items(), key=lambda each: -each[1]["ndcg@10"]):
        told = ""
        if difference := found.differences.get(f"served-{name}"):
            mean, low, high = difference["ndcg@10"]
            told = f"{mean:+.3f} [{low:+.3f}, {high:+.3f}]"
        table.add_row(name, *(f"{means[measure]:.3f}" for measure in SHOWN), told)
    console.print(table)
    if found.silent:
        click.echo(f"nothing to say in any case: {', '.join(found.silent)}")
    for name, segment in found.segments.items():
        best = ", ".join(f"{method} {segment.ndcg10[method]:.3f}" for method in ("served", "rrf", "recent_popularity", "popularity"))
        click.echo(f"{name}: {segment.cases} cases, ndcg@10 {best}")
    for since, why in found.models.items():
        click.echo(f"served from {since}: {why}")
