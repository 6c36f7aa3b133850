"""What the API takes in paths and queries, and how it refuses what it does not know."""

from collections import Counter
from collections.abc import Collection
from typing import Annotated
from urllib.parse import parse_qsl

from litestar.exceptions import ValidationException
from litestar.params import PathParameter, QueryParameter
from litestar.types import Scope

from stores.records import ID_PATTERN

MOST_RECOMMENDATIONS = 100
DEFAULT_LIMIT = 10

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


def refuse_unknown(scope: Scope, known: Collection[str]) -> None:
    """Refuses query parameters that are not `known`, and those given twice: neither is guessed at."""
    if not scope["query_string"]:
        return
    given = Counter(name for name, _ in parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
    faults = [{"message": "unknown query parameter", "key": name, "source": "query"} for name in given if name not in known]
    faults += [{"message": "given more than once", "key": name, "source": "query"} for name, times in given.items() if times > 1]
    if faults:
        raise ValidationException(detail="unknown or repeated query parameters", extra=faults)
