"""What the stores say about one customer and about the campaigns: the answers that ranking works from."""

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from stores.records import Campaign, Profile

CAMPAIGNS_EACH = 50
"""How many campaigns are told at most of each neighbour, each of the customer's campaigns and each intent."""
SHARED_CAMPAIGNS = 50
"""How many campaigns are kept at most that share customers with one campaign."""
FEWEST_SHARED = 2
"""One customer in common says nothing of two campaigns, and too much of the customer."""


class Neighbour(Struct, frozen=True, gc=False):
    """Another customer whose words are like this one's; `similarity` is a cosine in [-1, 1], higher is more alike."""

    user_id: str
    similarity: float


class OwnTie(Struct, frozen=True, kw_only=True, gc=False):
    """What this customer did with one campaign. `last_at_ms` is the last engagement; `*_at_ms` are 0 where it never happened.

    `shown_at_ms` are the times of the last 100 impressions, in order.
    """

    campaign_id: str
    count: int = 0
    weight: float = 0.0
    last_at_ms: int = 0
    shown: int = 0
    shown_at_ms: tuple[int, ...] = ()
    dismissed_at_ms: int = 0
    converted_at_ms: int = 0


class NeighbourTie(Struct, frozen=True, gc=False):
    """A neighbour's engagement with one campaign; `weight` is the sum of the weights of its events."""

    user_id: str
    campaign_id: str
    weight: float


class CoEngagement(Struct, frozen=True, gc=False):
    """`customers` other customers engaged both with `via`, which this customer engaged with too, and with `campaign_id`."""

    campaign_id: str
    via: str
    customers: int


class IntentTie(Struct, frozen=True, gc=False):
    """`customers` distinct other customers who expressed `intent`, as this one did, engaged with the campaign."""

    intent: str
    campaign_id: str
    customers: int


class WordTie(Struct, frozen=True, gc=False):
    """The customer said `word` in `count` messages, last at `last_at_ms`."""

    word: str
    count: int
    last_at_ms: int


class Surroundings(Struct, frozen=True, kw_only=True):
    """Everything one graph query finds around a customer. `known` is False for a customer never heard of.

    `expressed` says how often the customer expressed each intent, whether or not it ties them to a campaign. `words` are the
    customer's own most used ones, `channels` says how often the customer engaged by each channel, `profile` is what was stated of
    the customer last, `mailed` the groups that they got mailings of.
    """

    known: bool = False
    own: tuple[OwnTie, ...] = ()
    neighbours: tuple[NeighbourTie, ...] = ()
    co_engaged: tuple[CoEngagement, ...] = ()
    intents: tuple[IntentTie, ...] = ()
    expressed: dict[str, int] = {}
    words: tuple[WordTie, ...] = ()
    channels: dict[str, int] = {}
    profile: Profile = Profile()
    mailed: tuple[str, ...] = ()


class CampaignFigures(Struct, frozen=True, kw_only=True, gc=False):
    """One campaign's engagement so far. `customers` engaged, and `exposed` saw an impression or got a mailing of its
    group: both count distinct customers."""

    campaign_id: str
    customers: int = 0
    exposed: int = 0
    messages: int = 0
    clicks: int = 0
    conversions: int = 0
    weight: float = 0.0
    last_at_ms: int = 0


class CampaignDay(Struct, frozen=True, kw_only=True, gc=False):
    """One campaign's impressions and engagement on one day, YYYY-MM-DD in UTC."""

    campaign_id: str
    day: str
    impressions: int = 0
    messages: int = 0
    clicks: int = 0
    conversions: int = 0
    weight: float = 0.0


class Catalogue(Struct, frozen=True, kw_only=True):
    """All campaigns with their figures, as of one release, by campaign_id; and their days, in no order.

    `newest_ms` is the time of the newest record, from which decay counts. `vectors` are those of the campaigns' own
    texts, float32, (dimension,), of length 1, where they are known.
    """

    campaigns: dict[str, Campaign] = {}
    figures: dict[str, CampaignFigures] = {}
    days: tuple[CampaignDay, ...] = ()
    newest_ms: int = 0
    vectors: dict[str, NDArray[np.float32]] = {}
