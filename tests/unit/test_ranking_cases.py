from ranking.cases import cases_of, mentioned, named
from stores.records import DAY_MS, Campaign, Record

CAMPAIGNS = {
    key: Campaign(campaign_id=key, name=name) for key, name in {"c_1": "Trail Days (2026)", "c_2": "Harbour Week", "c_3": "It"}.items()
}


def record(at_ms: int, **fields: str) -> Record:
    given = {"message_id": f"m{at_ms}{fields}", "user_id": "u"} | fields
    return Record(timestamp_ms=at_ms, **given)  # type: ignore[arg-type]


def test_a_conversation_is_a_case_of_what_is_responded_to_in_it_known_from_before_it_begins() -> None:
    held = [
        record(10, session_id="s", message="hello"),
        record(20, session_id="s", event="click", campaign_id="c_1"),
        record(30, session_id="s", event="conversion", campaign_id="c_2"),
        record(40, session_id="s", event="click", campaign_id="gone"),
        record(50, session_id="quiet", message="bye"),
    ]
    [case] = cases_of(held, CAMPAIGNS)
    assert (case.at_ms, case.truth, case.moment, case.since) == (10, {"c_1", "c_2"}, "next", ())


def test_without_sessions_a_day_is_a_conversation_and_begins_at_midnight() -> None:
    held = [record(DAY_MS + 5, event="click", campaign_id="c_1"), record(2 * DAY_MS + 5, event="click", campaign_id="c_2")]
    assert [(case.at_ms, case.truth) for case in cases_of(held, CAMPAIGNS)] == [(DAY_MS, {"c_1"}), (2 * DAY_MS, {"c_2"})]


def test_what_an_agent_clicks_is_no_outcome() -> None:
    assert cases_of([record(5, event="click", campaign_id="c_1", role="agent")], CAMPAIGNS) == []


def test_halfway_through_a_conversation_its_first_half_is_known_and_undated_outcomes_are_not() -> None:
    held = [
        record(10, session_id="s", event="click", campaign_id="c_1"),
        record(10, session_id="s", event="impression", campaign_id="c_2"),
        record(10, session_id="s", event="conversion", campaign_id="c_2"),
        record(11, session_id="s", message="hello"),
        record(12, session_id="s", message="I loved trail days, 2026!"),
        record(13, session_id="s", event="click", campaign_id="c_3"),
        record(14, session_id="s", message="what else"),
        record(15, session_id="s", message="Harbour Week then"),
    ]
    inside = next(case for case in cases_of(held, CAMPAIGNS) if case.moment == "inside")
    assert [each.timestamp_ms for each in inside.since] == [11, 12, 13]
    assert inside.barred == {"c_1"}  # named by the customer, so that to recommend it is no feat
    assert inside.truth == {"c_2"}
    assert inside.at_ms == 10


def test_a_name_is_found_whatever_its_case_and_punctuation_and_only_whole() -> None:
    names = named(CAMPAIGNS)
    assert mentioned("Was it TRAIL  days (2026) or harbour weekend?", names) == {"c_1", "c_3"}
    assert mentioned("", names) == frozenset()
