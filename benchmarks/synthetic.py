"""Made-up messages in any number, from a few thousand distinct texts, so that embedding them is soon done."""

import gzip
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

TEXTS = 3000
CAMPAIGNS = 200
MESSAGES_EACH = 20
INTENTS = ("interest", "purchase", "support", "complaint")
THINGS = ("tent", "jacket", "lantern", "stove", "rucksack", "hammock", "bench", "spade", "kettle", "map")
FIRST_DAY = datetime(2026, 1, 1, tzinfo=UTC)


def texts() -> list[str]:
    """3,000 short questions, all different."""
    return [f"Does the {THINGS[n % len(THINGS)]} number {n} come with a cover, and what does it weigh?" for n in range(TEXTS)]


def campaigns() -> list[dict[str, object]]:
    return [
        {"campaign_id": f"c_{n:03d}", "name": f"Week {n}", "category": THINGS[n % len(THINGS)], "group": f"g_{n % 5}"}
        for n in range(CAMPAIGNS)
    ]


def messages(count: int, *, seed: int, first: int = 0, customers: int | None = None) -> Iterator[dict[str, object]]:
    """`count` messages with ids from `first`; half of them name a campaign. Equal seed, equal messages."""
    rng, said = random.Random(seed), texts()
    among = customers or max(1, count // MESSAGES_EACH)
    for n in range(first, first + count):
        yield {
            "message_id": f"m_{n:07d}",
            "user_id": f"u_{rng.randrange(among):06d}",
            "timestamp": (FIRST_DAY + timedelta(seconds=rng.randrange(20_000_000))).isoformat(),
            "message": rng.choice(said),
            "intent": rng.choice(INTENTS),
            "campaign_id": f"c_{rng.randrange(CAMPAIGNS):03d}" if rng.random() < 0.5 else None,
            "channel": "chat",
        }


def put_file(inbox: Path, name: str, rows: Iterator[dict[str, object]] | list[dict[str, object]]) -> None:
    """Writes the rows as gzipped JSON Lines and lets them into the inbox, whole at once."""
    unfinished = inbox / f"{name}.tmp"
    with gzip.open(unfinished, "wb", compresslevel=1) as file:
        for row in rows:
            file.write(msgspec.json.encode(row) + b"\n")
    unfinished.rename(inbox / f"{name}.jsonl.gz")
