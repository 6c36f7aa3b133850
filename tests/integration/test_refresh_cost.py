"""What a refresh costs follows what is new: counted in what it reads of each store, since seconds depend on the machine."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

import pytest
from sqlalchemy import Engine, event

from platform_assets.assets.vectors import PREVIEWED
from stores.graph import Graph
from stores.mongodb import Database
from stores.settings import Settings
from stores.vectors import Vectors
from tests.integration.refreshing import CAMPAIGNS, drop, load, refresh, said

TEXT = "Is the two person tent waterproof?"
CROWD = PREVIEWED + 10  # the picture of some customers is drawn from as many of them, however many there are


def crowd(start: int, end: int) -> list[dict[str, object]]:
    """One engagement each of customers who share nothing with those who come later but the text."""
    when = {"timestamp": "2026-01-01T08:00:00Z", "message": TEXT, "intent": "interest"}
    return [{"message_id": f"crowd{n}", "user_id": f"u_{n}", "campaign_id": f"c_crowd_{n % 7}"} | when for n in range(start, end)]


def news(customer: int, campaign: str) -> list[dict[str, object]]:
    """Two records of one customer of the crowd, who engages with a campaign that nobody else did."""
    base = {"user_id": f"u_{customer}", "timestamp": "2026-01-02T08:00:00Z", "intent": "interest"}
    clicked = {"message_id": f"click{customer}", "event": "click", "campaign_id": campaign}
    return [base | clicked, base | {"message_id": f"said{customer}", "message": TEXT}]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """How much was read of each store, in documents, rows and vectors, and how many statements read or wrote entries of a ledger."""
    counts: Counter[str] = Counter()

    def counting(store: str, read: Callable[..., Iterable[object]]) -> Callable[..., Iterator[object]]:
        def counted(*args: object, **named: object) -> Iterator[object]:
            for row in read(*args, **named):
                counts[store] += 1
                yield row

        return counted

    def whole(store: str, read: Callable[..., Iterable[object]]) -> Callable[..., list[object]]:
        return lambda *args, **named: list(counting(store, read)(*args, **named))

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        counts["ledger"] += "ledger.store" in statement

    monkeypatch.setattr(Database, "find", counting("mongodb", Database.find))
    monkeypatch.setattr(Graph, "_read", whole("neo4j", Graph._read))
    monkeypatch.setattr(Vectors, "_fetch", whole("milvus", Vectors._fetch))
    event.listen(Engine, "before_cursor_execute", note)
    yield counts
    event.remove(Engine, "before_cursor_execute", note)


def test_what_a_refresh_reads_follows_what_is_new(settings: Settings, seen: Counter[str]) -> None:
    load(settings, *CAMPAIGNS, *crowd(0, CROWD))

    def read_for(*entries: object) -> Counter[str]:
        seen.clear()
        drop(settings, *entries)
        result = refresh(settings)
        assert result.success
        assert said(result, "release")["outcome"] == "a new release"
        return Counter(seen)

    among_few = read_for(*news(0, "c_boots"))
    load(settings, *crowd(CROWD, 3 * CROWD))
    assert read_for(*news(1, "c_tents")) == among_few
    assert among_few["mongodb"] < 100


def test_a_refresh_with_nothing_new_reads_no_entry_of_a_ledger(settings: Settings, seen: Counter[str]) -> None:
    drop(settings, *CAMPAIGNS, *crowd(0, 5))
    assert refresh(settings).success
    assert refresh(settings).success
    seen.clear()
    assert refresh(settings).success
    assert seen["ledger"] == 3  # writes to MongoDB that were cut off are looked for, and settled: all by the index of such
