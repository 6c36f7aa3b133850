"""Where the words of a conversation lead: counted from all conversations, in any order, and never from a few customers alone."""

from math import isclose, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ranking.conversations import FEWEST_TOGETHER, LULL_MS, Conversations, LeadsNow, led_to, saying_now, talks_until_ms
from ranking.model import RankingModel
from ranking.own_history import by_trait, own_history
from ranking.reasons import sentence
from ranking.recommend import Customer, Tuning, lineup, recommend
from ranking.sources import OwnTalk
from ranking.words import word_index
from stores.evidence import Catalogue, Surroundings, WordTie
from stores.records import DAY_MS, Campaign, Record
from tests.claims import Claims

CAMPAIGNS = {key: Campaign(campaign_id=key, name=f"Film {key}") for key in ("c_1", "c_2", "c_3")}
WORDS = ("scary", "funny", "night")

records = st.lists(
    st.builds(
        Record,
        message_id=st.uuids().map(str),
        user_id=st.sampled_from(["u", "v", "w", "x", "y", "z"]),
        timestamp_ms=st.integers(0, 3 * DAY_MS),
        event=st.sampled_from(["message", "message", "click", "conversion", "impression"]),
        message=st.lists(st.sampled_from(WORDS)).map(" ".join),
        role=st.sampled_from(["customer", "customer", "agent"]),
        session_id=st.sampled_from([None, "s"]),
        campaign_id=st.sampled_from([None, *CAMPAIGNS, "unknown"]),
    ),
    max_size=60,
)


def learned(held: list[Record]) -> Conversations:
    conversations = Conversations(CAMPAIGNS)
    for record in held:
        conversations.learn(record)
    return conversations


def talk(user_id: str, word: str, campaign_id: str, *, times: int = 1) -> list[Record]:
    """Conversations with one word, and a response in each."""
    held = []
    for number in range(times):
        same = {"user_id": user_id, "session_id": f"{user_id} {word} {number}", "timestamp_ms": 1}
        held.append(Record(message_id=f"{user_id}{word}{number}", message=word, **same))  # type: ignore[arg-type]
        held.append(Record(message_id=f"{user_id}{word}{number}!", event="click", campaign_id=campaign_id, **same))  # type: ignore[arg-type]
    return held


SEVERAL = [f"u_{number}" for number in range(FEWEST_TOGETHER)]
TOO_FEW = SEVERAL[1:]
SEEN = [
    *(each for user_id in SEVERAL for each in talk(user_id, "scary", "c_1")),
    *(each for user_id in TOO_FEW for each in talk(user_id, "funny", "c_2")),
]


@given(records, st.randoms())
def test_the_order_of_records_does_not_matter(held: list[Record], dice: object) -> None:
    shuffled = held.copy()
    dice.shuffle(shuffled)  # type: ignore[attr-defined]
    with pytest.MonkeyPatch.context() as few:
        few.setattr("ranking.conversations.FEWEST_TOGETHER", 2)
        assert dict(LeadsNow(learned(shuffled))) == dict(LeadsNow(learned(held)))


@given(scared=st.integers(0, 9), amused=st.integers(1, 9), often=st.integers(1, 3))
def test_a_lead_takes_five_customers_however_often_each_of_them_went_there(scared: int, amused: int, often: int) -> None:
    held = [each for n in range(scared) for each in talk(f"u_{n}", "scary", "c_1", times=often)]
    held += [each for n in range(amused) for each in talk(f"v_{n}", "funny", "c_2", times=often)]
    claims, leads = Claims(records=held, campaigns=CAMPAIGNS), dict(LeadsNow(learned(held)))
    assert ("scary" in leads) == (len(claims.led("scary", "c_1")) >= 5)
    assert all(lead > 0 for some in leads.values() for lead in some.values())


def test_a_lead_is_how_much_more_often_than_by_chance_it_was_both() -> None:
    leads = learned(SEEN).leads_of("scary")
    assert leads.keys() == {"c_1"}
    assert isclose(leads["c_1"], log((5 + 3) / (5 * 5 / 9 + 3)), abs_tol=1e-4)


def test_a_word_that_leads_nowhere_is_not_there() -> None:
    conversations = learned(SEEN)
    assert conversations.leads_of("funny") == {}
    assert list(LeadsNow(conversations)) == ["scary"]
    assert "never said" not in LeadsNow(conversations)


def test_a_conversation_is_over_half_an_hour_after_its_last_word() -> None:
    words = [WordTie("funny", 1, 1), WordTie("scary", 1, 2 * LULL_MS), WordTie('"scary night"', 1, 2 * LULL_MS)]
    assert talks_until_ms(words, now_ms=2 * LULL_MS) == 3 * LULL_MS
    assert [tie.word for tie in saying_now(words, now_ms=3 * LULL_MS - 1)] == ["scary"]
    assert saying_now(words, now_ms=3 * LULL_MS) == []
    assert talks_until_ms(words, now_ms=3 * LULL_MS) is None
    assert talks_until_ms([], now_ms=LULL_MS) is None


def test_leads_of_several_words_add_up_and_the_greatest_is_told() -> None:
    leads = {"scary": {"c_1": 0.5, "c_2": 0.1}, "night": {"c_1": 0.2}}
    found = led_to([WordTie("scary", 1, 0), WordTie("night", 3, 0), WordTie("sea", 1, 0)], leads)
    assert found == {"c_1": (0.7, "scary"), "c_2": (0.1, "scary")}


def test_where_the_talk_leads_is_proposed_with_a_signal_and_no_score() -> None:
    around = Surroundings(words=(WordTie("scary", 1, 0),))
    talk = {"c_1": (0.7, "scary")}
    [found] = own_history(around, CAMPAIGNS, by_trait(CAMPAIGNS), len(CAMPAIGNS), word_index(CAMPAIGNS), talk=talk)
    assert (found.campaign_id, found.score, found.evidence) == ("c_1", 0.0, OwnTalk("scary"))
    assert isclose(found.signals["talk"], log(1.7))


def test_inside_a_conversation_the_answer_follows_it_and_says_so_truly() -> None:
    model = RankingModel(kind="linear", weights={"own_history.talk": 1.0}, leads=dict(LeadsNow(learned(SEEN))))
    said = Record(message_id="x", user_id="x", timestamp_ms=DAY_MS, message="something scary")
    customer = Customer(user_id="x", known=True, surroundings=Surroundings(known=True, words=(WordTie("scary", 1, DAY_MS),)))
    claims = Claims(records=[*SEEN, said], campaigns=CAMPAIGNS)

    def first(now_ms: int) -> str:
        best = recommend(
            customer, lineup(Catalogue(campaigns=CAMPAIGNS), now_ms=now_ms, tuning=Tuning(), model=model), limit=3, tuning=Tuning()
        )
        for each in best:
            if "You speak of" in each.reason:
                assert claims.unsupported(each.reason, each.campaign_id, user_id="x", nearest=()) is None
        return best[0].reason

    assert (
        first(DAY_MS) == sentence("c_1", OwnTalk("scary"), CAMPAIGNS) == "You speak of scary, and customers who did responded to Film c_1."
    )
    assert "popular" in first(DAY_MS + LULL_MS) or "open to you" in first(DAY_MS + LULL_MS)
