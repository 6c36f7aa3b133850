"""The customer's own history as a source of candidates: what they engaged with before, by which channels, and what they talk about."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from math import log1p, sqrt

from msgspec import Struct

from ranking.conversations import NOT_TALKING, Talk
from ranking.sources import Candidate, Evidence, OwnChannel, OwnEngagement, OwnIntent, OwnTalk, OwnWords, shares_of, strongest
from ranking.words import Spoken, WordIndex, spoken
from stores.evidence import OwnTie, Surroundings
from stores.records import Campaign

Trait = tuple[str, str]
"""Something that campaigns have in common: its kind (campaign, category, group or channel) and its value."""


def traits(campaign: Campaign) -> list[Trait]:
    """What others may share with a campaign, narrowest first: the campaign itself, its category, its group, its channels."""
    held = (("campaign", campaign.campaign_id), ("category", campaign.category), ("group", campaign.group))
    return [(kind, value) for kind, value in held if value] + [("channel", channel) for channel in campaign.channels]


def by_trait(campaigns: Mapping[str, Campaign]) -> dict[Trait, list[str]]:
    """Which of the campaigns have a trait, for every trait that one of them has."""
    found: dict[Trait, list[str]] = defaultdict(list)
    for key, campaign in campaigns.items():
        for trait in traits(campaign):
            found[trait].append(key)
    return dict(found)


NOTHING_USUAL: Mapping[str, float] = {}
TRAITS = 3
"""The campaign itself, its category, its group."""


class Intended(Struct, frozen=True, gc=False):
    """An intent that the customer expressed `count` times, which is `share` of all that they expressed."""

    intent: str
    count: int
    share: float


Found = dict[str, list[tuple[float, Evidence]]]
"""By campaign, what speaks for it and how much."""


def own_history(
    around: Surroundings,
    campaigns: Mapping[str, Campaign],
    sharing: Mapping[Trait, Sequence[str]],
    offered: int,
    index: WordIndex,
    usual: Mapping[str, float] = NOTHING_USUAL,
    talk: Talk = NOT_TALKING,
) -> list[Candidate]:
    """The customer's affinities to each campaign, added up: traits (at most 1 in all), channels (at most 1) and what they say (below 1).

    `sharing` says which of the `offered` campaigns have a trait, `index` which have a word. `campaigns` are all those
    that the customer may ever have met, `usual` how much of all that is said a phrase makes up. `talk` says where the words of the
    conversation that is under way lead: it proposes campaigns, and adds a signal but nothing to the score.
    """
    parts: Found = defaultdict(list)
    signals: dict[str, dict[str, float]] = defaultdict(dict)
    for source in (trait_parts(around.own, campaigns, sharing, offered), channel_parts(around.channels, sharing, offered)):
        for key, kind, score, evidence in source:
            parts[key].append((score, evidence))
            signals[key][kind] = score
    told, meant = spoken(around.words, index, usual), intended(around.expressed, sharing)
    for key in {**told, **meant}:
        said, intent = told.get(key), meant.get(key)
        if said:
            signals[key].update(words=said.near, fresh=said.fresh, name=log1p(said.name), each=said.each, about=log1p(said.about))
            signals[key]["unusual"] = said.unusual
        if intent:
            signals[key]["intent"] = sqrt(intent.share)
        parts[key].append(saying(said, intent))
    for key, (lead, word) in talk.items():
        signals[key]["talk"] = log1p(lead)
        parts[key].append((0.0, OwnTalk(word)))
    return [Candidate(key, sum(sorted([score for score, _ in found])), strongest(found), signals[key]) for key, found in parts.items()]


def saying(said: Spoken | None, intent: Intended | None) -> tuple[float, Evidence]:
    """How much what the customer says speaks for a campaign, in [0, 1), and what does most of it. One of the two at least is there.

    x / (1 + x) of x = log(1 + times that phrases of the name were said) + a quarter of that of other phrases + nearness / 20 + twice
    the root of the share of the customer's intents that are called like the category.
    """
    told: list[tuple[float, Evidence]] = []
    if said:
        told.append((log1p(said.name) + log1p(said.about) / 4 + said.near / 20, OwnWords(said.term, said.count)))
    if intent:
        told.append((2 * sqrt(intent.share), OwnIntent(intent.intent, intent.count)))
    amount = sum(part for part, _ in told)
    return amount / (1 + amount), strongest(told)


def trait_parts(
    own: Iterable[OwnTie], campaigns: Mapping[str, Campaign], sharing: Mapping[Trait, Sequence[str]], offered: int
) -> Iterable[tuple[str, str, float, Evidence]]:
    """For each trait, the share of the customer's engagement weight that went to it x its rarity, over the three traits there are.

    Rarity is the share of the offered campaigns that do not have it, so that a category everything is in says nothing.
    """
    met = [tie for tie in own if tie.weight > 0 and tie.campaign_id in campaigns]
    total = sum(tie.weight for tie in met)
    spent: dict[Trait, float] = defaultdict(float)
    counts: dict[Trait, int] = defaultdict(int)
    for tie in met:
        for trait in traits(campaigns[tie.campaign_id]):
            if trait[0] == "channel":
                continue
            spent[trait] += tie.weight / total
            counts[trait] += tie.count
    for trait, share in spent.items():
        holders = sharing.get(trait, ())
        rare = rarity(len(holders), offered)
        evidence = OwnEngagement(*trait, counts[trait])
        for key in holders if rare > 0 else ():
            yield key, trait[0], share * rare / TRAITS, evidence


def intended(expressed: Mapping[str, int], sharing: Mapping[Trait, Sequence[str]]) -> dict[str, Intended]:
    """The campaigns whose category is an intent that the customer expressed, of which `expressed` says how often."""
    shares = shares_of(expressed)
    return {
        key: Intended(intent, count, shares[intent]) for intent, count in expressed.items() for key in sharing.get(("category", intent), ())
    }


def channel_parts(
    channels: Mapping[str, int], sharing: Mapping[Trait, Sequence[str]], offered: int
) -> Iterable[tuple[str, str, float, Evidence]]:
    """For each campaign that names channels, the share of the customer's engagements that came by each of them x its rarity, added up.

    Rarity is the share of the offered campaigns that do not come that way: a channel by which everything comes says nothing. At most 1.
    """
    total = sum(channels.values())
    shares: dict[str, float] = defaultdict(float)
    most: dict[str, tuple[float, str, int]] = {}
    for channel, count in sorted(channels.items()):
        holders = sharing.get(("channel", channel), ())
        share = count / total * rarity(len(holders), offered)
        for key in holders if share > 0 else ():
            shares[key] += share
            most[key] = max(most.get(key, (0.0, "", 0)), (share, channel, count))
    for key, share in shares.items():
        _, channel, count = most[key]
        yield key, "channel", share, OwnChannel(channel, count)


def rarity(holders: int, offered: int) -> float:
    """The share of the offered campaigns that are not among the holders of something, in [0, 1]; 1 where nothing else is offered."""
    return 1 - holders / offered if offered > 1 else 1.0
