"""Words: what a text is made of, and how near a customer's own words are to those of a campaign."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import lru_cache
from math import log, log1p, sqrt

from msgspec import Struct

from stores.evidence import WordTie
from stores.records import DAY_MS, Campaign

WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")  # noqa: RUF001
PHRASE_END = re.compile(r"[,;.:!?()\[\]\n|/]+")
PHRASE_WORDS = 6
COMMON = """
 a about after all also am an and any are as at be been before being but by can cannot could did do does doing done dont down each else
for from get go got had has have he her here hers hi him his how if im in into is it its ive just like lot made make many may me might
more most much my no not now of off ok okay on one only or other our out over own please really same she should so some such than thank
thanks that thats the their them then there these they this those to too under up us very want was we well were what when where which
while who why will with would yeah yes you your youre
"""
STOP_WORDS = frozenset(COMMON.split())
ENDING_IN_IE = frozenset(("brownies", "calories", "cookies", "hoodies", "movies", "rookies", "selfies", "smoothies", "veggies", "zombies"))
SAME_IN_PLURAL = frozenset(("always", "series", "sometimes", "species"))


def words_of(text: str) -> list[str]:
    """The words of a text, in order, as often as they stand there: lower case, letters and digits, plurals folded, stop words left out.

    A single letter or digit is no word, unless it is of a script that writes words so. "Cookies", "dishes" and "batteries"
    meet "cookie", "dish" and "battery".
    """
    found = (match.replace("'", "").replace("’", "") for match in WORD.findall(text.lower()))  # noqa: RUF001
    return [folded(word) for word in found if word not in STOP_WORDS and (len(word) > 1 or not word.isascii())]


def terms_of(text: str) -> list[str]:
    """The words of a text and its phrases: what stands between two punctuation marks, where that is one to six words.

    A phrase is its words in quotation marks, for a word alone is more than a word: "peanut butter, milk" gives peanut, butter,
    milk, "peanut butter" and "milk", but no "butter".
    """
    found: list[str] = []
    for part in PHRASE_END.split(text):
        words = words_of(part)
        found += words
        if 0 < len(words) <= PHRASE_WORDS:
            found.append(phrase(words))
    return found


def phrase(words: Iterable[str]) -> str:
    """The term that stands for these words as a whole."""
    return f'"{" ".join(words)}"'


def folded(word: str) -> str:
    """A word without its English plural's ending, where its letters tell that it has one. Folding twice is folding once."""
    if len(word) < 4 or not word.endswith("s") or word.endswith(("ss", "us", "is")) or word in SAME_IN_PLURAL:
        return word
    if word.endswith("ies") and word not in ENDING_IN_IE and len(word) > 5:
        return word[:-3] + "y"
    if word.endswith(("sses", "xes", "ches", "shes")) or (word.endswith("oes") and len(word) > 5):
        return word[:-2]
    return word[:-1]


def campaign_text(campaign: Campaign) -> str:
    """The text of a campaign that is embedded and compared with words: name, description and category, where they are there."""
    return ". ".join(part for part in (campaign.name, campaign.description, campaign.category) if part)


class CampaignTerms(Struct, frozen=True):
    """What a campaign's texts are made of: all distinct words, the phrases of its name, and those of description and category."""

    words: frozenset[str]
    name: frozenset[str]
    about: frozenset[str]


@lru_cache(maxsize=65_536)
def campaign_terms(name: str, about: str) -> CampaignTerms:
    """The terms of a campaign by that name; `about` is what else is told of it."""
    named, told = phrases_of(name), phrases_of(about)
    return CampaignTerms(words=frozenset(words_of(f"{name} {about}")), name=named, about=told - named)


def terms_of_campaign(campaign: Campaign) -> CampaignTerms:
    """The terms of a campaign: of its name, and of its description and category."""
    return campaign_terms(campaign.name, ". ".join(part for part in (campaign.description, campaign.category) if part))


def phrases_of(text: str) -> frozenset[str]:
    """The distinct phrases of one to six words of a text."""
    parts = (words_of(part) for part in PHRASE_END.split(text))
    return frozenset(phrase(words) for words in parts if 0 < len(words) <= PHRASE_WORDS)


