"""What customers talk about when they respond: which words lead to which campaigns."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from math import log

from ranking.cases import OUTCOMES, conversation_of
from ranking.words import words_of
from stores.evidence import WordTie
from stores.records import Campaign, Record

Leads = Mapping[str, Mapping[str, float]]
"""Word → campaign_id → how much likelier the campaign is responded to in a conversation where the word is said."""

NO_LEADS: Leads = {}
Talk = Mapping[str, tuple[float, str]]
"""campaign_id → how much the words of a conversation lead to it, all together, and the one that does most."""

NOT_TALKING: Talk = {}
LEADS_EACH = 25
"""How many campaigns a word leads to at most."""
LEADING_WORDS = 2_000
"""How many words a model keeps at most, those of the most conversations: with the longest ids that there may be it is 8 MB."""
FEWEST_TOGETHER = 5
"""What fewer customers than this did leads nowhere, so that a model tells nobody's words."""
PRIOR = 3.0
"""So many conversations, in which chance alone rules, are added to what was counted."""
LULL_MS = 30 * 60_000
"""A conversation is over when the customer has said nothing for this long."""


class Conversations:
    """All conversations in which customers responded."""

    def __init__(self, campaigns: Mapping[str, Campaign]) -> None:
        self._campaigns = campaigns
        self._said: dict[tuple[str, str], set[str]] = defaultdict(set)
        self._met: dict[tuple[str, str], set[str]] = defaultdict(set)
        self._responding = 0
        self._saying: Counter[str] = Counter()
        self._responded: Counter[str] = Counter()
        self._both: dict[str, Counter[str]] = defaultdict(Counter)
        self._who: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))  # the first few customers that a pair is of

    def learn(self, record: Record) -> None:
        """Adds one record; in any order they come to the same."""
        if record.role != "customer":
            return
        key = conversation_of(record)
        if record.speaks:
            words = set(words_of(record.message or "")) - self._said[key]
            self._said[key] |= words
            if met := self._met.get(key):
                self._count(record.user_id, words, met)
                self._saying.update(words)
        campaign_id = record.campaign_id
        if record.event in OUTCOMES and campaign_id and campaign_id in self._campaigns and campaign_id not in self._met[key]:
            if not self._met[key]:
                self._responding += 1
                self._saying.update(self._said[key])
            self._met[key].add(campaign_id)
            self._responded[campaign_id] += 1
            self._count(record.user_id, self._said[key], (campaign_id,))

    def _count(self, user_id: str, words: Iterable[str], campaign_ids: Iterable[str]) -> None:
        for word in words:
            both, who = self._both[word], self._who[word]
            for key in campaign_ids:
                both[key] += 1
                if len(who[key]) < FEWEST_TOGETHER:
                    who[key].add(user_id)

    def leads_of(self, word: str) -> dict[str, float]:
        """Where a word leads: log((both + 3) / (expected + 3)) where that is above 0, the 25 greatest.

        `both` counts the conversations with the word and the response, `expected` those there would be if one had nothing to do
        with the other. What fewer than five customers did is left out.
        """
        if word not in self._both:
            return {}
        who, share = self._who[word], self._saying[word] / self._responding
        found = (
            (log((both + PRIOR) / (share * self._responded[key] + PRIOR)), key)
            for key, both in self._both[word].items()
            if len(who[key]) >= FEWEST_TOGETHER
        )
        best = sorted(((-round(lift, 4), key) for lift, key in found if lift > 0))[:LEADS_EACH]
        return {key: -negative for negative, key in best if negative}

    def leading(self) -> list[str]:
        """The words that may lead anywhere: the 2,000 of the most conversations, those of as many by the alphabet."""
        return sorted(self._both, key=lambda word: (-self._saying[word], word))[:LEADING_WORDS]


class LeadsNow(Mapping[str, Mapping[str, float]]):
    """The leads as they are at the moment that conversations have been learned to, each worked out when it is asked for."""

    def __init__(self, conversations: Conversations) -> None:
        self._conversations = conversations
        self._found: dict[str, dict[str, float]] = {}

    def __getitem__(self, word: str) -> dict[str, float]:
        if word not in self._found:
            self._found[word] = self._conversations.leads_of(word)
        if not self._found[word]:
            raise KeyError(word)
        return self._found[word]

    def __iter__(self) -> Iterator[str]:
        return (word for word in self._conversations.leading() if self.get(word))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return repr({word: self[word] for word in self})


def talks_until_ms(words: Iterable[WordTie], *, now_ms: int) -> int | None:
    """When the conversation that a customer with these words is in is over, if nothing follows; None where none is under way."""
    until_ms = max((tie.last_at_ms for tie in words), default=0) + LULL_MS
    return until_ms if until_ms > now_ms else None


def saying_now(words: Iterable[WordTie], *, now_ms: int) -> list[WordTie]:
    """The words of the conversation that is under way at `now_ms`: those said within half an hour of the newest one.

    Phrases are no words. Where the newest one was said half an hour ago there are none.
    """
    words = list(words)
    until_ms = talks_until_ms(words, now_ms=now_ms)
    if until_ms is None:
        return []
    return [tie for tie in words if tie.last_at_ms > until_ms - 2 * LULL_MS and not tie.word.startswith('"')]


def led_to(words: Iterable[WordTie], leads: Leads) -> Talk:
    """Where these words lead together: for each campaign the sum of the words' leads, and the word that leads there most."""
    sums: dict[str, float] = defaultdict(float)
    most: dict[str, tuple[float, str]] = {}
    for tie in sorted(words, key=lambda tie: tie.word):
        for key, lead in leads.get(tie.word, {}).items():
            sums[key] += lead
            most[key] = max(most.get(key, (0.0, "")), (lead, tie.word))
    return {key: (sums[key], word) for key, (_, word) in most.items()}
