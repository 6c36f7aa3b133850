"""Words: what a text is made of, and how near a customer's own words are to those of a campaign."""

import re

from stores.records import Campaign

WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")  # noqa: RUF001
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
