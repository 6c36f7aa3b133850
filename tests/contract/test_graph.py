"""What Neo4j promises: ties exactly as given, figures that equal a count by hand, and whole surroundings in one query."""

import asyncio
import itertools
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence

import pytest
from msgspec.structs import replace
from neo4j import GraphDatabase

from local.engines import RunningEngines
from stores import cypher
from stores.errors import ContractBroken, Unavailable
from stores.evidence import CoEngagement, IntentTie, NeighbourTie, OwnTie, Surroundings, WordTie
from stores.graph import Graph, GraphReader, _changes
from stores.records import Campaign, CustomerTies, Profile, Tally
from stores.settings import Settings
from stores.sharing import most_shared

CAMPAIGNS = [f"c_{n:03d}" for n in range(24)]
WORDS = ["tent", "rain", "délais", "茶", "x" * 64, "42", "null"]
CHANNELS = ["email", "web shop", "app:push"]
INTENTS = ["purchase", "support", "interest", "ask about: délais", "x" * 300]


@pytest.fixture
def graph(settings: Settings) -> Iterator[Graph]:
    store = Graph(settings)
    store.prepare()
    yield store
    store.close()


def tally(draw: random.Random) -> Tally:
    return Tally(count=draw.randint(1, 9), weight=float(draw.randint(1, 20)), last_at_ms=draw.randint(1, 2_000_000_000_000))


def some(draw: random.Random, ids: Sequence[str], most: int) -> dict[str, Tally]:
    return {each: tally(draw) for each in draw.sample(ids, draw.randint(0, most))}


def customer(draw: random.Random, user_id: str) -> CustomerTies:
    times = tuple(sorted(draw.randint(1, 2_000_000_000_000) for _ in range(draw.randint(1, 5))))
    return CustomerTies(
        user_id=user_id,
        engaged_with=some(draw, CAMPAIGNS, 8),
        shown={campaign: replace(each, times_ms=times) for campaign, each in some(draw, CAMPAIGNS, 4).items()},
        dismissed=some(draw, CAMPAIGNS, 2),
        converted=some(draw, CAMPAIGNS, 2),
        expressed=some(draw, INTENTS, 3),
        profile=profile(draw),
        mailed=tuple(sorted(draw.sample(["outdoor", "garden: été", "x" * 128], draw.randint(0, 3)))),
        words={word: replace(said, weight=0.0) for word, said in some(draw, WORDS, 5).items()},
        channels={channel: draw.randint(1, 9) for channel in draw.sample(CHANNELS, draw.randint(0, 3))},
    )


def profile(draw: random.Random) -> Profile:
    return Profile(
        consent={channel: draw.random() < 0.5 for channel in draw.sample(["email", "sms", "app"], draw.randint(0, 3))},
        suppressed=draw.choice([None, True, False]),
        attributes={name: draw.choice(["gold", "1", "true"]) for name in draw.sample(["tier", "café", "vip"], draw.randint(0, 3))},
    )


def customers(count: int, *, seed: int) -> dict[str, CustomerTies]:
    draw = random.Random(seed)
    return {f"u_{n:03d}": customer(draw, f"u_{n:03d}") for n in range(count)}


def load(graph: Graph, written: dict[str, CustomerTies]) -> None:
    """What the asset does: of campaigns that win or lose customers the figures are computed anew."""
    affected = graph.campaigns_affected(list(written.values()))
    graph.put_customers(list(written.values()))
    graph.refresh_attraction(affected)


def asked(settings: Settings, user_id: str, neighbours: Sequence[str], *, limit: int = 1000) -> Surroundings:
    async def ask() -> Surroundings:
        reader = GraphReader(settings)
        try:
            return await reader.around(user_id, neighbours, limit=limit)
        finally:
            await reader.close()

    return asyncio.run(ask())


def asked_together(settings: Settings, neighbours: dict[str, list[str]], *, limit: int) -> dict[str, Surroundings]:
    async def ask() -> dict[str, Surroundings]:
        reader = GraphReader(settings)
        try:
            return await reader.around_several(neighbours, limit=limit)
        finally:
            await reader.close()

    return asyncio.run(ask())


