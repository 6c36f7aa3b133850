"""A struct survives being a MongoDB document, and every struct that is kept has a fixed list of columns."""

import bson
import msgspec
import pytest
from hypothesis import given

from stores.errors import ContractBroken
from stores.mongodb import columns, read, slices
from stores.records import Campaign, FileReport, Record, Release
from tests.unit.entries import entries


@given(entries())
def test_an_entry_survives_being_a_document(entry: Record | Campaign) -> None:
    document = bson.decode(bson.encode({"_id": entry.key, **columns(entry), "line": 7}))
    back = read(document, type(entry))
    assert back == entry
    assert msgspec.json.encode(back) == msgspec.json.encode(entry)


@pytest.mark.parametrize(
    "kept",
    [
        Record(message_id="m", user_id="u", timestamp_ms=1),
        Campaign(campaign_id="c", name="n"),
        FileReport(name="n", sha256="s", sequence=1),
        Release(number=1, digest="d", message_vectors="m", user_vectors="u", model="m", dimension=1, sequence=1),
    ],
    ids=lambda kept: type(kept).__name__,
)
def test_every_field_is_a_column_of_a_plain_name_also_where_it_is_empty(kept: msgspec.Struct) -> None:
    assert list(columns(kept)) == list(kept.__struct_fields__)
    assert all(name.isascii() and name.isidentifier() for name in columns(kept))
    assert read(columns(kept), type(kept)) == kept


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"message_id": "m", "user_id": "u"},
        {"message_id": "m", "user_id": "u", "timestamp_ms": None},
        {"message_id": "m", "user_id": "u", "timestamp_ms": 1, "extra": "{"},
        {"message_id": "m", "user_id": "u", "timestamp_ms": 1, "extra": "[]"},
        {"message_id": "m", "user_id": "u", "timestamp_ms": 1, "extra": None},
        {"message_id": "m", "user_id": "u", "timestamp_ms": 1, "event": "unheard-of"},
    ],
)
def test_a_document_of_another_shape_is_named(document: dict[str, object]) -> None:
    with pytest.raises(ContractBroken, match="m:1 is no Record"):
        read({"_id": "m:1", **document}, Record)


@pytest.mark.parametrize("count", [0, 1, 4, 5, 6, 11])
def test_slices_hold_every_item_once_in_order(count: int) -> None:
    parts = list(slices(range(count), 5))
    assert [item for part in parts for item in part] == list(range(count))
    assert all(len(part) == 5 for part in parts[:-1])
    assert all(parts)
