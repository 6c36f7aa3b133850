"""The variables that a local stack runs with, and the file in which other terminals find them."""

from pathlib import Path

import pytest

from local.environment import ENV_FILE, asked_for, platform_variables, write_env_file
from stores.settings import BadSetting, load_settings

URLS = {"api_url": "http://127.0.0.1:8001", "dagster_url": "http://127.0.0.1:3001"}


def test_other_terminals_read_back_exactly_what_was_written(tmp_path: Path) -> None:
    file = tmp_path / ENV_FILE
    params = '{"nlist": 32}'
    write_env_file(file, {"CAMPAIGNS_NEO4J_PASSWORD": r"""it's a \'"#$HOME ${HOME} ü""", "CAMPAIGNS_VECTOR_INDEX_PARAMS": params})
    settings = load_settings({"CAMPAIGNS_ENV_FILE": str(file)})
    assert settings.neo4j_password == r"""it's a \'"#$HOME ${HOME} ü"""
    assert settings.vector_index_params == {"nlist": 32}
    assert file.stat().st_mode & 0o777 == 0o600


def test_paths_are_absolute_and_what_a_person_asked_for_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    asked = {"CAMPAIGNS_INBOX_DIR": "here", "CAMPAIGNS_CACHE_TTL_S": "5"}
    variables = platform_variables(asked, {"CAMPAIGNS_REDIS_URL": "redis://127.0.0.1:1/0"}, state=tmp_path / "state", **URLS)
    assert variables == {
        "CAMPAIGNS_INBOX_DIR": str(tmp_path / "here"),
        "CAMPAIGNS_SQL_URL": f"sqlite:///{tmp_path}/state/metrics.sqlite3",
        "CAMPAIGNS_QUALITY_DIR": f"{tmp_path}/state/quality",
        "CAMPAIGNS_CACHE_TTL_S": "5",
        "CAMPAIGNS_REDIS_URL": "redis://127.0.0.1:1/0",
        "CAMPAIGNS_API_URL": URLS["api_url"],
        "CAMPAIGNS_DAGSTER_URL": URLS["dagster_url"],
    }


def test_a_file_that_a_person_names_counts_and_the_environment_goes_before_it(tmp_path: Path) -> None:
    named = tmp_path / "mine.env"
    named.write_text("CAMPAIGNS_REDIS_URL=redis://elsewhere/0\nCAMPAIGNS_CACHE_TTL_S=7\n")
    asked = asked_for({"CAMPAIGNS_ENV_FILE": str(named), "CAMPAIGNS_CACHE_TTL_S": "8", "PATH": "/bin"}, tmp_path / "state")
    assert asked == {"CAMPAIGNS_REDIS_URL": "redis://elsewhere/0", "CAMPAIGNS_CACHE_TTL_S": "8"}


def test_the_addresses_that_an_earlier_stack_left_behind_do_not_count(tmp_path: Path) -> None:
    write_env_file(tmp_path / ENV_FILE, {"CAMPAIGNS_REDIS_URL": "redis://gone/0"})
    assert asked_for({"CAMPAIGNS_ENV_FILE": str(tmp_path / ENV_FILE)}, tmp_path) == {}


def test_a_named_file_that_is_not_there_and_a_bad_value_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match=r"^CAMPAIGNS_ENV_FILE: "):
        asked_for({"CAMPAIGNS_ENV_FILE": str(tmp_path / "none.env")}, tmp_path / "state")
    with pytest.raises(BadSetting, match=r"^CAMPAIGNS_CACHE_TTL_S: "):
        asked_for({"CAMPAIGNS_CACHE_TTL_S": "soon"}, tmp_path)