def stored(settings: Settings, query: str) -> dict[tuple[str, ...], int]:
    """The rows of a query, all columns but the last as key, read past our own code."""
    with GraphDatabase.driver(settings.neo4j_url, auth=(settings.neo4j_user, settings.neo4j_password)) as driver:
        rows = driver.execute_query(query, database_=settings.neo4j_database).records
    return {tuple(row.values()[:-1]): row.values()[-1] for row in rows}


def attraction(everyone: dict[str, CustomerTies]) -> dict[tuple[str, str], int]:
    return Counter(pair for each in everyone.values() for pair in itertools.product(each.engaged_with, each.expressed))


def shared(everyone: dict[str, CustomerTies]) -> dict[tuple[str, str], int]:
    return {
        pair: count
        for pair, count in Counter(pair for each in everyone.values() for pair in itertools.permutations(each.engaged_with, 2)).items()
        if count >= 2
    }


def assert_computed_ties_are_right(settings: Settings, everyone: dict[str, CustomerTies], *, most: int = 50) -> None:
    assert stored(settings, "MATCH (c:Campaign)-[t:ATTRACTS]->(i:Intent) RETURN c.id, i.id, t.weight") == attraction(everyone)
    pairs = stored(settings, "MATCH (c:Campaign)-[t:SHARES_CUSTOMERS]->(d:Campaign) RETURN c.id, d.id, t.customers")
    found: dict[str, dict[str, int]] = {}
    for (campaign, other), customers in shared(everyone).items():
        found.setdefault(campaign, {})[other] = customers
    assert pairs == {(campaign, other): n for campaign, counted in found.items() for other, n in most_shared(counted, most).items()}


def strongest(rows, *, limit: int):
    """Per parent the `limit` strongest, the strongest first, then by campaign; the order of parents does not count."""
    kept = {}
    for parent, campaign, strength in sorted(rows, key=lambda row: (-row[2], row[1])):
        if len(kept.setdefault(parent, [])) < limit:
            kept[parent].append((campaign, strength))
    return kept


def by_hand(everyone: dict[str, CustomerTies], user_id: str, neighbours: Sequence[str], *, limit: int):
    me = everyone.get(user_id, CustomerTies(user_id=user_id))
    others = [each for each in everyone.values() if each.user_id != user_id]
    own = {
        campaign: OwnTie(
            campaign_id=campaign,
            count=me.engaged_with[campaign].count if campaign in me.engaged_with else 0,
            weight=me.engaged_with[campaign].weight if campaign in me.engaged_with else 0.0,
            last_at_ms=me.engaged_with[campaign].last_at_ms if campaign in me.engaged_with else 0,
            shown=me.shown[campaign].count if campaign in me.shown else 0,
            shown_at_ms=me.shown[campaign].times_ms if campaign in me.shown else (),
            dismissed_at_ms=me.dismissed[campaign].last_at_ms if campaign in me.dismissed else 0,
            converted_at_ms=me.converted[campaign].last_at_ms if campaign in me.converted else 0,
        )
        for campaign in {*me.engaged_with, *me.shown, *me.dismissed, *me.converted}
    }
    ties = [
        (each.user_id, campaign, tie.weight) for each in others if each.user_id in neighbours for campaign, tie in each.engaged_with.items()
    ]
    pairs = [
        (via, campaign, sum(via in each.engaged_with and campaign in each.engaged_with for each in others))
        for via in me.engaged_with
        for campaign in CAMPAIGNS
        if campaign != via and (via, campaign) in shared(everyone)
    ]
    intents = [
        (intent, campaign, sum(intent in each.expressed and campaign in each.engaged_with for each in others))
        for intent in me.expressed
        for campaign in CAMPAIGNS
    ]
    return (
        tuple(own[campaign] for campaign in sorted(own)),
        strongest(ties, limit=limit),
        strongest([row for row in pairs if row[2]], limit=limit),
        strongest([row for row in intents if row[2]], limit=limit),
        {intent: said.count for intent, said in me.expressed.items()},
        tuple(WordTie(word, said.count, said.last_at_ms) for word, said in me.words.items()),
        list(me.channels.items()),
    )


