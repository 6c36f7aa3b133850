"""Neo4j: who engaged with which campaign, who voiced which intent, and what surrounds a customer.

`(:User {id})` is tied to `(:Campaign {id, name, category, known})` by ENGAGED_WITH, SHOWN, DISMISSED and CONVERTED and to
`(:Intent {id})` by EXPRESSED, each `{count, weight, last_at}` with times as epoch milliseconds. SHOWN also has the last 100 `times`.
A User also keeps the customer's profile and the groups mailed (`profiles.py`), the words that they said most (`words`, `word_counts`,
`word_times`) and the channels that they engaged by (`channels`, `channel_counts`), as lists in step with each other, absent where
empty. Two more ties are computed from these:
`(:Campaign)-[:ATTRACTS {weight}]->(:Intent)`, how many customers engaged with the one and voiced the other, and
`(:Campaign)-[:SHARES_CUSTOMERS {customers}]->(:Campaign)`, how many engaged with both, for the 50 that share the most.
A campaign that records name but no entry describes is `known = false`. The Cypher is that of Neo4j 5 and of ArcadeDB.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from msgspec import Struct
from neo4j import READ_ACCESS, WRITE_ACCESS, AsyncDriver, AsyncGraphDatabase, AsyncManagedTransaction, exceptions

from stores import cypher
from stores.breaker import Breaker
from stores.errors import ContractBroken, DriverErrors, StoreError, Unavailable, translated
from stores.evidence import FEWEST_SHARED, SHARED_CAMPAIGNS, CoEngagement, IntentTie, NeighbourTie, OwnTie, Surroundings, WordTie
from stores.profiles import as_properties, of_properties
from stores.records import Campaign, CustomerTies, Profile, Tally
from stores.settings import Settings
from stores.sharing import mended, most_shared
from stores.surroundings import SharedParts, most_first, neighbours_ties, strongest, surroundings

SCHEMA_VERSION = 1
LABELS = ("User", "Campaign", "Intent")
TIES = {  # field of CustomerTies → relationship, label at its end
    "engaged_with": ("ENGAGED_WITH", "Campaign"),
    "shown": ("SHOWN", "Campaign"),
    "dismissed": ("DISMISSED", "Campaign"),
    "converted": ("CONVERTED", "Campaign"),
    "expressed": ("EXPRESSED", "Intent"),
}
CUSTOMERS_OF = (cypher.TIES_OF, cypher.PROFILES_OF, cypher.SPOKEN_OF)
RELATIONSHIPS = (*(relationship for relationship, _ in TIES.values()), "ATTRACTS", "SHARES_CUSTOMERS")
BATCH_ROWS = 5000
BATCH_BYTES = 4 * 1024 * 1024
BATCH_IDS = 1000
BATCH_CAMPAIGNS = 50
WAKE_S = 4.0
WAKE_AGAIN_S = 0.2

Answer = TypeVar("Answer")
Rows = list[list[Any]]
Numbers = dict[str, dict[str, int]]
Work = Callable[[AsyncManagedTransaction], Awaitable[Answer]]


def _retryable(error: Any) -> type[StoreError]:
    """What the server itself says of the error, as of a login that it throttles."""
    return Unavailable if error.is_retryable() else ContractBroken


NEO4J_ERRORS: DriverErrors = {
    exceptions.ClientError: _retryable,
    exceptions.DatabaseError: ContractBroken,
    exceptions.TransientError: Unavailable,
    exceptions.Neo4jError: _retryable,
    exceptions.ServiceUnavailable: Unavailable,
    exceptions.SessionExpired: Unavailable,
    exceptions.ConnectionPoolError: Unavailable,
    exceptions.ConfigurationError: ContractBroken,
    exceptions.SessionError: ContractBroken,
    exceptions.TransactionError: ContractBroken,
    exceptions.ResultError: ContractBroken,
    exceptions.BrokenRecordError: ContractBroken,
    exceptions.DriverError: ContractBroken,
    exceptions.GqlError: ContractBroken,
    TimeoutError: Unavailable,
}


class CampaignNode(Struct, frozen=True, kw_only=True):
    """One campaign as it is stored: intent → customers who voiced it (`attracts`), campaign → customers in common (`shares`)."""

    known: bool
    name: str | None = None
    category: str | None = None
    attracts: dict[str, int] = {}
    shares: dict[str, int] = {}


def _open(settings: Settings, *, timeout_s: float) -> AsyncDriver:
    """A driver that connects on first use and gives up within about `timeout_s`."""
    return AsyncGraphDatabase.driver(
        settings.neo4j_url,
        auth=(settings.neo4j_user, settings.neo4j_password) if settings.neo4j_password else None,
        connection_timeout=timeout_s,
        connection_acquisition_timeout=timeout_s,
        max_transaction_retry_time=timeout_s,
        liveness_check_timeout=30,
        max_connection_pool_size=32,
        notifications_min_severity="OFF",
        telemetry_disabled=True,
    )


async def _rows(tx: AsyncManagedTransaction, text: str, **parameters: Any) -> Rows:
    return await (await tx.run(text, parameters)).values()


def _batches(customers: Iterable[CustomerTies]) -> Iterator[list[CustomerTies]]:
    """The customers in order, each batch of at most 5,000 ties and 4 MiB unless a single customer has more."""
    batch: list[CustomerTies] = []
    rows = size = 0
    for customer in customers:
        ends = [end for field in TIES for end in getattr(customer, field)]
        said = [*customer.words, *customer.channels]
        more = sum(len(customer.user_id) + 4 * len(each) + 64 for each in (*ends, *said))  # 4: a character takes up to four bytes
        more += sum(9 * len(tally.times_ms) for tally in customer.shown.values()) + 4 * len(str(as_properties(customer)))
        if batch and (rows + len(ends) + 1 > BATCH_ROWS or size + more > BATCH_BYTES):
            yield batch
            batch, rows, size = [], 0, 0
        batch.append(customer)
        rows, size = rows + len(ends) + 1, size + more
    if batch:
        yield batch


def _chunks(items: Sequence[Any], size: int) -> Iterator[Any]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _as_customers(rows: Rows, profiles: Rows, spoken: Rows) -> dict[str, CustomerTies]:
    """The rows of `cypher.TIES_OF`, `cypher.PROFILES_OF` and `cypher.SPOKEN_OF`, by customer."""
    fields = {relationship: field for field, (relationship, _) in TIES.items()}
    found: dict[str, dict[str, dict[str, Tally]]] = {}
    for user_id, relationship, end, count, weight, last_at, times in rows:
        kinds = found.setdefault(user_id, {})
        if relationship is not None:
            tally = Tally(count=count, weight=weight, last_at_ms=last_at, times_ms=tuple(times or ()))
            kinds.setdefault(fields[relationship], {})[end] = tally
    known = {user_id: of_properties(properties) for user_id, *properties in profiles}
    said = {user_id: lists for user_id, *lists in spoken}
    return {
        user_id: CustomerTies(
            user_id=user_id,
            profile=known[user_id][0],
            mailed=known[user_id][1],
            words={tie.word: _said(tie) for tie in _words(said[user_id])},
            channels=_channels(said[user_id]),
            **kinds,
        )
        for user_id, kinds in found.items()
        if user_id in known and user_id in said
    }


def _said(tie: WordTie) -> Tally:
    return Tally(count=tie.count, weight=0.0, last_at_ms=tie.last_at_ms)


def _words(lists: Sequence[Any]) -> tuple[WordTie, ...]:
    """The words of the five lists that a customer keeps."""
    words, counts, times, _, _ = lists
    return tuple(map(WordTie, words or (), counts or (), times or ()))


def _channels(lists: Sequence[Any]) -> dict[str, int]:
    """The channels of the five lists that a customer keeps."""
    return dict(zip(lists[3] or (), lists[4] or (), strict=True))


def _spoken(customer: CustomerTies) -> list[Any]:
    """One row of `cypher.PUT_SPOKEN`: the customer, and the five lists."""
    counts, times = ([getattr(tally, name) for tally in customer.words.values()] for name in ("count", "last_at_ms"))
    lists = (list(customer.words), counts, times, list(customer.channels), list(customer.channels.values()))
    return [customer.user_id, *(each or None for each in lists)]


async def _replace(tx: AsyncManagedTransaction, *, batch: Sequence[CustomerTies]) -> list[str]:
    """Writes only what differs from what is stored, in one transaction with reading that: a tie that is not there is created, since
    to MERGE one takes longer the more ties the customer has.

    Gives the customers whose profile is another one now.
    """
    ids = [customer.user_id for customer in batch]
    stored = _as_customers(*[await _rows(tx, text, ids=ids) for text in CUSTOMERS_OF])
    for text, parameters in _changes(batch, stored):
        await (await tx.run(text, parameters)).consume()
    return [each.user_id for each in batch if each.profile != getattr(stored.get(each.user_id), "profile", Profile())]


def _changes(batch: Sequence[CustomerTies], stored: Mapping[str, CustomerTies]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The statements that make `stored` equal to `batch`: nodes, what they said, new ties, changed ones, and last the stale ones."""
    ends: dict[str, set[str]] = {label: set() for label in LABELS}
    ends["User"] = {customer.user_id for customer in batch} - stored.keys()
    ties: list[tuple[str, list[Any]]] = []
    stale: list[tuple[str, list[Any]]] = []
    for field, (relationship, label) in TIES.items():
        new, changed, gone = [], [], []
        for customer in batch:
            wanted: dict[str, Tally] = getattr(customer, field)
            had: dict[str, Tally] = getattr(stored.get(customer.user_id), field, {})
            new += [[customer.user_id, end, *_values(tally)] for end, tally in wanted.items() if end not in had]
            differs = {end: _values(tally) for end, tally in wanted.items() if had.get(end, tally) != tally}
            changed += [[customer.user_id, differs]] if differs else []
            gone += [[customer.user_id, list(left)]] if (left := had.keys() - wanted.keys()) else []
        ends[label].update(row[1] for row in new)
        where = {"relationship": relationship, "label": label}
        ties += [(cypher.PUT_TIES.format(**where), new), (cypher.CHANGE_TIES.format(**where), changed)]
        stale.append((cypher.DROP_TIES.format(**where), gone))
    nodes = [(text, [[id_] for id_ in sorted(ends[label])]) for label, text in cypher.PUT_NODES.items()]
    nodes.append((cypher.PUT_PROFILES, list(_new_profiles(batch, stored))))
    nodes.append((cypher.PUT_SPOKEN, [_spoken(customer) for customer in batch if _said_other(customer, stored.get(customer.user_id))]))
    for text, rows in (*nodes, *ties, *stale):
        yield from ((text, {"rows": chunk}) for chunk in _chunks(rows, BATCH_ROWS))


