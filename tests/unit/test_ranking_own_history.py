from math import isclose, log, sqrt

from msgspec.structs import replace

from ranking.own_history import by_trait, own_history
from ranking.sources import Candidate, OwnChannel, OwnEngagement, OwnIntent, OwnWords
from ranking.words import word_index
from stores.evidence import OwnTie, Surroundings, WordTie
from stores.records import Campaign

BOOTS = Campaign(campaign_id="boots", name="Boots", category="outdoor", channels=("email",))
TENTS = Campaign(campaign_id="tents", name="Tents", category="outdoor")
PENS = Campaign(campaign_id="pens", name="Blue pens, paper", category="office")


def proposed(around: Surroundings, *offered: Campaign) -> dict[str, Candidate]:
    running = {each.campaign_id: each for each in offered}
    known = {each.campaign_id: each for each in (BOOTS, TENTS, PENS)}
    return {each.campaign_id: each for each in own_history(around, known, by_trait(running), len(running), word_index(running))}


def met(**fields: object) -> Surroundings:
    return Surroundings(own=(OwnTie(campaign_id="boots", **fields),))  # type: ignore[arg-type]


def test_a_category_the_customer_engaged_with_is_proposed() -> None:
    found = proposed(met(count=3, weight=4.0), TENTS, PENS)
    assert {key: each.evidence for key, each in found.items()} == {"tents": OwnEngagement("category", "outdoor", 3)}


def test_the_campaign_itself_is_nearer_than_its_category() -> None:
    found = proposed(met(count=3, weight=4.0), BOOTS, TENTS, PENS)
    assert found["boots"].score > found["tents"].score
    assert found["boots"].evidence == OwnEngagement("campaign", "boots", 3)


def test_of_a_campaign_that_is_alone_in_its_category_and_group_the_campaign_is_told() -> None:
    alone = replace(BOOTS, group="walkers")
    running = {"boots": alone, "pens": PENS}
    [found] = own_history(met(count=3, weight=4.0), running, by_trait(running), len(running), word_index({}))
    assert found.evidence == OwnEngagement("campaign", "boots", 3)
    assert isclose(found.score, 3 * (1 / 3) * (1 / 2))


def test_a_category_that_everything_is_in_says_nothing() -> None:
    found = proposed(met(count=1, weight=1.0), BOOTS, TENTS)
    assert {key: each.evidence for key, each in found.items()} == {"boots": OwnEngagement("campaign", "boots", 1)}


def test_what_was_only_shown_proposes_nothing() -> None:
    assert proposed(met(shown=4), BOOTS, TENTS, PENS) == {}


def test_a_campaign_is_proposed_by_the_words_that_it_shares_with_the_customer() -> None:
    around = Surroundings(words=(WordTie('"blue pen"', 3, 0), WordTie("pen", 5, 0), WordTie("sea", 9, 0)))
    found = proposed(around, TENTS, PENS)
    assert {key: each.evidence for key, each in found.items()} == {"pens": OwnWords("blue pen", 3)}
    assert found["pens"].signals["name"] > 0
    assert found["pens"].signals["words"] > 0


def test_a_channel_that_the_customer_responds_by_speaks_for_its_campaigns_where_it_is_rare() -> None:
    found = proposed(Surroundings(channels={"email": 3, "store": 1}), BOOTS, TENTS, PENS)
    assert {key: (each.score, each.evidence) for key, each in found.items()} == {"boots": (3 / 4 * (1 - 1 / 3), OwnChannel("email", 3))}


def test_a_channel_by_which_every_campaign_comes_says_nothing() -> None:
    everything = [replace(each, channels=("email",)) for each in (BOOTS, TENTS, PENS)]
    assert proposed(Surroundings(channels={"email": 3, "store": 1}), *everything) == {}
    assert proposed(Surroundings(channels={"email": 3, "store": 1}), BOOTS)["boots"].score == 3 / 4


def test_what_a_customer_says_more_than_others_do_is_told_apart_from_what_everybody_says() -> None:
    around = Surroundings(words=(WordTie('"blue pen"', 8, 0), WordTie("pen", 8, 0), WordTie('"paper"', 2, 0)))
    running = {each.campaign_id: each for each in (TENTS, PENS)}
    usual = {'"blue pen"': 0.1, '"paper"': 0.9}
    [found] = own_history(around, running, by_trait(running), len(running), word_index(running), usual)
    assert isclose(found.signals["unusual"], log((8 + 0.5) / (10 * 0.1 + 0.5)))
    [unknown] = own_history(around, running, by_trait(running), len(running), word_index(running))
    assert unknown.signals["unusual"] == 0


OFFICE = {"office": 1, "garden": 3}
"""Of four times that the customer said what they came for, one was called office."""


def test_an_intent_by_the_name_of_a_campaigns_category_proposes_it() -> None:
    found = proposed(Surroundings(expressed=OFFICE), TENTS, PENS)
    assert {key: (each.evidence, each.signals) for key, each in found.items()} == {
        "pens": (OwnIntent("office", 1), {"intent": sqrt(1 / 4)})
    }
    amount = 2 * sqrt(1 / 4)
    assert isclose(found["pens"].score, amount / (1 + amount))


def test_an_intent_and_words_speak_for_a_campaign_together_and_the_stronger_is_told() -> None:
    few = proposed(Surroundings(expressed=OFFICE, words=(WordTie("pen", 5, 0),)), TENTS, PENS)["pens"]
    often = proposed(Surroundings(expressed=OFFICE, words=(WordTie('"blue pen"', 5, 0),)), TENTS, PENS)["pens"]
    words = proposed(Surroundings(words=(WordTie('"blue pen"', 5, 0),)), TENTS, PENS)["pens"]
    assert (few.evidence, often.evidence) == (OwnIntent("office", 1), OwnWords("blue pen", 5))
    assert often.score > few.score
    assert often.score > words.score
    assert often.signals["intent"] == sqrt(1 / 4)


def test_how_often_a_campaign_was_named_counts_for_more_than_other_words_it_has() -> None:
    named = proposed(Surroundings(words=(WordTie('"blue pen"', 2, 0), WordTie("blue", 2, 0), WordTie("pen", 2, 0))), TENTS, PENS)
    around = proposed(Surroundings(words=(WordTie("blue", 9, 0), WordTie("pen", 9, 0), WordTie("office", 9, 0))), TENTS, PENS)
    assert named["pens"].score > around["pens"].score