def as_by_hand(found: Surroundings):
    def grouped(rows):
        groups = {}
        for parent, campaign, strength in rows:
            groups.setdefault(parent, []).append((campaign, strength))
        return groups

    return (
        found.own,
        grouped((tie.user_id, tie.campaign_id, tie.weight) for tie in found.neighbours),
        grouped((tie.via, tie.campaign_id, tie.customers) for tie in found.co_engaged),
        grouped((tie.intent, tie.campaign_id, tie.customers) for tie in found.intents),
        found.expressed,
        found.words,
        list(found.channels.items()),
    )


def test_ties_come_back_as_they_were_put(graph: Graph) -> None:
    written = customers(40, seed=1)
    graph.put_customers(list(written.values()))
    assert graph.ties(written) == written
    assert list(graph.user_ids()) == sorted(written)
    assert graph.counts()["User"] == 40
    assert graph.counts()["ENGAGED_WITH"] == sum(len(each.engaged_with) for each in written.values())
    assert graph.ties(["u_never"]) == {}


def test_putting_twice_changes_nothing(graph: Graph) -> None:
    written = customers(20, seed=2)
    load(graph, written)
    before = graph.counts()
    load(graph, written)
    assert graph.counts() == before
    assert graph.ties(written) == written
    assert graph.problems() == []


def test_new_ties_replace_all_of_the_old_ones(graph: Graph) -> None:
    graph.put_customers(list(customers(30, seed=3).values()))
    again = customers(30, seed=4)
    graph.put_customers(list(again.values()))
    assert graph.ties(again) == again
    nothing = CustomerTies(user_id="u_000")
    graph.put_customers([nothing])
    assert graph.ties(["u_000", "u_001"]) == {"u_000": nothing, "u_001": again["u_001"]}


def test_customers_whose_profile_is_another_one_are_told(graph: Graph) -> None:
    silent, told = CustomerTies(user_id="u_1"), CustomerTies(user_id="u_2", profile=Profile(consent={"email": True}), mailed=("g",))
    assert graph.put_customers([silent, told]) == ["u_2"]
    assert graph.put_customers([silent, replace(told, mailed=())]) == []
    changed = [replace(silent, profile=Profile(suppressed=False)), replace(told, profile=Profile(consent={"email": False}))]
    assert graph.put_customers(changed) == ["u_1", "u_2"]
    assert graph.put_customers([silent, replace(told, profile=Profile())]) == ["u_1", "u_2"]
    assert graph.ties(["u_1"]) == {"u_1": silent}


