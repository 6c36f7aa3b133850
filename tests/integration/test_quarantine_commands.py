"""`campaigns quarantine`: what could not be read is found, mended and taken again, and never lost or doubled."""

import json
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner, Result

from cli import quarantine as command
from cli.main import main
from stores.documents import Documents
from stores.settings import Settings
from tests.integration.refreshing import CAMPAIGNS, RECORDS, drop, load, opened, refresh, said

NO_TIME = {"user_id": "u_7", "message": "When is it delivered?", "message_id": "m70"}
BROKEN = b'{"user_id": "u_8", "timestamp": "2026-01-01", "message": "no end'
MENDED = {"user_id": "u_8", "timestamp": "2026-01-01", "message": "an end", "message_id": "m80"}


def run(environment: dict[str, str], *arguments: str) -> Result:
    return CliRunner(env=environment).invoke(main, ["quarantine", *arguments])


def listed(environment: dict[str, str], *options: str) -> list[dict[str, object]]:
    result = run(environment, "list", "--json", *options)
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


def id_of(environment: dict[str, str], text: str) -> str:
    (found,) = [each["id"] for each in listed(environment) if text in str(each["raw"])]
    return str(found)


@pytest.fixture
def bad(settings: Settings) -> Settings:
    """Stores, and three records in quarantine from two files."""
    drop(settings, *CAMPAIGNS, *RECORDS, NO_TIME, BROKEN, name="100-first.jsonl")
    drop(settings, {"user_id": "no id", "timestamp": "2026-01-01", "message": "x"}, name="200-second.jsonl")
    load(settings)
    return settings


def test_the_list_has_the_newest_file_first_and_can_be_narrowed(environment: dict[str, str], bad: Settings) -> None:
    everything = listed(environment)
    assert [(each["file"], each["line"]) for each in everything] == [
        ("200-second.jsonl", 1),
        ("100-first.jsonl", 14),
        ("100-first.jsonl", 13),
    ]
    assert [each["line"] for each in listed(environment, "--file", "first.jsonl")] == [14, 13]
    assert [each["line"] for each in listed(environment, "--file", "100-first.jsonl", "--reason", "TIMESTAMP")] == [13]
    assert len(listed(environment, "--limit", "1")) == 1
    assert len({each["id"] for each in everything}) == 3
    table = run(environment, "list")
    assert all(str(each["id"]) in table.output for each in everything)


def test_a_record_is_shown_by_the_beginning_of_its_id(environment: dict[str, str], bad: Settings) -> None:
    record_id = id_of(environment, "no end")
    shown = run(environment, "show", record_id[:8])
    assert BROKEN.decode() in shown.output
    assert "100-first.jsonl, line 14: not valid JSON" in shown.output
    assert run(environment, "show", record_id, "--raw").output == BROKEN.decode() + "\n"
    assert json.loads(run(environment, "show", record_id, "--json").output)["raw"] == BROKEN.decode()
    for wrong in ("abc", "f" * 12, "~" * 8):
        refused = run(environment, "show", wrong)
        assert (refused.exit_code, refused.output.count("\n")) == (1, 1)


