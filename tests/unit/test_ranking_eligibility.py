"""Each rule at both sides of its boundary, and that looking at few campaigns finds what looking at all would."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ranking.eligibility import Filters, Policy, Standing, allowed, exclusions, removed, restricted, until_ms
from ranking.holdout import held_out
from ranking.recommend import Customer, Tuning, lineup, recommend
from ranking.rules import Exclusion, Rule
from stores.evidence import CampaignFigures, Catalogue, NeighbourTie, OwnTie, Surroundings
from stores.records import Audience, Campaign, Cap, Profile, Rules

HOUR_MS = 3_600_000
NOW_MS = 1_000 * HOUR_MS


def campaign(campaign_id: str = "c_1", **fields: object) -> Campaign:
    rules = {name: fields.pop(name) for name in Rules.__struct_fields__ if name in fields}
    return Campaign(campaign_id=campaign_id, name=campaign_id.upper(), rules=Rules(**rules), **fields)  # type: ignore[arg-type]


def shown(campaign_id: str, *hours_ago: float) -> OwnTie:
    times = tuple(sorted(NOW_MS - int(hours * HOUR_MS) for hours in hours_ago))
    return OwnTie(campaign_id=campaign_id, shown=len(times), shown_at_ms=times)


def who(*own: OwnTie, **known: object) -> Standing:
    return Standing(**{"now_ms": NOW_MS, "own": {tie.campaign_id: tie for tie in own}} | known)  # type: ignore[arg-type]


def found(one: Campaign, customer: Standing) -> list[Exclusion]:
    return list(exclusions(one, customer))


def rules_of(one: Campaign, customer: Standing) -> list[Rule]:
    return [each.rule for each in exclusions(one, customer)]


@pytest.mark.parametrize(("suppressed", "rules"), [(True, [Rule.SUPPRESSED]), (False, []), (None, [])])
def test_nothing_is_offered_to_a_customer_who_is_suppressed(suppressed: bool | None, rules: list[Rule]) -> None:
    customer = who(profile=Profile(suppressed=suppressed))
    assert rules_of(campaign(), customer) == rules
    assert (allowed({"c_1": campaign()}, frozenset(), customer) == {}) is bool(suppressed)


@pytest.mark.parametrize(
    ("channels", "needs", "consent", "asked", "closed"),
    [
        ((), (), {}, None, None),
        (("email",), (), {}, None, None),
        (("email",), ("email",), {"email": True}, None, None),
        (("email",), ("email",), {"email": False}, None, "email"),
        (("email",), ("email",), {}, None, "email"),  # not known is no
        (("email",), ("email",), {"sms": True}, None, "email"),
        (("email", "sms"), ("email", "sms"), {}, None, "email, sms"),
        (("email", "sms"), ("email", "sms"), {"sms": True}, None, None),  # one way is enough
        (("email", "sms"), ("email", "sms"), {"sms": True}, "email", "email"),  # but not where the other is asked for
        (("email", "web"), ("email",), {}, None, None),
        (("email", "web"), ("email",), {}, "web", None),
        (("email",), (), {"email": False}, None, "email"),  # a no closes a channel that needs no yes
        ((), ("sms",), {}, None, "sms"),
        ((), ("sms",), {"sms": True}, None, None),
        ((), (), {"push": False}, "push", "push"),
    ],
)
def test_a_campaign_needs_a_channel_that_is_open(channels, needs, consent, asked, closed) -> None:
    one = campaign(channels=channels, requires_consent=needs)
    expected = [Exclusion(Rule.NO_CONSENT, what=closed)] if closed else []
    assert found(one, who(profile=Profile(consent=consent), filters=Filters(channel=asked))) == expected


GOLD = Audience(attributes={"tier": ("gold", "silver")})


@pytest.mark.parametrize(
    ("audience", "mailed", "attributes", "what"),
    [
        (None, (), {}, None),
        (Audience(group="spring"), ("spring",), {}, None),
        (Audience(group="spring"), ("autumn",), {}, "group spring"),
        (Audience(group="spring"), (), {}, "group spring"),
        (GOLD, (), {"tier": "silver"}, None),
        (GOLD, (), {"tier": "bronze"}, "attribute tier"),
        (GOLD, (), {}, "attribute tier"),  # not known fits nothing
        (Audience(attributes={"tier": ()}), (), {"tier": "gold"}, "attribute tier"),
        (Audience(group="spring", attributes={"tier": ("gold",)}), ("spring",), {}, "attribute tier"),
        (Audience(attributes={"b": ("1",), "a": ("1",)}), (), {"a": "1", "b": "1"}, None),
    ],
)
def test_a_campaign_is_for_its_audience(audience, mailed, attributes, what) -> None:
    customer = who(mailed=frozenset(mailed), profile=Profile(attributes=attributes))
    assert found(campaign(audience=audience), customer) == ([Exclusion(Rule.NOT_IN_AUDIENCE, what=what)] if what else [])


@pytest.mark.parametrize(
    ("impressions", "hours_ago", "reached"),
    [
        (2, (), None),
        (2, (1,), None),
        (2, (1, 5), (2, 19)),  # the one of 5 hours ago is forgotten in 19
        (2, (1, 24), None),  # exactly a day ago is no longer within a day
        (2, (1, 23.999), (2, 0.001)),
        (2, (1, 2, 3), (3, 22)),  # two of the three have to be forgotten
        (0, (), (0, None)),  # never, which is not the same as no cap
        (0, (1,), (1, None)),
        (1, (0,), (1, 24)),
    ],
)
def test_a_cap_counts_the_impressions_of_its_period(impressions, hours_ago, reached) -> None:
    cap = Cap(impressions=impressions, period_hours=24)
    seen, in_hours = reached or (None, None)
    until = None if in_hours is None else NOW_MS + round(in_hours * HOUR_MS)
    told = Exclusion(Rule.CAP_REACHED, until_ms=until, seen=seen, allowed=impressions)
    one, customer = campaign(caps=(cap,)), who(shown("c_1", *hours_ago), shown("c_2", 1, 1, 1))
    assert found(one, customer) == ([told] if reached else [])
    assert until_ms({"c_1": one}, customer) == until
    if until is not None:
        assert found(one, replace(customer, now_ms=until - 1)) != []
        assert found(one, replace(customer, now_ms=until)) == []


def test_without_a_cap_nothing_is_counted() -> None:
    assert found(campaign(), who(shown("c_1", *range(100)))) == []


def test_each_of_several_caps_is_told() -> None:
    one = campaign(caps=(Cap(impressions=1, period_hours=24), Cap(impressions=3, period_hours=168)))
    assert [each.allowed for each in found(one, who(shown("c_1", 1, 30)))] == [1]
    assert [each.allowed for each in found(one, who(shown("c_1", 25, 30, 31)))] == [3]
    assert [each.allowed for each in found(one, who(shown("c_1", 1, 30, 31)))] == [1, 3]


@pytest.mark.parametrize(("allows", "rules"), [(4, []), (3, [Rule.OVERALL_CAP_REACHED]), (0, [Rule.OVERALL_CAP_REACHED])])
def test_the_overall_cap_counts_the_impressions_of_all_campaigns(allows: int, rules: list[Rule]) -> None:
    customer = who(shown("c_1", 1, 30), shown("c_2", 2, 23), overall_cap=Cap(impressions=allows, period_hours=24))
    assert rules_of(campaign("c_3"), customer) == rules
    assert until_ms({}, customer) == (NOW_MS + HOUR_MS if allows == 3 else None)


@pytest.mark.parametrize(
    ("filters", "what"),
    [
        (Filters(channel="email"), []),
        (Filters(channel="sms"), ["channel"]),
        (Filters(category="home"), []),
        (Filters(category="sea"), ["category"]),
        (Filters(exclude=("c_0", "c_2")), []),
        (Filters(exclude=("c_1",)), ["exclude"]),
        (Filters(channel="sms", category="sea", exclude=("c_1",)), ["channel", "category", "exclude"]),
    ],
)
def test_a_request_leaves_out_what_it_does_not_ask_for(filters: Filters, what: list[str]) -> None:
    one = campaign(channels=("email",), category="home")
    assert found(one, who(filters=filters)) == [Exclusion(Rule.FILTERED, what=each) for each in what]


def test_a_campaign_without_channels_goes_out_by_every_channel_and_one_without_a_category_is_in_none() -> None:
    assert found(campaign(), who(filters=Filters(channel="email"))) == []
    assert rules_of(campaign(), who(filters=Filters(category="home"))) == [Rule.FILTERED]


def test_every_rule_that_applies_is_told_in_one_order() -> None:
    one = campaign(
        status="paused",
        channels=("email",),
        requires_consent=("email",),
        audience=Audience(group="g"),
        caps=(Cap(impressions=0, period_hours=1),),
    )
    own = OwnTie(campaign_id="c_1", dismissed_at_ms=5)
    customer = who(own, profile=Profile(suppressed=True), overall_cap=Cap(impressions=0, period_hours=1), filters=Filters(exclude=("c_1",)))
    assert rules_of(one, customer) == [
        Rule.PAUSED,
        Rule.DISMISSED,
        Rule.SUPPRESSED,
        Rule.NO_CONSENT,
        Rule.NOT_IN_AUDIENCE,
        Rule.CAP_REACHED,
        Rule.OVERALL_CAP_REACHED,
        Rule.FILTERED,
    ]
    assert removed({"c_1": one, "c_2": campaign("c_2")}, replace(customer, profile=Profile(), overall_cap=None)) == {Rule.PAUSED: 1}


channels = st.lists(st.sampled_from(["email", "sms"]), unique=True).map(tuple)
caps = st.lists(st.builds(Cap, impressions=st.integers(0, 3), period_hours=st.integers(1, 40)), max_size=2).map(tuple)
audiences = st.none() | st.builds(
    Audience, group=st.sampled_from([None, "g"]), attributes=st.dictionaries(st.just("tier"), st.sampled_from([("a",), ("a", "b")]))
)
IDS = [f"c_{n}" for n in range(8)]
ruled = st.builds(Rules, audience=audiences, requires_consent=channels, caps=caps, fallback=st.booleans())
catalogues = st.lists(
    st.builds(
        Campaign,
        campaign_id=st.sampled_from(IDS),
        name=st.just("x"),
        channels=channels,
        category=st.sampled_from([None, "home"]),
        status=st.sampled_from(["active", "active", "paused"]),
        repeatable=st.booleans(),
        priority=st.integers(0, 2),
        rules=st.just(Rules()) | ruled,
    ),
    unique_by=lambda each: each.campaign_id,
).map(lambda some: {each.campaign_id: each for each in some})
times = st.lists(st.integers(0, 50), max_size=4).map(lambda ago: tuple(sorted(NOW_MS - each * HOUR_MS for each in ago)))
own_ties = st.lists(
    st.builds(
        OwnTie,
        campaign_id=st.sampled_from([*IDS, "c_gone"]),
        shown_at_ms=times,
        dismissed_at_ms=st.sampled_from([0, 0, 7]),
        converted_at_ms=st.sampled_from([0, 0, 7]),
    ),
    unique_by=lambda tie: tie.campaign_id,
)
filters = st.just(Filters()) | st.builds(
    Filters,
    channel=st.sampled_from([None, "email", "web"]),
    category=st.sampled_from([None, "home"]),
    exclude=st.lists(st.sampled_from(IDS), max_size=2).map(tuple),
)
profiles = st.builds(
    Profile,
    consent=st.dictionaries(st.sampled_from(["email", "sms"]), st.booleans()),
    suppressed=st.sampled_from([None, None, False, True]),
    attributes=st.dictionaries(st.just("tier"), st.sampled_from(["a", "b", "z"])),
)
customers = st.builds(
    lambda own, **known: who(*own, **known),
    own_ties,
    profile=profiles,
    mailed=st.sampled_from([frozenset(), frozenset(["g"])]),
    filters=filters,
    overall_cap=st.none() | st.builds(Cap, impressions=st.integers(0, 9), period_hours=st.integers(1, 40)),
)


@given(catalogues, customers)
def test_looking_at_few_campaigns_finds_what_looking_at_all_would(campaigns: dict[str, Campaign], customer: Standing) -> None:
    runs = {key: each for key, each in campaigns.items() if each.status == "active"}
    expected = {key: each for key, each in runs.items() if not found(each, customer)}
    assert allowed(runs, restricted(runs), customer) == expected
    first = Counter(rules[0] for each in campaigns.values() if (rules := rules_of(each, customer)))
    assert removed(campaigns, customer) == first


@given(catalogues, customers, st.floats(0, 1))
def test_what_may_be_offered_does_not_change_before_the_time_that_is_told(
    campaigns: dict[str, Campaign], customer: Standing, part: float
) -> None:
    runs = {key: each for key, each in campaigns.items() if each.status == "active"}
    change_ms = until_ms(campaigns, customer)
    assert change_ms is None or change_ms > NOW_MS
    between = NOW_MS + int(part * ((change_ms or NOW_MS + 100 * HOUR_MS) - 1 - NOW_MS))
    before, later = (allowed(runs, restricted(runs), replace(customer, now_ms=now_ms)) for now_ms in (NOW_MS, between))
    assert before == later


@given(catalogues, customers)
def test_nothing_is_recommended_that_a_rule_removes(campaigns: dict[str, Campaign], customer: Standing) -> None:
    now = lineup(Catalogue(campaigns=campaigns), now_ms=NOW_MS, tuning=Tuning())
    found_for = recommend(Customer(user_id="u", known=True), now, limit=100, tuning=Tuning(), who=customer)
    assert all(not found(campaigns[each.campaign_id], customer) for each in found_for)
    ordinary = [key for key, each in campaigns.items() if not each.rules.fallback and not found(each, customer)]
    backups = [key for key, each in campaigns.items() if each.rules.fallback and not found(each, customer)]
    assert len(found_for) == (len(ordinary) or min(1, len(backups)))
    assert bool(ordinary) or all(campaigns[each.campaign_id].rules.fallback for each in found_for)


def test_a_fallback_is_shown_only_where_nothing_else_may_be_the_highest_priority_first() -> None:
    held = [campaign("c_1"), campaign("c_2", fallback=True), campaign("c_3", fallback=True, priority=1), campaign("c_4", fallback=True)]
    now = lineup(Catalogue(campaigns={each.campaign_id: each for each in held}), now_ms=NOW_MS, tuning=Tuning())

    def offered(**own: int) -> list[tuple[str, float, str]]:
        ties = tuple(OwnTie(campaign_id=key, dismissed_at_ms=at) for key, at in own.items())
        customer = Customer(user_id="u", known=True, surroundings=Surroundings(known=True, own=ties))
        return [(each.campaign_id, each.score, each.reason) for each in recommend(customer, now, limit=10, tuning=Tuning())]

    assert [key for key, *_ in offered()] == ["c_1"]
    said = "C_3 is what we have for everybody: nothing else may be offered to you now."
    assert offered(c_1=1) == [("c_3", 0.0, said)]
    assert [key for key, *_ in offered(c_1=1, c_3=1)] == ["c_2"]
    assert offered(c_1=1, c_2=1, c_3=1, c_4=1) == []


SALT = "a secret of some length"


def test_a_holdout_group_has_its_share_and_grows_with_it_and_is_another_under_another_salt() -> None:
    users = [f"u_{n}" for n in range(4000)]
    tenth, third = ({each for each in users if held_out(each, Policy(holdout_share=share, holdout_salt=SALT))} for share in (0.1, 0.3))
    other = {each for each in users if held_out(each, Policy(holdout_share=0.1, holdout_salt=SALT[::-1]))}
    assert 300 < len(tenth) < 500
    assert 1050 < len(third) < 1350
    assert tenth < third
    assert len(tenth & other) < 100
    assert not any(held_out(each, Policy(holdout_share=0.0, holdout_salt=SALT)) for each in users)
    assert all(held_out(each, Policy(holdout_share=1.0, holdout_salt=SALT)) for each in users)


def test_who_is_held_out_gets_what_is_popular_and_may_be_offered() -> None:
    campaigns = {key: campaign(key) for key in ("c_1", "c_2", "c_3")}
    figures = {key: CampaignFigures(campaign_id=key, customers=n, exposed=10) for key, n in (("c_1", 1), ("c_2", 5), ("c_3", 9))}
    around = Surroundings(known=True, own=(OwnTie(campaign_id="c_3", dismissed_at_ms=1),), neighbours=(NeighbourTie("n", "c_1", 5.0),))
    customer = Customer(user_id="u", known=True, surroundings=around)
    tuning = Tuning(policy=Policy(holdout_share=1.0, holdout_salt=SALT))
    now = lineup(Catalogue(campaigns=campaigns, figures=figures), now_ms=NOW_MS, tuning=tuning)
    shown_to = recommend(customer, now, limit=10, tuning=tuning)
    assert [each.campaign_id for each in shown_to] == ["c_2", "c_1"]
    assert [place.source for each in shown_to for place in each.places] == ["engagement", "engagement"]
    assert shown_to[0].reason == "C_2 is popular: 5 customers responded, and it reached 10."
