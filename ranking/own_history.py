"""The customer's own history as a source of candidates: what they engaged with before, by which channels, and what they talk about."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from math import log1p, sqrt

from ranking.conversations import NOT_TALKING, Talk
from ranking.sources import Candidate, Evidence, OwnChannel, OwnEngagement, OwnTalk, OwnWords, expressed_shares, strongest
from ranking.words import Spoken, WordIndex, spoken
from stores.evidence import IntentTie, OwnTie, Surroundings
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
    """The customer's affinities to each campaign, added up: traits (at most 1 in all), channels (at most 1) and words (below 1).

    `sharing` says which of the `offered` campaigns have a trait, `index` which have a word. `campaigns` are all those
    that the customer may ever have met, `usual` how much of all that is said a phrase makes up. `talk` says where the words of the
    conversation that is under way lead: it proposes campaigns, and adds a signal but nothing to the score.
    """
    parts: Found = defaultdict(list)
    signals: dict[str, dict[str, float]] = defaultdict(dict)
    for source in (trait_parts(around.own, campaigns, sharing, offered), channel_parts(around.channels, sharing)):
        for key, kind, score, evidence in source:
            parts[key].append((score, evidence))
            signals[key][kind] = score
    for key, said in spoken(around.words, index, usual).items():
        signals[key].update(words=said.near, fresh=said.fresh, name=log1p(said.name), each=said.each, about=log1p(said.about))
        signals[key]["unusual"] = said.unusual
        parts[key].append((word_score(said), OwnWords(said.term, said.count)))
    for key, (lead, word) in talk.items():
        signals[key]["talk"] = log1p(lead)
        parts[key].append((0.0, OwnTalk(word)))
    for key, share in intent_shares(around.intents, sharing):
        if key in parts:
            signals[key]["intent"] = sqrt(share)
    return [Candidate(key, sum(sorted([score for score, _ in found])), strongest(found), signals[key]) for key, found in parts.items()]


def word_score(said: Spoken) -> float:
    """x / (1 + x), in (0, 1), of x = log(1 + times that phrases of the name were said) + half that of other phrases + nearness / 4."""
    amount = log1p(said.name) + log1p(said.about) / 2 + said.near / 4
    return amount / (1 + amount)


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
        rarity = 1 - len(holders) / offered if offered > 1 else 1.0
        evidence = OwnEngagement(*trait, counts[trait])
        for key in holders if rarity > 0 else ():
            yield key, trait[0], share * rarity / TRAITS, evidence


def intent_shares(intents: Iterable[IntentTie], sharing: Mapping[Trait, Sequence[str]]) -> Iterable[tuple[str, float]]:
    """For each campaign whose category is an intent that the customer expressed, its share of all that the customer expressed."""
    for intent, share in expressed_shares(intents).items():
        for key in sharing.get(("category", intent), ()):
            yield key, share


def channel_parts(channels: Mapping[str, int], sharing: Mapping[Trait, Sequence[str]]) -> Iterable[tuple[str, str, float, Evidence]]:
    """For each campaign that names channels, the share of the customer's engagements that came by one of them, in (0, 1]."""
    total = sum(channels.values())
    shares: dict[str, int] = defaultdict(int)
    most: dict[str, tuple[int, str]] = {}
    for channel, count in channels.items():
        for key in sharing.get(("channel", channel), ()):
            shares[key] += count
            most[key] = max(most.get(key, (0, "")), (count, channel))
    for key, count in shares.items():
        times, channel = most[key]
        yield key, "channel", count / total, OwnChannel(channel, times)
