"""What the platform keeps: records of what customers said and did, campaigns, and what is derived from them."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta, Struct

ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.:@-]{0,127}\Z"
Id = Annotated[str, Meta(pattern=ID_PATTERN)]
"""An identifier that is safe everywhere: ASCII, 1 to 128 characters, no quotes, no spaces."""

Event = Literal["message", "impression", "click", "conversion", "dismissal", "mailing", "profile"]
Role = Literal["customer", "agent"]
Status = Literal["active", "paused", "ended"]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
Json = object
"""Any JSON value. Not spelled out: msgspec decodes no type that names itself."""

MOST_IMPRESSION_TIMES = 100
"""So many of the latest impressions of one campaign are remembered with their times: no cap allows more."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
DAY_MS = 86_400_000


class Profile(Struct, frozen=True, kw_only=True):
    """What is known of a customer: consent by channel, whether nothing may be offered over any, attributes by name.

    In a record it is one statement, and what that leaves out stays as it was.
    """

    consent: dict[str, bool] = {}
    suppressed: bool | None = None
    attributes: dict[str, str] = {}


class Record(Struct, frozen=True, kw_only=True):
    """One thing that a customer said or did, or (event `profile`) that is known of them. `timestamp_ms` is epoch milliseconds, UTC."""

    message_id: Id
    user_id: Id
    timestamp_ms: int
    event: Event = "message"
    message: str | None = None
    role: Role = "customer"
    campaign_id: Id | None = None
    group: str | None = None
    intent: str | None = None
    channel: str | None = None
    session_id: str | None = None
    profile: Profile | None = None
    extra: dict[str, Json] = {}

    @property
    def key(self) -> str:
        """Where every store and ledger finds this record: "m:" + message_id."""
        return f"m:{self.message_id}"

    @property
    def speaks(self) -> bool:
        """Whether these are the customer's own words, the only ones that become vectors."""
        return self.event == "message" and self.role == "customer" and bool(self.message)


class Hours(Struct, frozen=True, kw_only=True):
    """Daily hours by the wall clock of an IANA time zone, on these days: [opens, closes) in minutes after midnight, 0 to 1440.

    Where `closes` is not after `opens` it is that of the next day; `days` are those on which it opens.
    """

    zone: str
    opens_minute: int = 0
    closes_minute: int = 1440
    days: tuple[Day, ...] = get_args(Day)


class Audience(Struct, frozen=True, kw_only=True):
    """Whom a campaign is for: customers who were mailed `group`, and who have one of the values of every attribute named."""

    group: str | None = None
    attributes: dict[str, tuple[str, ...]] = {}


class Cap(Struct, frozen=True, kw_only=True):
    """At most so many impressions in any `period_hours`; 0 means never."""

    impressions: int
    period_hours: int


class Rules(Struct, frozen=True, kw_only=True):
    """What the marketer asks of a campaign beyond its dates. `requires_consent` are channels that need the customer's yes.

    A `fallback` is offered only where nothing else may be.
    """

    hours: Hours | None = None
    audience: Audience | None = None
    requires_consent: tuple[str, ...] = ()
    caps: tuple[Cap, ...] = ()
    fallback: bool = False


NO_RULES = Rules()


class Campaign(Struct, frozen=True, kw_only=True):
    """One campaign. `starts_at_ms` and `ends_at_ms` bound it as [start, end); None is open. Higher `priority` wins ties."""

    campaign_id: Id
    name: str
    description: str | None = None
    category: str | None = None
    channels: tuple[str, ...] = ()
    status: Status = "active"
    starts_at_ms: int | None = None
    ends_at_ms: int | None = None
    priority: int = 0
    group: str | None = None
    repeatable: bool = False
    rules: Rules = NO_RULES
    extra: dict[str, Json] = {}

    @property
    def key(self) -> str:
        """Where every store and ledger finds this campaign: "c:" + campaign_id."""
        return f"c:{self.campaign_id}"


class Tombstone(Struct, frozen=True, kw_only=True):
    """Says that the record with this message_id is to be deleted."""

    message_id: Id

    @property
    def key(self) -> str:
        return f"m:{self.message_id}"