def _new_profiles(batch: Sequence[CustomerTies], stored: Mapping[str, CustomerTies]) -> Iterator[list[Any]]:
    """The rows of `cypher.PUT_PROFILES` for those whose profile or mailings differ from what is stored."""
    for customer in batch:
        had = as_properties(stored.get(customer.user_id, CustomerTies(user_id=customer.user_id)))
        if (wanted := as_properties(customer)) != had:
            yield [customer.user_id, *wanted]


def _said_other(customer: CustomerTies, stored: CustomerTies | None) -> bool:
    """Whether a customer's words or channels are to be written, their order told apart too: it says which are the most used."""
    return _spoken(customer) != _spoken(stored or CustomerTies(user_id=customer.user_id))


def _by_first(rows: Rows) -> Numbers:
    """Rows (id, other, number) as {id: {other: number}}."""
    found: Numbers = {}
    for id_, other, value in rows:
        found.setdefault(id_, {})[other] = value
    return found


def _values(tally: Tally) -> list[Any]:
    return [tally.count, float(tally.weight), tally.last_at_ms, list(tally.times_ms) or None]


class Graph:
    """The writing side. Connects on first use; every transaction ends within `write_timeout_s`.

    The driver's blocking half can wait for an answer without end, so this uses the other one, on an event loop of its own:
    a call that takes too long is cancelled. Each batch is one transaction, which may be repeated.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._timeout_s = settings.write_timeout_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._driver: AsyncDriver | None = None
        self._starting = threading.Lock()

    def close(self) -> None:
        """Closes the connections, if there are any."""
        with self._starting:
            loop, driver, self._loop, self._driver = self._loop, self._driver, None, None
        if loop is not None:
            if driver is not None:
                asyncio.run_coroutine_threadsafe(driver.close(), loop).result(self._timeout_s)
            loop.call_soon_threadsafe(loop.stop)

    def _do(self, work: Work[Answer], *, access: str = WRITE_ACCESS) -> Answer:
        with self._starting:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name="neo4j", daemon=True).start()
            loop = self._loop
        with translated("neo4j", NEO4J_ERRORS):
            return asyncio.run_coroutine_threadsafe(self._bounded(work, access), loop).result()

    async def _bounded(self, work: Work[Answer], access: str) -> Answer:
        if self._driver is None:
            self._driver = _open(self._settings, timeout_s=self._timeout_s)
        async with asyncio.timeout(self._timeout_s):
            async with self._driver.session(database=self._settings.neo4j_database, default_access_mode=access) as session:
                return await (session.execute_read(work) if access == READ_ACCESS else session.execute_write(work))

    def _write(self, *statements: tuple[str, dict[str, Any]]) -> None:
        """Runs the statements as one transaction."""

        async def write(tx: AsyncManagedTransaction) -> None:
            for text, parameters in statements:
                await (await tx.run(text, parameters)).consume()

        self._do(write)

    def _read(self, text: str, **parameters: Any) -> Rows:
        async def read(tx: AsyncManagedTransaction) -> Rows:
            return await _rows(tx, text, **parameters)

        return self._do(read, access=READ_ACCESS)

    def ping(self) -> None:
        """Raises Unavailable where Neo4j does not answer."""
        self._read("RETURN 1")

    def prepare(self) -> None:
        """Creates what is missing: the constraints, each a statement of its own, and the schema version. Idempotent.

        Raises:
            ContractBroken: the state is of another schema version.
        """
        for label in (*LABELS, "Platform"):
            self._write((f"CREATE CONSTRAINT {label.lower()}_id IF NOT EXISTS FOR (node:{label}) REQUIRE node.id IS UNIQUE", {}))
        found = self.stamp("schema_version")
        if found not in {None, str(SCHEMA_VERSION)}:
            raise ContractBroken("neo4j", f"its schema is of version {found}, this program needs version {SCHEMA_VERSION}")
        if found is None:
            self.set_stamp("schema_version", str(SCHEMA_VERSION))

    def stamp(self, name: str) -> str | None:
        """The text last set under this name; None where there is none."""
        found = self._read("MATCH (stamp:Platform {id: $name}) RETURN stamp.value", name=name)
        return str(found[0][0]) if found else None

    def set_stamp(self, name: str, value: str) -> None:
        """Sets the text under this name."""
        self._write(("MERGE (stamp:Platform {id: $name}) SET stamp.value = $value", {"name": name, "value": value}))

    def nodes(self) -> dict[str, int]:
        """How many nodes each label has."""
        return {label: self._read(f"MATCH (node:{label}) RETURN count(node)")[0][0] for label in LABELS}

    def counts(self) -> dict[str, int]:
        """How many nodes each label has and how many relationships each type: a scan of all."""
        return self.nodes() | {name: self._read(f"MATCH ()-[tie:{name}]->() RETURN count(tie)")[0][0] for name in RELATIONSHIPS}

    def put_campaigns(self, campaigns: Sequence[Campaign]) -> None:
        """Writes these campaigns over what was known of them. Idempotent."""
        rows = [[campaign.campaign_id, campaign.name, campaign.category] for campaign in campaigns]
        for chunk in _chunks(rows, BATCH_IDS):
            self._write((cypher.PUT_CAMPAIGNS, {"rows": chunk}))

    def delete_campaigns(self, campaign_ids: Iterable[str]) -> None:
        """Forgets these campaigns; one that customers are still tied to stays, as unknown. Idempotent."""
        for chunk in _chunks(list(campaign_ids), BATCH_IDS):
            self._write(*((text, {"ids": chunk}) for text in cypher.FORGET_CAMPAIGNS))

    def put_customers(self, customers: Sequence[CustomerTies]) -> list[str]:
        """Makes these customers' ties exactly the given ones: new and changed ones first, stale ones removed last. Idempotent.

        A reader sees a batch whole: all its customers before or after. Run `refresh_attraction` afterwards for the campaigns that
        `campaigns_affected` named before. Gives the customers whose profile is another one than before.
        """
        return [user_id for batch in _batches(customers) for user_id in self._do(partial(_replace, batch=batch))]

    def delete_customers(self, user_ids: Iterable[str]) -> None:
        """Removes these customers with all their ties; unknown ones are passed over. Idempotent."""
        for chunk in _chunks(list(user_ids), BATCH_IDS):
            self._write(("MATCH (user:User) WHERE user.id IN $ids DETACH DELETE user", {"ids": chunk}))

    def campaigns_affected(self, customers: Sequence[CustomerTies]) -> set[str]:
        """The campaigns that writing these customers gives other figures: those that win or lose one of them, and all campaigns of
        one who voices other intents than before. How often and how lately plays no part. To be asked before they are written.
        """
        affected: set[str] = set()
        for chunk in _chunks(customers, BATCH_IDS):
            stored: dict[tuple[str, str], set[str]] = {}
            for user_id, relationship, end in self._read(cypher.REACH_OF, ids=[each.user_id for each in chunk]):
                stored.setdefault((user_id, relationship), set()).add(end)
            for each in chunk:
                engaged, voiced = (stored.get((each.user_id, relationship), set()) for relationship in ("ENGAGED_WITH", "EXPRESSED"))
                affected |= engaged ^ each.engaged_with.keys()
                affected |= each.engaged_with.keys() if voiced != each.expressed.keys() else set()
        return affected

    def refresh_attraction(self, campaign_ids: Iterable[str]) -> None:
        """Computes ATTRACTS and SHARES_CUSTOMERS of these campaigns anew from the ties, and what others share with them. Idempotent.

        Only what differs is written. Of another campaign's list no more is counted than its numbers with these campaigns, unless
        one of them fell behind the last that a full list shows.
        """
        ids, unclear = set(campaign_ids), set[str]()
        for chunk in _chunks(sorted(ids), BATCH_CAMPAIGNS):
            attracts, shared = self._counted(chunk)
            self._put_computed("ATTRACTS", {id_: attracts.get(id_, {}) for id_ in chunk})
            self._put_computed("SHARES_CUSTOMERS", {id_: most_shared(shared.get(id_, {}), SHARED_CAMPAIGNS) for id_ in chunk})
            unclear |= self._mend_others(chunk, shared, besides=ids)
        for chunk in _chunks(sorted(unclear), BATCH_CAMPAIGNS):
            _, shared = self._counted(chunk)
            self._put_computed("SHARES_CUSTOMERS", {id_: most_shared(shared.get(id_, {}), SHARED_CAMPAIGNS) for id_ in chunk})

    def _counted(self, ids: Sequence[str]) -> tuple[Numbers, Numbers]:
        """How many customers of each of these campaigns voiced each intent, and how many engaged with each other campaign too."""
        attracts = self._read(cypher.COUNT_ATTRACTS, ids=ids)
        return _by_first(attracts), _by_first(self._read(cypher.COUNT_SHARED, ids=ids, fewest=FEWEST_SHARED))

    def _mend_others(self, ids: Sequence[str], shared: Numbers, *, besides: set[str]) -> set[str]:
        """Sets right what campaigns that are not among `besides` share with these; gives those of which that cannot be told."""
        now: Numbers = {}
        stored = _by_first(self._read(cypher.SHARED_BY, ids=ids))
        for id_ in ids:
            said, counted = stored.get(id_, {}), shared.get(id_, {})
            for other in (said.keys() | counted.keys()) - besides:
                if said.get(other) != counted.get(other):
                    now.setdefault(other, {})[id_] = counted.get(other, 0)
        unclear = set[str]()
        for chunk in _chunks(sorted(now), BATCH_CAMPAIGNS):
            had = _by_first(self._read(cypher.SHARES_OF, ids=chunk))
            lists = {other: mended(had.get(other, {}), now[other], SHARED_CAMPAIGNS) for other in chunk}
            unclear |= {other for other, found in lists.items() if found is None}
            self._put_computed("SHARES_CUSTOMERS", {other: found for other, found in lists.items() if found is not None}, had)
        return unclear

    def _put_computed(self, relationship: str, wanted: Numbers, had: Numbers | None = None) -> None:
        """Makes the computed ties of these campaigns exactly the given ones; `had`, where given, are those stored."""
        stored_of, put, drop = cypher.COMPUTED[relationship]
        had = _by_first(self._read(stored_of, ids=list(wanted))) if had is None else had
        rows = [[id_, *tie] for id_, ties in wanted.items() for tie in ties.items() - had.get(id_, {}).items()]
        gone = [[id_, list(left)] for id_, ties in wanted.items() if (left := had.get(id_, {}).keys() - ties.keys())]
        statements = [(text, {"rows": some}) for text, some in ((put, rows), (drop, gone)) if some]
        if statements:
            self._write(*statements)

    def ties(self, user_ids: Iterable[str]) -> dict[str, CustomerTies]:
        """What is stored of these customers; those not stored are left out."""
        found: dict[str, CustomerTies] = {}
        for chunk in _chunks(list(user_ids), BATCH_IDS):
            found |= _as_customers(*(self._read(text, ids=chunk) for text in CUSTOMERS_OF))
        return found

    def campaigns(self, campaign_ids: Iterable[str]) -> dict[str, CampaignNode]:
        """What is stored of these campaigns and computed for them; those not stored are left out."""
        found: dict[str, CampaignNode] = {}
        for chunk in _chunks(list(campaign_ids), BATCH_CAMPAIGNS):
            attracts, shares = (_by_first(self._read(text, ids=chunk)) for text in (cypher.ATTRACTS_OF, cypher.SHARES_OF))
            for id_, known, name, category in self._read(cypher.CAMPAIGN_NODES, ids=chunk):
                found[id_] = CampaignNode(
                    known=bool(known), name=name, category=category, attracts=attracts.get(id_, {}), shares=shares.get(id_, {})
                )
        return found

    def user_ids(self) -> Iterator[str]:
        """The ids of all customers, in order, in bounded memory."""
        return self._ids("User")

    def campaign_ids(self) -> Iterator[str]:
        """The ids of all campaigns, unknown ones too, in order, in bounded memory."""
        return self._ids("Campaign")

    def intent_ids(self) -> Iterator[str]:
        """The ids of all intents, in order, in bounded memory."""
        return self._ids("Intent")

    def _ids(self, label: str) -> Iterator[str]:
        last, page = "", f"MATCH (node:{label}) WHERE node.id > $last RETURN node.id ORDER BY node.id LIMIT $rows"
        while rows := self._read(page, last=last, rows=BATCH_ROWS):
            yield from (row[0] for row in rows)
            last = rows[-1][0]

    def problems(self, user_ids: Sequence[str] | None = None) -> list[str]:
        """One sentence for each thing that must not be: ids missing or double, ties double, half-written or ending nowhere.

        In the whole graph; or, where `user_ids` are given, at these customers and the ties that leave them.
        """
        if user_ids is None:
            return [sentence.format(*row) for text, sentence in cypher.problems_anywhere(LABELS, TIES.values()) for row in self._read(text)]
        texts = list(cypher.problems_of_customers(TIES.values()))
        chunks = _chunks(user_ids, BATCH_IDS)
        return [sentence.format(*row) for ids in chunks for text, sentence in texts for row in self._read(text, ids=ids)]

    def sweep(self) -> None:
        """Removes campaigns that are neither known nor tied to a customer, and intents that nobody voices."""
        for text in cypher.SWEEP:
            self._write((text, {}))


class GraphReader:
    """The reading side, for one event loop. Connects on first use; every call ends within `read_timeout_s`, connecting included.

    A Neo4j that does not answer is left alone for a moment, and its readers are told at once.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._driver: AsyncDriver | None = None
        self._breaker = Breaker("neo4j")
        self._asleep = False
        self._waking: asyncio.Task[None] | None = None

    async def close(self) -> None:
        """Closes the connections, if there are any."""
        if self._waking is not None:
            self._waking.cancel()
        if self._driver is not None:
            await self._driver.close()
            self._driver = None

    async def _rows(self, text: str, **parameters: Any) -> Rows:
        if self._asleep:
            raise Unavailable("neo4j", "did not answer lately, and is being waited for")
        try:
            with self._breaker, translated("neo4j", NEO4J_ERRORS):
                return await self._ask(text, parameters, timeout_s=self._settings.read_timeout_s)
        except Unavailable:
            if self._breaker.is_open and not self._asleep:
                self._asleep, self._waking = True, asyncio.create_task(self._wake())
            raise

    async def _ask(self, text: str, parameters: dict[str, Any], *, timeout_s: float) -> Rows:
        if self._driver is None:
            self._driver = _open(self._settings, timeout_s=self._settings.read_timeout_s)
        async with asyncio.timeout(timeout_s):
            async with self._driver.session(database=self._settings.neo4j_database, default_access_mode=READ_ACCESS) as session:
                return await (await session.run(text, parameters)).values()

    async def _wake(self) -> None:
        """Asks what readers ask until it is answered, and waits longer for it than they may: a server that has just begun answers no
        first question in their time, and would begin again with the next one."""
        while self._asleep:
            with suppress(StoreError), translated("neo4j", NEO4J_ERRORS):
                await self._ask(cypher.AROUND, {"user": "", "neighbours": [], "limit": 1}, timeout_s=WAKE_S)
                self._asleep = False
                self._breaker.close()
            await asyncio.sleep(WAKE_AGAIN_S)
        with suppress(StoreError), translated("neo4j", NEO4J_ERRORS):
            for text in (cypher.TIES_OF, cypher.ENGAGED, cypher.COMPANIONS, cypher.ATTRACTED):
                await self._ask(text, {"ids": [""]}, timeout_s=WAKE_S)

    async def ping(self) -> None:
        """Raises Unavailable where Neo4j does not answer."""
        await self._rows("RETURN 1")

    async def around(self, user_id: str, neighbour_ids: Sequence[str], *, limit: int) -> Surroundings:
        """Everything around one customer, in one query.

        Complete are the customer's own ties. Of each neighbour, each campaign in common and each intent the `limit` strongest
        are given, the strongest first, then by campaign_id. What the customer did counts nowhere but in `own`.
        """
        neighbours = [each for each in neighbour_ids if each != user_id]
        [row] = await self._rows(cypher.AROUND, user=user_id, neighbours=neighbours, limit=limit)
        return _surroundings(row)

    async def around_several(self, neighbour_ids: Mapping[str, Sequence[str]], *, limit: int) -> dict[str, Surroundings]:
        """What `around` gives for each of these customers, in six queries for all of them. `neighbour_ids` by customer."""
        distinct = sorted({neighbour for near in neighbour_ids.values() for neighbour in near})
        own, profiles, spoken, engaged = await asyncio.gather(
            *(self._rows(text, ids=list(neighbour_ids)) for text in CUSTOMERS_OF), self._rows(cypher.ENGAGED, ids=distinct)
        )
        customers = _as_customers(own, profiles, spoken)
        campaigns = sorted({campaign_id for each in customers.values() for campaign_id in each.engaged_with})
        intents = sorted({intent for each in customers.values() for intent in each.expressed})
        companions, attracted = await asyncio.gather(
            self._rows(cypher.COMPANIONS, ids=campaigns), self._rows(cypher.ATTRACTED, ids=intents)
        )
        parts = SharedParts(
            neighbours={user: strongest(user, ties, limit=limit) for user, ties in engaged},
            companions={via: most_first(counted) for via, counted in companions},
            attracted={intent: most_first(counted) for intent, counted in attracted},
        )
        found = {}
        for user_id, near in neighbour_ids.items():
            others = [each for each in near if each != user_id]
            if (ties := customers.get(user_id)) is None:
                found[user_id] = Surroundings(neighbours=neighbours_ties(others, parts))
            else:
                found[user_id] = surroundings(ties, _own_ties_of(ties), others, parts, limit=limit)
        return found


