"""The ledger keeps its promises on SQLite and on PostgreSQL."""

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings, strategies
from sqlalchemy import Engine, event

from stores.errors import ContractBroken
from stores.ledger import Change, Entry, Head, Ledger, Totals, owners_of, rows, schema
from stores.sql import writing


@pytest.fixture
def ledger(sql_engine: Engine) -> Ledger:
    found = Ledger(sql_engine)
    found.prepare()
    return found


def entries(**hashes: str) -> list[Entry]:
    return [Entry(f"m:{name}", value, owner=f"u_{name}") for name, value in hashes.items()]


def follow(ledger: Ledger, *, source: str = "source", target: str = "target") -> list[Change]:
    """One whole refresh of the target."""
    changes = list(ledger.changes(source=source, target=target))
    ledger.intend(target, changes)
    ledger.note(target, changes, held={change.id for change in changes})
    ledger.settle(target)
    return changes


def test_an_empty_target_takes_up_everything_by_owner(ledger: Ledger) -> None:
    ledger.rewrite("source", entries(b="1", a="2", c="3"))
    assert list(ledger.changes(source="source", target="target")) == [
        Change("m:a", "2", "u_a"),
        Change("m:b", "1", "u_b"),
        Change("m:c", "3", "u_c"),
    ]


def test_a_target_that_followed_has_nothing_to_do_and_an_equal_digest(ledger: Ledger) -> None:
    ledger.rewrite("source", entries(a="1", b="2"))
    follow(ledger)
    assert list(ledger.changes(source="source", target="target")) == []
    assert ledger.digest("target") == ledger.digest("source") != ledger.digest("empty")


def test_changed_new_and_deleted_entries_are_the_only_ones_seen(ledger: Ledger) -> None:
    ledger.rewrite("source", entries(same="1", changed="1", deleted="1"))
    follow(ledger)
    ledger.rewrite("source", entries(same="1", changed="2", new="1"))
    assert set(ledger.changes(source="source", target="target")) == {
        Change("m:changed", "2", "u_changed"),
        Change("m:deleted", None, "u_deleted"),
        Change("m:new", "1", "u_new"),
    }


def test_an_entry_that_changes_hands_names_both_owners(ledger: Ledger) -> None:
    ledger.rewrite("source", [Entry("m:a", "1", owner="u_old")])
    follow(ledger)
    ledger.rewrite("source", [Entry("m:a", "2", owner="u_new")])
    changes = list(ledger.changes(source="source", target="target"))
    assert changes == [Change("m:a", "2", "u_new", former_owner="u_old")]
    assert owners_of(changes) == ["u_new", "u_old"]


@pytest.mark.parametrize("stage", ["intended", "noted"])
def test_a_write_that_was_cut_off_is_taken_up_again(ledger: Ledger, stage: str) -> None:
    ledger.rewrite("source", entries(a="1", b="1"))
    changes = list(ledger.changes(source="source", target="target"))
    ledger.intend("target", changes)
    if stage == "noted":
        ledger.note("target", changes, held={"m:a", "m:b"})
    assert [change.id for change in ledger.changes(source="source", target="target")] == ["m:a", "m:b"]
    assert ledger.extent("target").unsettled == 2


def test_what_may_have_been_written_is_dropped_when_its_source_vanishes(ledger: Ledger) -> None:
    """Without writing ahead, a crash after the store's write would leave a row that nobody remembers."""
    ledger.rewrite("source", entries(a="1"))
    ledger.intend("target", list(ledger.changes(source="source", target="target")))
    ledger.rewrite("source", [])
    assert list(ledger.changes(source="source", target="target")) == [Change("m:a", None, "u_a")]


def test_a_change_of_hands_that_was_cut_off_still_names_the_former_owner(ledger: Ledger) -> None:
    ledger.rewrite("source", [Entry("m:a", "1", owner="u_old")])
    follow(ledger)
    ledger.rewrite("source", [Entry("m:a", "2", owner="u_new")])
    changes = list(ledger.changes(source="source", target="target"))
    ledger.intend("target", changes)
    ledger.note("target", changes, held={"m:a"})
    assert list(ledger.changes(source="source", target="target")) == changes