def test_a_customer_with_more_ties_than_a_statement_takes_is_replaced_exactly(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stores.graph.BATCH_ROWS", 400)
    many = CustomerTies(user_id="u_many", engaged_with={f"k_{n:05d}": Tally(count=1, weight=1.0, last_at_ms=n) for n in range(1500)})
    few = CustomerTies(user_id="u_few", shown=dict(list(many.engaged_with.items())[:500]))
    graph.put_customers([CustomerTies(user_id="u_a"), many, few])
    assert graph.ties(["u_many", "u_few"]) == {"u_many": many, "u_few": few}
    other = {end: replace(tie, count=2) if n % 2 else tie for n, (end, tie) in enumerate(many.engaged_with.items()) if n >= 20}
    graph.put_customers([replace(many, engaged_with=other)])
    assert graph.ties(["u_many"])["u_many"].engaged_with == other
    assert list(graph.campaign_ids()) == sorted(many.engaged_with)


def test_many_customers_are_put_in_batches(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stores.graph.BATCH_ROWS", 50)
    written = customers(100, seed=11)
    graph.put_customers(list(written.values()))
    assert graph.ties(written) == written
    assert list(graph.user_ids()) == sorted(written)


def test_ids_may_hold_every_character_that_an_id_may_hold(graph: Graph, settings: Settings) -> None:
    ids = ["a.b:c@d-e_f", "0", "Z" * 128, "u@example.com", "null"]
    tie = Tally(count=2, weight=3.0, last_at_ms=1_700_000_000_123)
    written = {id_: CustomerTies(user_id=id_, engaged_with=dict.fromkeys(ids, tie), expressed={'it\'s "now"; {n}': tie}) for id_ in ids}
    load(graph, written)
    assert graph.ties(ids) == written
    assert asked(settings, ids[0], ids[1:]).known
    graph.delete_customers(ids[:2])
    assert graph.ties(ids) == {id_: written[id_] for id_ in ids[2:]}


@pytest.mark.parametrize(("seed", "most"), [(5, 50), (6, 50), (7, 3), (8, 1)])
def test_attraction_and_shared_customers_equal_a_count_by_hand_after_any_history(
    graph: Graph, settings: Settings, monkeypatch: pytest.MonkeyPatch, seed: int, most: int
) -> None:
    """Also where a campaign shares customers with more others than its list shows."""
    monkeypatch.setattr("stores.graph.SHARED_CAMPAIGNS", most)
    everyone = customers(60, seed=seed)
    load(graph, everyone)
    assert_computed_ties_are_right(settings, everyone, most=most)
    draw = random.Random(seed)
    for changing in (1, 2, 12):
        changed = {user_id: customer(draw, user_id) for user_id in draw.sample(sorted(everyone), changing)}
        load(graph, changed)
        everyone |= changed
        assert_computed_ties_are_right(settings, everyone, most=most)
    gone = draw.sample(sorted(everyone), 15)
    affected = graph.campaigns_affected([CustomerTies(user_id=user_id) for user_id in gone])
    graph.delete_customers(gone)
    graph.refresh_attraction(affected)
    everyone = {user_id: ties for user_id, ties in everyone.items() if user_id not in gone}
    assert_computed_ties_are_right(settings, everyone, most=most)
    assert graph.ties(gone) == {}


def test_what_an_engagement_more_of_the_same_campaign_changes_is_no_campaigns_figure(graph: Graph) -> None:
    before = CustomerTies(
        user_id="u_1", engaged_with=dict.fromkeys(("c_1", "c_2"), Tally(count=1, weight=1.0, last_at_ms=1)), expressed=some_intent("i_1")
    )
    load(graph, {"u_1": before})
    more = dict.fromkeys(("c_1", "c_2"), Tally(count=2, weight=3.0, last_at_ms=2))
    assert graph.campaigns_affected([replace(before, engaged_with=more, shown=more)]) == set()
    assert graph.campaigns_affected([replace(before, engaged_with=more | {"c_3": more["c_1"]})]) == {"c_3"}
    assert graph.campaigns_affected([replace(before, engaged_with={"c_1": more["c_1"]})]) == {"c_2"}
    assert graph.campaigns_affected([replace(before, expressed=some_intent("i_2"))]) == {"c_1", "c_2"}
    assert graph.campaigns_affected([CustomerTies(user_id="u_1")]) == {"c_1", "c_2"}


def some_intent(name: str) -> dict[str, Tally]:
    return {name: Tally(count=1, weight=0.0, last_at_ms=1)}


@pytest.mark.parametrize("limit", [3, 1000])
def test_surroundings_equal_a_count_by_hand(graph: Graph, settings: Settings, limit: int) -> None:
    everyone = customers(60, seed=7)
    load(graph, everyone)
    neighbours = sorted(everyone)[5:25]
    for user_id in [*sorted(everyone)[:8], "u_never"]:
        found = asked(settings, user_id, neighbours, limit=limit)
        assert found.known == (user_id in everyone)
        me = everyone.get(user_id, CustomerTies(user_id=user_id))
        assert (found.profile, found.mailed) == (me.profile, me.mailed)
        assert as_by_hand(found) == by_hand(everyone, user_id, neighbours, limit=limit)


def test_what_a_customer_did_counts_nowhere_but_in_its_own_ties(graph: Graph, settings: Settings) -> None:
    tie = Tally(count=1, weight=4.0, last_at_ms=9)
    alone = CustomerTies(user_id="u_1", engaged_with={"c_1": tie, "c_2": tie}, expressed={"purchase": tie})
    load(graph, {"u_1": alone})
    found = asked(settings, "u_1", ["u_1"])
    assert [each.campaign_id for each in found.own] == ["c_1", "c_2"]
    assert (found.neighbours, found.co_engaged, found.intents, found.expressed) == ((), (), (), {"purchase": 1})
    load(graph, {"u_2": replace(alone, user_id="u_2")})
    found = asked(settings, "u_1", ["u_1", "u_2"])
    assert set(found.neighbours) == {NeighbourTie("u_2", "c_1", 4.0), NeighbourTie("u_2", "c_2", 4.0)}
    assert set(found.co_engaged) == {CoEngagement("c_2", "c_1", 1), CoEngagement("c_1", "c_2", 1)}
    assert set(found.intents) == {IntentTie(intent="purchase", campaign_id=each, customers=1) for each in ("c_1", "c_2")}


def test_words_are_written_only_where_they_or_their_order_are_others(graph: Graph) -> None:
    once, twice = (Tally(count=count, weight=0.0, last_at_ms=7) for count in (1, 2))
    first = CustomerTies(user_id="u_1", words={"tent": twice, "rain": once}, channels={"app": 2, "web": 1})
    rewritten = {"words": {"rain": once, "tent": twice}, "channels": {"app": 2, "web": 2}}
    graph.put_customers([first])
    for ties, writes in (
        (first, False),
        (replace(first, shown={"c_1": once}), False),
        *((replace(first, **{field: value}), True) for field, value in rewritten.items()),
        (CustomerTies(user_id="u_1"), True),
    ):
        statements = [text for text, parameters in _changes([ties], graph.ties(["u_1"])) if parameters["rows"]]
        assert (cypher.PUT_SPOKEN in statements) == writes
        graph.put_customers([ties])
        found = graph.ties(["u_1"])["u_1"]
        assert (list(found.words.items()), found.channels) == (list(ties.words.items()), ties.channels)
        graph.put_customers([first])


def test_a_customer_never_heard_of_is_not_known(graph: Graph, settings: Settings) -> None:
    assert asked(settings, "u_never", []) == Surroundings()


def test_a_forgotten_campaign_stays_while_customers_are_tied_to_it_and_is_swept_after(graph: Graph) -> None:
    tie = Tally(count=1, weight=1.0, last_at_ms=1)
    graph.put_campaigns([Campaign(campaign_id=id_, name=id_.upper(), category="x") for id_ in ("c_1", "c_2", "c_3")])
    load(graph, {"u_1": CustomerTies(user_id="u_1", shown={"c_1": tie}, engaged_with={"c_9": tie}, expressed={"purchase": tie})})
    graph.sweep()
    assert list(graph.campaign_ids()) == ["c_1", "c_2", "c_3", "c_9"]
    graph.delete_campaigns(["c_1", "c_2", "c_never"])
    graph.delete_campaigns(["c_1", "c_2"])
    assert list(graph.campaign_ids()) == ["c_1", "c_3", "c_9"]
    graph.delete_customers(["u_1"])
    graph.sweep()
    assert list(graph.campaign_ids()) == ["c_3"]
    assert graph.counts() == dict.fromkeys(graph.counts(), 0) | {"Campaign": 1}


def test_a_campaign_comes_back_with_what_was_computed_for_it(graph: Graph) -> None:
    everyone = customers(40, seed=3)
    graph.put_campaigns([Campaign(campaign_id=CAMPAIGNS[0], name="Tent Week", category="camping")])
    load(graph, everyone)
    found = graph.campaigns([*CAMPAIGNS, "c_unheard"])
    assert found.keys() == set(CAMPAIGNS)
    assert {(a, b): n for a, node in found.items() for b, n in node.attracts.items()} == attraction(everyone)
    assert {(a, b): n for a, node in found.items() for b, n in node.shares.items()} == shared(everyone)
    assert (found[CAMPAIGNS[0]].known, found[CAMPAIGNS[0]].name, found[CAMPAIGNS[0]].category) == (True, "Tent Week", "camping")
    assert (found[CAMPAIGNS[1]].known, found[CAMPAIGNS[1]].name) == (False, None)
    assert set(graph.intent_ids()) == set(INTENTS)


def test_a_campaign_that_records_named_first_becomes_known(graph: Graph, settings: Settings) -> None:
    graph.put_customers([CustomerTies(user_id="u_1", shown={"c_1": Tally(count=1, weight=0.0, last_at_ms=1)})])
    assert stored(settings, "MATCH (c:Campaign) RETURN c.id, c.known") == {("c_1",): False}
    graph.put_campaigns([Campaign(campaign_id="c_1", name="One")] * 2)
    assert stored(settings, "MATCH (c:Campaign) RETURN c.id, c.name, c.known") == {("c_1", "One"): True}


def test_problems_are_told_one_by_one(graph: Graph, settings: Settings) -> None:
    load(graph, customers(10, seed=8))
    assert graph.problems() == []
    with GraphDatabase.driver(settings.neo4j_url, auth=(settings.neo4j_user, settings.neo4j_password)) as driver:
        for damage in (
            "CREATE (:User {id: 'u_bad'})-[:SHOWN {count: 1, last_at: 1}]->(:Intent {id: 'i_bad'})",
            "MATCH (u:User {id: 'u_bad'}) CREATE (c:Campaign {id: 'c_bad'}) "
            "CREATE (u)-[:CONVERTED {count: 1, last_at: 1}]->(c) CREATE (u)-[:CONVERTED {count: 1}]->(c)",
        ):
            driver.execute_query(damage, database_=settings.neo4j_database)
    told = [
        "1 CONVERTED ties have no count or no time",
        "1 SHOWN ties do not lead from a User to a Campaign",
        "CONVERTED from u_bad to c_bad is there 2 times",
    ]
    assert sorted(graph.problems()) == told
    assert sorted(graph.problems(["u_001", "u_bad"])) == told
    assert graph.problems(["u_001"]) == []


def test_a_reader_never_finds_a_customer_half_written(graph: Graph, settings: Settings) -> None:
    first, second = ({f"c_{n}": Tally(count=1, weight=weight, last_at_ms=1) for n in range(30)} for weight in (1.0, 2.0))
    versions = [CustomerTies(user_id="u_1", engaged_with=each) for each in (first, second)]
    graph.put_customers([versions[0]])
    done = threading.Event()

    def write() -> None:
        for turn in range(1, 20):
            graph.put_customers([versions[turn % 2]])
        done.set()

    async def read() -> int:
        reader, reads = GraphReader(settings), 0
        while not done.is_set() or reads < 3:
            found = await reader.around("u_2", ["u_1"], limit=100)
            assert len(found.neighbours) == 30
            assert {tie.weight for tie in found.neighbours} <= {1.0, 2.0}
            reads += 1
        await reader.close()
        return reads

    writer = threading.Thread(target=write)
    writer.start()
    assert asyncio.run(read()) >= 3
    writer.join()
    assert graph.ties(["u_1"]) == {"u_1": versions[1]}


def test_a_stamp_is_what_was_last_set(graph: Graph, settings: Settings) -> None:
    assert graph.stamp("graph") is None
    graph.set_stamp("graph", "first")
    graph.set_stamp("graph", "second")
    again = Graph(settings)
    again.prepare()
    assert again.stamp("graph") == "second"
    again.close()


def test_a_state_of_another_schema_version_is_refused(graph: Graph) -> None:
    graph.set_stamp("schema_version", "0")
    with pytest.raises(ContractBroken, match="version 0"):
        graph.prepare()


def test_a_closed_store_opens_again_on_use(graph: Graph) -> None:
    graph.set_stamp("graph", "kept")
    graph.close()
    graph.close()
    assert graph.stamp("graph") == "kept"


def test_a_wrong_password_needs_a_person(settings: Settings) -> None:
    stranger = Graph(replace(settings, neo4j_password="not the password"))
    with pytest.raises(ContractBroken):
        stranger.ping()
    stranger.close()


def test_ties_outlive_a_crash_of_the_server_and_reader_and_writer_go_on(graph: Graph, settings: Settings, engines: RunningEngines) -> None:
    written = customers(20, seed=9)
    load(graph, written)
    graph.set_stamp("graph", "abc")

    async def through_a_crash() -> None:
        reader = GraphReader(settings)
        before = await reader.around("u_001", ["u_002"], limit=10)
        engines.kill("neo4j")
        with pytest.raises(Unavailable):
            await reader.around("u_001", ["u_002"], limit=10)
        engines.start("neo4j")
        assert await reader.around("u_001", ["u_002"], limit=10) == before
        await reader.close()

    asyncio.run(through_a_crash())
    assert graph.stamp("graph") == "abc"
    assert graph.ties(written) == written


@pytest.mark.parametrize("reached", [False, True], ids=["refused", "hung"])
def test_a_server_that_does_not_answer_is_unavailable_within_the_timeout(settings: Settings, reached: bool) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        if reached:
            silent.listen()
        url = f"bolt://127.0.0.1:{silent.getsockname()[1]}"
        unreachable = replace(settings, neo4j_url=url, read_timeout_s=0.5, write_timeout_s=1.0)
        store = Graph(unreachable)
        assert_unavailable_within(2.0, store.ping)
        assert_unavailable_within(1.0, lambda: asked(unreachable, "u_1", []))
        store.close()


def test_a_server_that_hangs_in_the_middle_is_unavailable_within_the_timeout_and_used_again_after(
    settings: Settings, engines: RunningEngines
) -> None:
    settings = replace(settings, read_timeout_s=1.0, write_timeout_s=2.0)
    graph = Graph(settings)
    graph.set_stamp("graph", "abc")

    async def through_a_pause() -> None:
        reader = GraphReader(settings)
        await reader.around("u_1", [], limit=1)
        engines.pause("neo4j")
        started = time.monotonic()
        with pytest.raises(Unavailable):
            await reader.around("u_1", [], limit=1)
        assert time.monotonic() - started < 1.5
        assert_unavailable_within(3.0, lambda: graph.stamp("graph"))
        engines.resume("neo4j")
        assert not (await reader.around("u_1", [], limit=1)).known
        await reader.close()

    asyncio.run(through_a_pause())
    assert graph.stamp("graph") == "abc"
    graph.close()


def assert_unavailable_within(seconds: float, call) -> None:
    started = time.monotonic()
    with pytest.raises(Unavailable):
        call()
    assert time.monotonic() - started < seconds


def in_order(found: Surroundings) -> Surroundings:
    """The same with the parents of its parts in order, which nothing depends on."""
    return Surroundings(
        known=found.known,
        own=found.own,
        neighbours=tuple(sorted(found.neighbours, key=lambda tie: tie.user_id)),
        co_engaged=tuple(sorted(found.co_engaged, key=lambda tie: tie.via)),
        intents=tuple(sorted(found.intents, key=lambda tie: tie.intent)),
        expressed=found.expressed,
    )


@pytest.mark.parametrize("limit", [2, 1000])
def test_what_surrounds_several_customers_is_what_surrounds_each(graph: Graph, settings: Settings, limit: int) -> None:
    everyone = customers(12, seed=3)
    load(graph, everyone)
    ids = [*everyone, "u_unknown"]
    neighbours = {user_id: [ids[(n + step) % len(ids)] for step in range(6)] for n, user_id in enumerate(ids)}
    together = asked_together(settings, neighbours, limit=limit)
    for user_id, near in neighbours.items():
        assert in_order(together[user_id]) == in_order(asked(settings, user_id, near, limit=limit))
