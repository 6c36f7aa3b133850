"""What the API takes in paths and queries, and how it refuses what it does not know."""

from collections import Counter
from collections.abc import Collection
from typing import Annotated
from urllib.parse import parse_qsl

from litestar.exceptions import ValidationException
from litestar.params import PathParameter, QueryParameter
from litestar.types import Scope

from ranking.eligibility import NO_FILTERS, Filters
from stores.fields import MAX_LABEL_CHARS, Unreadable, label
from stores.records import ID_PATTERN

MOST_RECOMMENDATIONS = 100
DEFAULT_LIMIT = 10
MOST_EXCLUDED = 100
ONE_ID = ID_PATTERN.removeprefix("^").removesuffix(r"\Z")
EXCLUDED = rf"^{ONE_ID}(?:,{ONE_ID}){{0,{MOST_EXCLUDED - 1}}}\Z"

UserId = Annotated[
    str,
    PathParameter(
        pattern=ID_PATTERN,
        schema_extra={"pattern": ID_PATTERN.replace(r"\Z", "$")},  # \Z is Python's; in a schema $ means the same
        description="The customer: 1 to 128 of A-Z a-z 0-9 _ . : @ -, the first a letter or digit.",
    ),
]
Limit = Annotated[int, QueryParameter(ge=1, le=MOST_RECOMMENDATIONS, description="How many campaigns at most.")]
Explain = Annotated[bool, QueryParameter(description="Whether to tell what each source said of each campaign.")]


CampaignId = Annotated[
    str,
    PathParameter(
        pattern=ID_PATTERN,
        schema_extra={"pattern": ID_PATTERN.replace(r"\Z", "$")},
        description="The campaign: 1 to 128 of A-Z a-z 0-9 _ . : @ -, the first a letter or digit.",
    ),
]
Channel = Annotated[
    str | None,
    QueryParameter(min_length=1, max_length=MAX_LABEL_CHARS, description="Only campaigns that may reach the customer by this channel."),
]
Category = Annotated[str | None, QueryParameter(min_length=1, max_length=MAX_LABEL_CHARS, description="Only campaigns of this category.")]
Exclude = Annotated[
    str | None,
    QueryParameter(
        pattern=EXCLUDED,
        schema_extra={"pattern": EXCLUDED.replace(r"\Z", "$")},
        description=f"Campaigns to leave out: their ids, with commas between them, {MOST_EXCLUDED} at most.",
    ),
]


def filters_of(channel: str | None, category: str | None, exclude: str | None) -> Filters:
    """What a request narrows the answer to, in one form: labels as intake keeps them, ids in order and once."""
    if channel is category is exclude is None:
        return NO_FILTERS
    left_out = tuple(sorted(set(exclude.split(",")))) if exclude else ()
    return Filters(channel=as_label("channel", channel), category=as_label("category", category), exclude=left_out)


def as_label(name: str, given: str | None) -> str | None:
    """A label as intake keeps it; refused where intake would, and where nothing is left of it: a filter is never passed over."""
    if given is None:
        return None
    try:
        found, why = label(name, given), "is blank"
    except Unreadable as exc:
        found, why = None, str(exc)
    if found is None:
        raise ValidationException(detail=why, extra=[{"message": why, "key": name, "source": "query"}])
    return found


def refuse_unknown(scope: Scope, known: Collection[str]) -> None:
    """Refuses query parameters that are not `known`, and those given twice: neither is guessed at."""
    if not scope["query_string"]:
        return
    given = Counter(name for name, _ in parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
    faults = [{"message": "unknown query parameter", "key": name, "source": "query"} for name in given if name not in known]
    faults += [{"message": "given more than once", "key": name, "source": "query"} for name, times in given.items() if times > 1]
    if faults:
        raise ValidationException(detail="unknown or repeated query parameters", extra=faults)