def test_extent_counts_settled_rows_and_owners_and_allows_for_the_rest(ledger: Ledger) -> None:
    ledger.rewrite("source", entries(a="1", b="1", c="1"))
    changes = list(ledger.changes(source="source", target="target"))
    ledger.intend("target", changes)
    ledger.note("target", changes, held={"m:a", "m:b"})
    before = ledger.extent("target")
    ledger.settle("target")
    after = ledger.extent("target")
    assert (before.rows, before.held, before.owners, before.unsettled, before.all_owners) == (3, 0, 0, 3, 3)
    assert (after.rows, after.held, after.owners, after.unsettled, after.all_owners) == (3, 2, 2, 0, 3)


def scanned(engine: Engine, ask: Callable[[], object]) -> int:
    """How many statements that read or write entries it takes to ask."""
    seen: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        seen.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    ask()
    event.remove(engine, "before_cursor_execute", note)
    return sum("ledger.store" in statement for statement in seen)


def test_once_counted_a_ledger_is_not_scanned_again_until_it_changes(ledger: Ledger, sql_engine: Engine) -> None:
    ledger.rewrite("source", entries(a="1", b="1"))
    assert scanned(sql_engine, lambda: ledger.digest("source")) > 0
    before = ledger.keep_totals("source")
    for ask in (lambda: ledger.digest("source"), lambda: ledger.extent("source"), lambda: ledger.keep_totals("source")):
        assert scanned(sql_engine, ask) == 0
    ledger.settle("source")  # nothing is unsettled
    assert (ledger.digest("source"), ledger.extent("source")) == (before.digest, before.extent)
    assert scanned(sql_engine, lambda: ledger.digest("source")) == 0
    ledger.intend("source", [Change("m:a", "2", "u_a")])
    assert ledger.extent("source").unsettled == 1
    assert ledger.digest("source") != before.digest


CHANGING: dict[str, Callable[[Ledger], None]] = {
    "intend": lambda ledger: ledger.intend("source", [Change("m:c", "1", "u_c")]),
    "distrust": lambda ledger: ledger.distrust("source"),
    "rewrite": lambda ledger: ledger.rewrite("source", entries(a="2")),
    "drop_owner": lambda ledger: ledger.drop_owner("source", "u_a"),
    "forget": lambda ledger: ledger.forget("source"),
}


@pytest.mark.parametrize("change", CHANGING)
def test_whatever_changes_a_ledger_ends_what_was_kept_of_it(ledger: Ledger, change: str) -> None:
    ledger.rewrite("source", entries(a="1", b="1"))
    before = ledger.keep_totals("source")
    CHANGING[change](ledger)
    assert ledger.totals_hold("source")
    assert (ledger.digest("source"), ledger.extent("source")) != (before.digest, before.extent)
    assert ledger.keep_totals("source") == Totals(ledger.digest("source"), ledger.extent("source"))


def test_settling_ends_what_was_kept_while_a_write_was_unsettled(ledger: Ledger) -> None:
    changes = [Change("m:a", "1", "u_a")]
    ledger.intend("target", changes)
    ledger.note("target", changes, held={"m:a"})
    assert ledger.keep_totals("target").extent.unsettled == 1
    ledger.settle("target")
    assert ledger.totals_hold("target")
    assert ledger.extent("target").held == 1


def test_totals_that_are_not_those_of_the_entries_are_told(ledger: Ledger, sql_engine: Engine) -> None:
    ledger.rewrite("source", entries(a="1"))
    ledger.keep_totals("source")
    with writing(sql_engine) as connection:
        connection.execute(rows.update().values(content_hash="2", mark=2))
    assert not ledger.totals_hold("source")