class WordIndex(Struct, frozen=True):
    """Word → {campaign_id: weight}, the weights of a campaign's words being of length 1; phrase → the campaigns that have it."""

    words: dict[str, dict[str, float]]
    name: dict[str, list[str]]
    about: dict[str, list[str]]


class Spoken(Struct, frozen=True, gc=False):
    """What a customer's own words say of a campaign.

    `near` is how near its words are by rarity, `fresh` the same of the words said on the customer's last day; `name` and
    `about` are how often phrases of its name and of what else is told of it were said; over the phrases of the name, `each` adds
    log(1 + count) and `unusual` how much more this customer says them than others do. `term` is the phrase of the name that
    was said most, or else the word that makes most of the nearness, said in `count` messages.
    """

    near: float
    fresh: float
    name: int
    each: float
    unusual: float
    about: int
    term: str
    count: int


def word_index(campaigns: Mapping[str, Campaign]) -> WordIndex:
    """The index over these campaigns. A word weighs log(1 + campaigns / campaigns that have it).

    Words and phrases that each of several campaigns has are left out: they tell none from another.
    """
    terms = {key: terms_of_campaign(campaign) for key, campaign in campaigns.items()}
    having: dict[str, int] = defaultdict(int)
    name: dict[str, list[str]] = defaultdict(list)
    about: dict[str, list[str]] = defaultdict(list)
    for key, held in terms.items():
        for index, phrases in ((name, held.name), (about, held.about)):
            for each in phrases:
                index[each].append(key)
        for word in held.words:
            having[word] += 1
    telling = len(campaigns) - 1 if len(campaigns) > 1 else 1
    rarity = {word: log(1 + len(campaigns) / count) for word, count in having.items() if count <= telling}
    words: dict[str, dict[str, float]] = defaultdict(dict)
    for key, held in terms.items():
        told = held.words & rarity.keys()
        length = sqrt(sum(sorted(rarity[word] ** 2 for word in told)))
        for word in told:
            words[word][key] = rarity[word] / length
    named, told_of = ({each: keys for each, keys in index.items() if len(keys) <= telling} for index in (name, about))
    return WordIndex(dict(words), named, told_of)


def unusual(count: int, expected: float) -> float:
    """How much more often something was said than it is usually: log of the one over the other, each and a half; 0 where it is less."""
    return max(0.0, log((count + 0.5) / (expected + 0.5)))


def spoken(ties: Iterable[WordTie], index: WordIndex, usual: Mapping[str, float]) -> dict[str, Spoken]:
    """What the customer's own words and phrases say of each campaign that has one of them.

    Nearness sums weight x log(1 + count) over the words in common, the others sum the counts of the phrases in common. `usual`
    is the share of all phrases said by anybody that each phrase is; one that is not there is not compared.
    """
    ties = list(ties)
    phrases = sum(tie.count for tie in ties if tie.word.startswith('"'))
    fresh_ms = max((tie.last_at_ms for tie in ties), default=0) - DAY_MS
    near: dict[str, float] = defaultdict(float)
    fresh: dict[str, float] = defaultdict(float)
    name: dict[str, int] = defaultdict(int)
    apiece: dict[str, float] = defaultdict(float)
    more: dict[str, float] = defaultdict(float)
    about: dict[str, int] = defaultdict(int)
    best: dict[str, tuple[bool, float, WordTie]] = {}
    for tie in ties:
        for key, weight in index.words.get(tie.word, {}).items():
            part = weight * log1p(tie.count)
            near[key] += part
            if tie.last_at_ms > fresh_ms:
                fresh[key] += weight
            if key not in best or (False, part) > best[key][:2]:
                best[key] = (False, part, tie)
        beyond = unusual(tie.count, phrases * usual[tie.word]) if tie.word in usual else 0.0
        for key in index.name.get(tie.word, ()):
            name[key] += tie.count
            apiece[key] += log1p(tie.count)
            more[key] += beyond
            if key not in best or (True, tie.count) > best[key][:2]:
                best[key] = (True, tie.count, tie)
        for key in index.about.get(tie.word, ()):
            about[key] += tie.count
            best.setdefault(key, (False, 0.0, tie))
    return {
        key: Spoken(near[key], fresh[key], name[key], apiece[key], more[key], about[key], tie.word.strip('"'), tie.count)
        for key, (_, _, tie) in best.items()
    }
