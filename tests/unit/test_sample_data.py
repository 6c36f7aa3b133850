import re
import subprocess
import sys
from collections import Counter, defaultdict
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest

from stores.intake import decode_file
from stores.records import Campaign, Record, epoch_ms

DATA = Path(__file__).parents[2] / "data"


@pytest.fixture(scope="module")
def records() -> list[Record]:
    return list(decode_file(DATA / "sample_conversations.json", max_record_bytes=10_000))


@pytest.fixture(scope="module")
def campaigns() -> dict[str, Campaign]:
    return {entry.campaign_id: entry for entry in decode_file(DATA / "campaigns.json", max_record_bytes=10_000)}


def test_the_script_writes_the_same_bytes_again(tmp_path):
    subprocess.run([sys.executable, DATA / "generate.py", tmp_path], check=True, timeout=60)
    for name in ("sample_conversations.json", "campaigns.json"):
        assert (tmp_path / name).read_bytes() == (DATA / name).read_bytes(), f"run python data/generate.py: {name} is not what it writes"


def test_every_row_is_readable(records, campaigns):
    assert {type(entry) for entry in records} == {Record}
    assert {type(entry) for entry in campaigns.values()} == {Campaign}
    assert len({record.message_id for record in records}) == len(records)


def test_there_is_enough_of_everything(records):
    kinds = Counter((record.event, record.role) for record in records)
    assert kinds["message", "customer"] >= 480
    assert all(kinds[event, "customer"] >= 40 for event in ("impression", "click", "conversion", "dismissal", "mailing"))
    assert kinds["message", "agent"] >= 40
    assert len({record.user_id for record in records if record.speaks}) >= 64
    assert sum(bool(record.extra) for record in records) >= 10


def test_all_of_it_lies_in_ninety_fixed_days(records):
    first, last = epoch_ms(datetime(2026, 6, 1)), epoch_ms(datetime(2026, 8, 30))
    assert all(first <= record.timestamp_ms < last for record in records)
    assert [record.timestamp_ms for record in records] == sorted(record.timestamp_ms for record in records)
    days = {datetime.fromtimestamp(record.timestamp_ms / 1000, UTC).date() for record in records}
    assert len(days) >= 85


def test_campaigns_are_open_ended_but_for_one_that_ended_and_one_that_is_paused(campaigns):
    assert list(campaigns) == [f"c_{number}" for number in range(101, 101 + len(campaigns))]
    assert len(campaigns) >= 12
    assert Counter(campaign.status for campaign in campaigns.values()) == {"active": len(campaigns) - 2, "ended": 1, "paused": 1}
    assert all((campaign.ends_at_ms is None) == (campaign.status != "ended") for campaign in campaigns.values())
    assert sum(campaign.repeatable for campaign in campaigns.values()) == 1
    assert all(campaign.description and campaign.category and campaign.channels and campaign.group for campaign in campaigns.values())


def test_every_campaign_and_group_that_is_spoken_of_exists(records, campaigns):
    assert {record.campaign_id for record in records} - {None} == set(campaigns)
    assert {record.group for record in records} - {None} <= {campaign.group for campaign in campaigns.values()}


def test_the_first_customer_meets_four_campaigns_with_three_intents(records):
    own = [record for record in records if record.user_id == "u_001"]
    assert {record.campaign_id for record in own if record.event == "message"} == {"c_101", "c_102", "c_103", "c_104"}
    assert {record.intent for record in own} - {None} == {"purchase", "support", "interest"}


def test_nobody_says_the_same_thing_twice_and_no_two_say_it_alike(records):
    said = [record.message for record in records if record.speaks]
    assert len(set(said)) == len(said)
    openings = [" ".join(message.split()[:6]) for message in said]
    assert sum(one == other for one, other in pairwise(openings)) <= len(said) // 50
    assert all(re.match(r"[A-Z].*[.?!]\Z", message) and "{" not in message and "  " not in message for message in said)


def test_nobody_buys_the_same_thing_twice_unless_it_is_repeatable(records, campaigns):
    bought = Counter((record.user_id, record.campaign_id) for record in records if record.event == "conversion")
    assert all(times == 1 or campaigns[campaign].repeatable for (_, campaign), times in bought.items())


def test_nobody_responds_to_a_campaign_after_its_end(records, campaigns):
    ends = {campaign.campaign_id: campaign.ends_at_ms for campaign in campaigns.values() if campaign.ends_at_ms}
    assert all(record.timestamp_ms < ends.get(record.campaign_id, record.timestamp_ms + 1) for record in records)


def words(text: str) -> set[str]:
    return {word.rstrip("s") for word in re.findall(r"[a-z]{4,}", text.lower())}


def test_customers_buy_what_they_talk_about(records, campaigns):
    """Heard by the words alone: those that campaigns of one topic use, and those of no other topic."""
    of_topic: dict[str, set[str]] = defaultdict(set)
    for campaign in campaigns.values():
        of_topic[campaign.category] |= words(f"{campaign.category} {campaign.name} {campaign.description}")
    spread = Counter(word for vocabulary in of_topic.values() for word in vocabulary)
    heard: dict[str, Counter[str]] = defaultdict(Counter)
    for record in records:
        if record.speaks:
            for topic, vocabulary in of_topic.items():
                heard[record.user_id][topic] += sum(spread[word] == 1 for word in words(record.message) & vocabulary)
    bought = [record for record in records if record.event == "conversion"]
    talked_about = [campaigns[record.campaign_id].category in dict(heard[record.user_id].most_common(2)) for record in bought]
    chance = 2 / len(of_topic)
    assert sum(talked_about) / len(bought) > 2.5 * chance
