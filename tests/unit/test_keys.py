"""API keys: drawn once, kept as hashes, told apart."""

import json

import msgspec
import pytest
from click.testing import CliRunner

from cli.main import main
from retrieval.keys import Caller, Keys, drawn, entry_of
from retrieval.serve import is_loopback, serve
from stores.settings import BadSetting, Settings, load_settings, shown

READER, OPERATOR = drawn(), drawn()
ENTRIES = (entry_of(READER, name="shop", scope="read"), entry_of(OPERATOR, name="maria", scope="operator"))
SETTINGS = Settings(api_keys=ENTRIES)


def test_each_key_leads_to_its_name_and_scope() -> None:
    keys = Keys(SETTINGS)
    assert keys.caller(READER.encode()) == Caller("shop", "read")
    assert keys.caller(OPERATOR.encode()) == Caller("maria", "operator")
    assert (Caller("shop", "read").operates, Caller("maria", "operator").operates) == (False, True)


@pytest.mark.parametrize(
    "key",
    ["", "cp_", drawn(), READER[:-1], READER + "x", ENTRIES[0], ENTRIES[0].split(":")[2]],
    ids=["nothing", "the beginning", "another", "too short", "too long", "an entry", "a hash"],
)
def test_nothing_else_is_a_key(key: str) -> None:
    assert Keys(SETTINGS).caller(key.encode()) is None


def test_a_key_is_revoked_by_removing_its_entry() -> None:
    assert Keys(msgspec.structs.replace(SETTINGS, api_keys=ENTRIES[1:])).caller(READER.encode()) is None


def test_no_key_is_drawn_twice_and_none_can_be_guessed() -> None:
    assert len({drawn() for _ in range(100)}) == 100
    assert len(drawn()) >= 43


@pytest.mark.parametrize(
    "entry",
    ["", "shop", f"shop:read:{READER}", ENTRIES[0].replace("read", "admin"), ENTRIES[0].replace("shop", "sh op")],
    ids=["nothing", "a name", "a key", "no such scope", "a bad name"],
)
def test_a_malformed_entry_is_one_line_that_does_not_repeat_it(entry: str) -> None:
    with pytest.raises(BadSetting) as refused:
        Keys(Settings(api_keys=(entry,)))
    assert str(refused.value).startswith("CAMPAIGNS_API_KEYS: ")
    assert READER not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_two_keys_of_one_name_are_refused() -> None:
    with pytest.raises(BadSetting, match="same name"):
        Keys(Settings(api_keys=(ENTRIES[0], entry_of(OPERATOR, name="shop", scope="operator"))))


def test_no_key_is_printed() -> None:
    assert READER not in str(shown(msgspec.structs.replace(SETTINGS, api_key=READER)))


def test_the_command_prints_a_key_and_the_entry_that_makes_it_valid() -> None:
    made = json.loads(CliRunner().invoke(main, ["key", "new", "shop", "--scope", "operator", "--json"]).output)
    settings = load_settings({"CAMPAIGNS_API_KEYS": f"{ENTRIES[1]}, {made['entry']}"})
    assert Keys(settings).caller(made["key"].encode()) == Caller("shop", "operator")
    told = CliRunner().invoke(main, ["key", "new", "shop"])
    assert (told.exit_code, "shop:read:" in told.output) == (0, True)
    assert CliRunner().invoke(main, ["key", "new", "sh:op"]).exit_code == 2


@pytest.mark.parametrize(
    ("host", "alone"), [("127.0.0.1", True), ("localhost", True), ("::1", True), ("0.0.0.0", False), ("::", False), ("192.0.2.1", False)]
)
def test_without_keys_only_loopback_is_listened_on(host: str, alone: bool) -> None:
    assert is_loopback(host) is alone
    if not alone:
        with pytest.raises(BadSetting, match=r"CAMPAIGNS_API_KEYS: no key is set"):
            serve(Settings(), host=host)