class Rejected(Struct, frozen=True, kw_only=True):
    """A record that could not be read: where it stood, why, and its raw text, kept for a person to mend.

    `line` counts from 1: the line of JSON Lines and CSV files, the element's position in a JSON array.
    """

    line: int
    reason: str
    raw: str


Decoded = Record | Campaign | Tombstone | Rejected
LATER_FIELDS: Mapping[str, object] = {"profile": None, "rules": NO_RULES}


def content_hash(entry: Record | Campaign) -> str:
    """32 hex digits over every field of the entry: equal content, equal hash, whatever file it came from.

    An entry without a profile and without rules has the hash that it had before there were any.
    """
    told = {name: value for name, value in msgspec.structs.asdict(entry).items() if name not in LATER_FIELDS or value != LATER_FIELDS[name]}
    return hashlib.blake2b(msgspec.json.encode(told, order="sorted"), digest_size=16).hexdigest()


def epoch_ms(moment: datetime) -> int:
    """Epoch milliseconds of a moment; a naive one is taken as UTC."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return round((aware - EPOCH) / MILLISECOND)


def iso(timestamp_ms: int) -> str:
    """Epoch milliseconds as ISO 8601 in UTC, to the second where there are no milliseconds."""
    moment = EPOCH + timestamp_ms * MILLISECOND
    return moment.isoformat(timespec="milliseconds" if timestamp_ms % 1000 else "seconds").replace("+00:00", "Z")


def day_ms(day: str) -> int:
    """Epoch milliseconds of the beginning of a day, YYYY-MM-DD, in UTC."""
    return epoch_ms(datetime.fromisoformat(day))


class Tally(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How often, how strongly and how lately one customer met one campaign or voiced one intent.

    `times_ms` are the last 100 times that a campaign was shown, in order; of other ties none are kept.
    """

    count: int
    weight: float
    last_at_ms: int
    times_ms: tuple[int, ...] = ()


class CustomerTies(Struct, frozen=True, kw_only=True):
    """Everything that the graph knows of one customer: campaign or intent id → tally, per kind of tie.

    `profile` is what the latest statements say, `mailed` the groups that the customer got mailings of, in order. `words` are
    those that the customer said most, each with the messages that hold it; `channels` says how often the customer engaged by each.
    """

    user_id: str
    engaged_with: dict[str, Tally] = {}
    shown: dict[str, Tally] = {}
    dismissed: dict[str, Tally] = {}
    converted: dict[str, Tally] = {}
    expressed: dict[str, Tally] = {}
    profile: Profile = msgspec.field(default_factory=Profile)
    mailed: tuple[str, ...] = ()
    words: dict[str, Tally] = {}
    channels: dict[str, int] = {}


class FileReport(Struct, frozen=True, kw_only=True):
    """What became of one input file. Every record read is in exactly one of the other counts."""

    name: str
    sha256: str
    sequence: int
    read: int = 0
    new: int = 0
    changed: int = 0
    unchanged: int = 0
    deleted: int = 0
    suppressed: int = 0
    superseded: int = 0
    quarantined: int = 0
    taken_at_ms: int = 0
    run_id: str = ""

    @property
    def balances(self) -> bool:
        """Whether read = new + changed + unchanged + deleted + suppressed + superseded + quarantined."""
        parts = self.new + self.changed + self.unchanged + self.deleted
        return self.read == parts + self.suppressed + self.superseded + self.quarantined


class Release(Struct, frozen=True, kw_only=True):
    """The generation that readers trust. `number` only ever grows; equal `digest` means equal data, code and settings, and equal
    `stamps` that the stores were not written since, nor lost and filled again.

    `campaign_vectors` and `ranking_model` are "" in a release from before there were such. `quality` is how well its ranking did.
    """

    number: int
    digest: str
    message_vectors: str
    user_vectors: str
    model: str
    dimension: int
    sequence: int
    rows: dict[str, int] = {}
    stamps: dict[str, str] = {}
    newest_record_ms: int = 0
    released_at_ms: int = 0
    run_id: str = ""
    campaign_vectors: str = ""
    ranking_model: str = ""
    quality: dict[str, float] = {}

    @property
    def collections(self) -> tuple[str, ...]:
        """The Milvus collections that its readers use."""
        return tuple(name for name in (self.message_vectors, self.user_vectors, self.campaign_vectors) if name)