def test_a_mended_record_travels_the_ordinary_way_and_leaves_quarantine(environment: dict[str, str], bad: Settings, tmp_path: Path) -> None:
    mended = tmp_path / "mended.json"
    mended.write_text(json.dumps(MENDED, indent=2))
    result = run(environment, "replay", id_of(environment, "no end"), "--from", str(mended), "--no-wait", "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.output)
    (waiting,) = [each for each in listed(environment) if each["replayed_in"]]
    assert waiting["replayed_in"] == told["file"]
    assert (Path(bad.inbox_dir) / told["file"]).exists()
    taken = refresh(bad)
    assert said(taken, "raw_docs")["new"] == 1
    assert opened(bad).documents.get(["m:m80"])["m:m80"].message == "an end"
    assert [each["line"] for each in listed(environment)] == [1, 13]


def test_a_row_of_a_table_is_mended_with_its_header(environment: dict[str, str], settings: Settings, tmp_path: Path) -> None:
    table = Path(settings.inbox_dir) / "t.csv"
    table.write_text('user_id,timestamp,message\nu_1,2026-01-01,a, b and c\nu_2,2026-01-02,"fine"\n')
    refresh(settings)
    (broken,) = listed(environment)
    raw = run(environment, "show", str(broken["id"]), "--raw").output
    assert raw.splitlines()[0] == "user_id,timestamp,message"
    (tmp_path / "m.csv").write_text(raw.replace("a, b and c", '"a,\nb and c"'))
    assert run(environment, "replay", str(broken["id"]), "--from", str(tmp_path / "m.csv"), "--no-wait").exit_code == 0
    refresh(settings)
    assert [record.message for record in opened(settings).documents.records_of(["u_1"])["u_1"]] == ["a,\nb and c"]
    assert listed(environment) == []


def test_what_still_cannot_be_read_stays_with_the_reason_of_now(environment: dict[str, str], bad: Settings, tmp_path: Path) -> None:
    documents = Documents(bad)
    record = documents.quarantine.one(id_of(environment, "When is it delivered"))
    documents.quarantine.put_reason(record, "a reason of before")
    documents.close()
    result = run(environment, "replay", "--all", "--no-wait", "--json")
    assert result.exit_code == 3
    told = json.loads(result.output)
    assert (told["file"], told["replayed"], len(told["still"])) == (None, [], 3)
    assert len(listed(environment)) == 3
    assert "a reason of before" not in str(listed(environment))
    worse = tmp_path / "worse.json"
    worse.write_text("{}")
    refused = run(environment, "replay", record.id, "--from", str(worse), "--no-wait")
    assert refused.exit_code == 3
    assert "timestamp is missing" in next(str(each["reason"]) for each in listed(environment) if each["id"] == record.id)


def test_of_several_records_the_readable_ones_go_and_the_others_stay(environment: dict[str, str], bad: Settings, monkeypatch) -> None:
    documents = Documents(bad)
    once = documents.quarantine.one(id_of(environment, "When is it delivered"))
    documents.close()
    texts = {once.digest: json.dumps(NO_TIME | {"timestamp": "2026-01-03"})}
    real = command.mended
    monkeypatch.setattr(
        command, "mended", lambda text, **limit: real(texts[once.digest].encode() if b"delivered" in text else text, **limit)
    )
    result = run(environment, "replay", "--file", "first.jsonl", "--no-wait", "--json")
    told = json.loads(result.output)
    assert (result.exit_code, told["replayed"], len(told["still"])) == (3, [once.id], 1)
    refresh(bad)
    assert len(listed(environment)) == 2
    assert "m:m70" in opened(bad).documents.get(["m:m70"])


def test_a_replay_that_is_cut_off_loses_nothing_and_doubles_nothing(
    environment: dict[str, str], bad: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mended = tmp_path / "mended.json"
    mended.write_text(json.dumps(MENDED))
    arguments = ("replay", id_of(environment, "no end"), "--from", str(mended), "--no-wait")

    def cut_off(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(command, "deliver", cut_off)
        assert run(environment, *arguments).exit_code != 0
    assert refresh(bad).success
    assert len(listed(environment)) == 3
    for _ in range(2):  # twice: the second finds the record unchanged
        assert run(environment, *arguments).exit_code == 0
    result = refresh(bad)
    assert (said(result, "raw_docs")["new"], said(result, "raw_docs")["unchanged"]) == (1, 1)
    assert len(listed(environment)) == 2


def test_a_run_that_is_cut_off_while_it_takes_a_replay_is_completed_by_the_next(
    environment: dict[str, str], bad: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mended = tmp_path / "mended.json"
    mended.write_text(json.dumps(MENDED))
    assert run(environment, "replay", id_of(environment, "no end"), "--from", str(mended), "--no-wait").exit_code == 0

    def cut_off(*_: object, **__: object) -> None:
        raise dg.Failure("cut off here", allow_retries=False)

    for method in ("put", "put_file"):
        with monkeypatch.context() as patched:
            patched.setattr(Documents, method, cut_off)
            assert not refresh(bad).success
        assert len(listed(environment)) + ("m:m80" in opened(bad).documents.get(["m:m80"])) == 3
    assert refresh(bad).success
    assert (len(listed(environment)), len(opened(bad).documents.get(["m:m80"]))) == (2, 1)


@pytest.mark.parametrize("arguments", [(), ("abcdef123456", "--all"), ("--all", "--file", "x"), ("--all", "--from", __file__)])
def test_a_replay_names_its_records_in_one_way(environment: dict[str, str], arguments: tuple[str, ...]) -> None:
    assert run(environment, "replay", *arguments).exit_code == 2


def test_every_command_has_examples(environment: dict[str, str]) -> None:
    for name in ("list", "show", "replay"):
        assert f"campaigns quarantine {name}" in run(environment, name, "--help").output
