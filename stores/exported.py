"""The shape of everything that is held about a customer, as it is given to them."""

from msgspec import Struct

from stores.records import CustomerTies, Json, Profile, Tally


class Said(Struct, frozen=True, kw_only=True):
    """One record, with its time as ISO 8601 in UTC."""

    message_id: str
    timestamp: str
    event: str
    message: str | None
    role: str
    campaign_id: str | None
    group: str | None
    intent: str | None
    channel: str | None
    session_id: str | None
    profile: Profile | None
    extra: dict[str, Json]


class Unread(Struct, frozen=True, kw_only=True):
    """One record in quarantine that is, or may be, theirs."""

    id: str
    file: str
    line: int
    reason: str
    raw: str


class Waiting(Struct, frozen=True, kw_only=True):
    """What waits in one file of the inbox."""

    file: str
    records: list[Said]
    unreadable: list[str]


class VectorsHeld(Struct, frozen=True, kw_only=True):
    """How many vectors one collection holds of a customer: one for each message, or the one of the customer."""

    collection: str
    vectors: int


class Export(Struct, frozen=True, kw_only=True):
    """Everything held about a customer. `posted` came over HTTP and no release reflects it yet; `ties` is what the graph holds,
    `engagement` what is counted per campaign."""

    user_id: str
    records: list[Said]
    quarantine: list[Unread]
    inbox: list[Waiting]
    posted: list[Said]
    ties: CustomerTies | None
    engagement: dict[str, Tally]
    vectors: list[VectorsHeld]
    cached_answers: int
    being_forgotten: bool
