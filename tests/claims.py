"""What a reason claims, read back from its words and counted again from the records themselves."""

import re
from collections.abc import Callable, Collection, Mapping

from msgspec import Struct

from ranking.cases import OUTCOMES
from ranking.engagement import EngagementWeights, weight_of
from ranking.words import campaign_text, terms_of, words_of
from stores.records import DAY_MS, Campaign, Record

WEIGHTS = EngagementWeights()
UNKNOWN = "We do not know you yet. "


class Claims(Struct, frozen=True, kw_only=True):
    """The records of all customers, and the catalogue, as one customer's reasons must agree with them."""

    records: Collection[Record]
    campaigns: Mapping[str, Campaign]

    def unsupported(self, reason: str, campaign_id: str, *, user_id: str, nearest: Collection[str]) -> str | None:
        """What in a reason is not so, or None. `nearest` are the customers that are said to be alike."""
        if reason.startswith(UNKNOWN) and any(each.user_id == user_id for each in self.records):
            return "the customer is known"
        told = reason.removeprefix(UNKNOWN)
        name = self.campaigns[campaign_id].name
        if name not in told:
            return "it does not name the campaign"
        for pattern, holds in self.sentences(campaign_id, user_id, nearest).items():
            if found := re.fullmatch(pattern, told):
                return None if holds(*found.groups()) else f"not so: {reason}"
        return f"nobody knows how to count this again: {reason}"

    def sentences(self, campaign_id: str, user_id: str, nearest: Collection[str]) -> dict[str, Callable[..., bool]]:
        """Each sentence there is, with whether its names and numbers are those of the records."""
        name = re.escape(self.campaigns[campaign_id].name)
        engaged = self.engaged(campaign_id)
        others = engaged - {user_id}

        def shared(customers: str, via: str) -> bool:
            named = {key for key, each in self.campaigns.items() if each.name == via} or {via} - self.campaigns.keys()  # by its id, else
            vias = [self.engaged(key) for key in named]
            return any(user_id in met and len(others & met) == number(customers) for met in vias)

        def intent(customers: str, said: str) -> bool:
            voiced = self.voiced(said)
            return user_id in voiced and len(others & voiced) == number(customers)

        def alike(kind: str, value: str, times: str) -> bool:
            same = {key for key, each in self.campaigns.items() if getattr(each, kind) == value}
            return campaign_id in same and self.times(user_id, same) == number(times)

        return {
            rf"Customers who talk like you responded to {name} \((\d+) of your (\d+) nearest\)\.": lambda some, all_: (
                (len(engaged & set(nearest)), len(nearest)) == (int(some), int(all_))
            ),
            rf"(1 customer|\d+ customers) who responded to (.+), as you did, also responded to {name}\.": shared,
            rf"(1 customer|\d+ customers) who expressed the intent (.+), as you did, responded to {name}\.": intent,
            rf"You responded to {name} (once|\d+ times) before\.": lambda times: self.times(user_id, {campaign_id}) == number(times),
            rf"You responded (once|\d+ times) to campaigns of the (category|group) (.+), and {name} is one\.": lambda times, kind, value: (
                alike(kind, value, times)
            ),
            rf"You came for (.+) (once|\d+ times), and {name} is of that category\.": lambda said, times: (
                self.campaigns[campaign_id].category == said and self.expressed(user_id, said) == number(times)
            ),
            rf"You spoke of (.+) (once|\d+ times), and {name} is about it\.": lambda term, times: (
                set(term.split()) <= set(words_of(campaign_text(self.campaigns[campaign_id])))
                and number(times) in self.spoke(user_id, term)
            ),
            rf"You responded (once|\d+ times) by (.+), and {name} comes that way\.": lambda times, channel: (
                channel in self.campaigns[campaign_id].channels and self.responded_by(user_id, channel) == number(times)
            ),
            rf"You speak of (.+), and customers who did responded to {name}\.": lambda word: (
                word in self.words(user_id) and len(self.led(word, campaign_id)) > 1
            ),
            rf"{name} is popular: (1 customer|\d+ customers) responded(?:, and it reached (\d+))?\.": lambda customers, reached: (
                (len(engaged), len(self.exposed(campaign_id))) == (number(customers), int(reached or 0))
            ),
            rf"{name} is open to you; nobody has responded to it yet\.": lambda: not engaged,
            rf"{name} is what we have for everybody: nothing else may be offered to you now\.": lambda: (
                self.campaigns[campaign_id].rules.fallback
            ),
        }

    def times(self, user_id: str, campaign_ids: Collection[str]) -> int:
        """How often a customer engaged with any of these."""
        return sum(each.user_id == user_id and each.campaign_id in campaign_ids and engages(each) for each in self.records)

    def engaged(self, campaign_id: str) -> set[str]:
        return {each.user_id for each in self.records if each.campaign_id == campaign_id and engages(each)}

    def words(self, user_id: str) -> set[str]:
        """All words that a customer said."""
        return {word for each in self.records if each.user_id == user_id and each.speaks for word in words_of(each.message or "")}

    def spoke(self, user_id: str, term: str) -> set[int]:
        """In how many messages a customer said it: as a word among others, and as a phrase of its own."""
        said = [terms_of(each.message or "") for each in self.records if each.user_id == user_id and each.speaks]
        return {sum(each in terms for terms in said) for each in (term, f'"{term}"')}

    def responded_by(self, user_id: str, channel: str) -> int:
        """How often a customer engaged by a channel."""
        return sum(each.user_id == user_id and each.channel == channel and engages(each) for each in self.records)

    def led(self, word: str, campaign_id: str) -> set[str]:
        """Who said a word and responded to a campaign in one conversation."""
        said = {conversation(each) for each in self.records if each.speaks and word in words_of(each.message or "")}
        responded = {
            conversation(each)
            for each in self.records
            if each.campaign_id == campaign_id and each.event in OUTCOMES and each.role == "customer"
        }
        return {user_id for user_id, _ in said & responded}

    def voiced(self, intent: str) -> set[str]:
        return {each.user_id for each in self.records if each.intent == intent and acts(each)}

    def expressed(self, user_id: str, intent: str) -> int:
        """How often a customer expressed an intent."""
        return sum(each.user_id == user_id and each.intent == intent and acts(each) for each in self.records)

    def exposed(self, campaign_id: str) -> set[str]:
        """Who was shown the campaign or got a mailing of its group."""
        group = self.campaigns[campaign_id].group
        shown = {each.user_id for each in self.records if each.event == "impression" and each.campaign_id == campaign_id}
        mailed = {each.user_id for each in self.records if each.event == "mailing" and each.group == group} if group else set()
        return shown | mailed


def number(text: str) -> int:
    return 1 if text == "once" else int(text.split(maxsplit=1)[0])


def conversation(record: Record) -> tuple[str, str]:
    return record.user_id, record.session_id or str(record.timestamp_ms // DAY_MS)


def acts(record: Record) -> bool:
    return record.role == "customer" and record.event in ("message", "click", "conversion")


def engages(record: Record) -> bool:
    return acts(record) and record.campaign_id is not None and weight_of(record.event, record.intent, weights=WEIGHTS) > 0