def _surroundings(row: Sequence[Any]) -> Surroundings:
    """What one row of `cypher.AROUND` says."""
    known, own, profiles, ties, co_engaged, intents, expressed, spoken = row
    profile, mailed = of_properties(profiles[0]) if profiles else (Profile(), ())
    return Surroundings(
        known=known,
        own=_own_ties(own),
        profile=profile,
        mailed=mailed,
        neighbours=tuple(NeighbourTie(user_id=user, campaign_id=id_, weight=weight) for user, some in ties for id_, weight in some),
        co_engaged=tuple(CoEngagement(campaign_id=id_, via=via, customers=n) for via, some in co_engaged for id_, n in some),
        intents=tuple(IntentTie(intent=intent, campaign_id=id_, customers=n) for intent, some in intents for id_, n in some),
        expressed=dict(sorted(expressed)),
        words=tuple(tie for lists in spoken for tie in _words(lists)),
        channels={channel: n for lists in spoken for channel, n in _channels(lists).items()},
    )


def _own_ties(rows: Rows) -> tuple[OwnTie, ...]:
    """The customer's ties as one per campaign, by campaign_id."""
    fields: dict[str, dict[str, Any]] = {}
    for campaign_id, kind, count, weight, last_at, times in rows:
        tie = fields.setdefault(campaign_id, {})
        if kind == "ENGAGED_WITH":
            tie.update(count=count, weight=weight, last_at_ms=last_at)
        elif kind == "SHOWN":
            tie.update(shown=count, shown_at_ms=tuple(times or ()))
        else:
            tie[f"{kind.lower()}_at_ms"] = last_at
    return tuple(OwnTie(campaign_id=campaign_id, **tie) for campaign_id, tie in sorted(fields.items()))


def _own_ties_of(ties: CustomerTies) -> tuple[OwnTie, ...]:
    """The same, from what the graph holds of the customer."""
    kinds = {field: relationship for field, (relationship, label) in TIES.items() if label == "Campaign"}
    return _own_ties(
        [
            [end, kind, tally.count, tally.weight, tally.last_at_ms, tally.times_ms]
            for field, kind in kinds.items()
            for end, tally in getattr(ties, field).items()
        ]
    )