def test_a_distrusted_store_takes_up_everything_and_drops_what_only_it_holds(ledger: Ledger) -> None:
    ledger.rewrite("source", entries(a="1", b="1"))
    follow(ledger)
    ledger.distrust("target", iter([("m:a", "u_a"), ("m:ghost", "u_ghost")]))
    assert set(ledger.changes(source="source", target="target")) == {
        Change("m:a", "1", "u_a"),
        Change("m:b", "1", "u_b"),
        Change("m:ghost", None, "u_ghost"),
    }


def test_entries_are_read_by_id_and_an_unsettled_one_has_no_hash(ledger: Ledger) -> None:
    ledger.rewrite("source", entries(b="1", c="3", a="2"))
    ledger.intend("source", [Change("m:b", "4", "u_b")])
    assert list(ledger.entries("source")) == [Entry("m:a", "2", "u_a"), Entry("m:b", "", "u_b"), Entry("m:c", "3", "u_c")]
    assert list(ledger.owners("source")) == ["u_a", "u_b", "u_c"]
    assert ledger.known("source", ["m:a", "m:x", "m:b"]) == {"m:a", "m:b"}
    assert list(ledger.entries("another")) == []


def test_a_ledger_is_written_while_it_is_read(ledger: Ledger) -> None:
    ledger.rewrite("source", entries(**{f"n{n}": "1" for n in range(2500)}))
    ledger.rewrite("target", ledger.entries("source"))
    assert ledger.digest("target") == ledger.digest("source")


def test_touched_keys_last_until_they_are_settled(ledger: Ledger) -> None:
    ledger.touch("target", {"c_2", "c_1"})
    ledger.touch("target", {"c_2", "c_3"})
    assert ledger.touched("target") == ["c_1", "c_2", "c_3"]
    ledger.settle("target")
    assert ledger.touched("target") == []


def test_a_forgotten_ledger_is_gone_and_others_stay(ledger: Ledger) -> None:
    for store in ("one", "two"):
        ledger.rewrite(store, entries(a="1"))
        ledger.set_head(store, Head("v", "stamp"))
    ledger.forget("one")
    assert ledger.stores() == ["two"]
    assert (ledger.ids("one"), ledger.ids("two")) == ([], ["m:a"])


def test_tables_of_another_version_are_refused(ledger: Ledger, sql_engine: Engine) -> None:
    with writing(sql_engine) as connection:
        connection.execute(schema.update().values(version=99))
    with pytest.raises(ContractBroken, match="schema version 99"):
        ledger.prepare()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    history=strategies.lists(
        strategies.tuples(
            strategies.dictionaries(strategies.sampled_from("abcdef"), strategies.sampled_from(["1", "2", "3"])),
            strategies.sampled_from(["whole", "intended", "noted"]),
        ),
        max_size=5,
    ),
    final=strategies.dictionaries(strategies.sampled_from("abcdef"), strategies.sampled_from(["1", "2", "3"])),
)
def test_after_any_history_of_cut_off_refreshes_the_next_one_ends_equal(
    sql_engine: Engine, history: list[tuple[dict[str, str], str]], final: dict[str, str]
) -> None:
    """A model store, written between `intend` and `note`, equals its source after the first refresh that ends."""
    ledger, store = Ledger(sql_engine), {}
    ledger.prepare()
    ledger.rewrite("source", [])
    ledger.forget("target")

    def refresh(until: str) -> None:
        changes = list(ledger.changes(source="source", target="target"))
        ledger.intend("target", changes)
        if until == "intended" and len(store) % 2:  # cut off before the store was written
            return
        for change in changes:
            if change.content_hash is None:
                store.pop(change.id, None)
            else:
                store[change.id] = change.content_hash
        if until == "intended":  # cut off after it
            return
        ledger.note("target", changes, held=set(store))
        if until == "whole":
            ledger.settle("target")

    for hashes, until in history:
        ledger.rewrite("source", entries(**hashes))
        refresh(until)
        ledger.keep_totals("target")
    ledger.rewrite("source", entries(**final))
    refresh("whole")
    assert store == {f"m:{name}": value for name, value in final.items()}
    assert ledger.digest("target") == ledger.digest("source")
    assert ledger.extent("target").unsettled == 0
    assert ledger.totals_hold("target")
