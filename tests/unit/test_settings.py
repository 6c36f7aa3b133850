"""Settings come from the environment, over a file, over defaults; a bad one is one line; secrets are never shown."""

from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stores.settings import SECRET_FIELDS, BadSetting, Settings, load_settings, shown

FIELDS = [field.name for field in msgspec.structs.fields(Settings)]
URL_FIELDS = [name for name in FIELDS if name.endswith("_url")]
OTHER_VALUES = {
    "overall_cap_impressions": ("0", 0),
    "holdout_share": ("0.25", 0.25),
    "trusted_proxies": ("127.0.0.1,10.0.0.0/8", ("127.0.0.1", "10.0.0.0/8")),
    "log_format": ("json", "json"),
    "api_keys": ("a:read:1, b:operator:2", ("a:read:1", "b:operator:2")),
    "vector_index": ("HNSW", "HNSW"),
    "embedding_precision": ("bfloat16", "bfloat16"),
    "vector_index_params": ('{"M": 16, "efConstruction": 200}', {"M": 16, "efConstruction": 200}),
    "vector_search_params": ("{}", {}),
    "unweighted_intents": ("complaint, other ,", ("complaint", "other")),
    "diversity": ("0.5", 0.5),
    "ranking_refit_share": ("1", 1.0),
    "clock_at": ("2017-02-01T12:00:00+02:00", datetime(2017, 2, 1, 10, tzinfo=UTC)),
}


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without the file that a local stack writes."""
    monkeypatch.chdir(tmp_path)


def text_and_value(name: str) -> tuple[str, object]:
    default = getattr(Settings(), name)
    other = {int: ("7", 7), float: ("2.5", 2.5), str: ("something else", "something else")}
    return OTHER_VALUES[name] if name in OTHER_VALUES else other[type(default)]


def test_without_any_variable_the_defaults_hold() -> None:
    assert load_settings({"PATH": "/bin", "MONGO_URL": "x", "campaigns_mongo_url": "x"}) == Settings()


@pytest.mark.parametrize("name", FIELDS)
def test_every_setting_is_read_from_its_variable_and_changes_nothing_else(name: str) -> None:
    text, value = text_and_value(name)
    settings = load_settings({f"CAMPAIGNS_{name.upper()}": text})
    assert getattr(settings, name) == value != getattr(Settings(), name)
    assert msgspec.structs.replace(settings, **{name: getattr(Settings(), name)}) == Settings()


def test_the_environment_wins_over_the_file_and_the_file_over_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "some.env"
    file.write_text("CAMPAIGNS_NEIGHBOURS=3\nCAMPAIGNS_FUSION_K=4\nOTHER=5\nCAMPAIGNS_NEO4J_PASSWORD='a${HOME}#b'\n")
    settings = load_settings({"CAMPAIGNS_ENV_FILE": str(file), "CAMPAIGNS_NEIGHBOURS": "9"})
    assert settings == Settings(neighbours=9, fusion_k=4, neo4j_password="a${HOME}#b")


def test_the_file_of_a_local_stack_is_read_where_there_is_one(tmp_path: Path) -> None:
    (tmp_path / ".state").mkdir()
    (tmp_path / ".state" / "platform.env").write_text("CAMPAIGNS_NEIGHBOURS=3\n")
    assert load_settings({}) == Settings(neighbours=3)


def test_a_file_that_is_named_must_be_there() -> None:
    with pytest.raises(BadSetting, match=r"^CAMPAIGNS_ENV_FILE: there is no file nowhere\.env$"):
        load_settings({"CAMPAIGNS_ENV_FILE": "nowhere.env"})


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("CAMPAIGNS_NEIGHBOURS", "0"),
        ("CAMPAIGNS_NEIGHBOURS", "many"),
        ("CAMPAIGNS_NEIGHBOURS", ""),
        ("CAMPAIGNS_CACHE_TTL_S", "99999999999999999999"),
        ("CAMPAIGNS_CACHE_TTL_S", "1.5"),
        ("CAMPAIGNS_READ_TIMEOUT_S", "0"),
        ("CAMPAIGNS_READ_TIMEOUT_S", "nan"),
        ("CAMPAIGNS_READ_TIMEOUT_S", "inf"),
        ("CAMPAIGNS_WEIGHT_CLICK", "-1"),
        ("CAMPAIGNS_VECTOR_INDEX", "hnsw"),
        ("CAMPAIGNS_VECTOR_INDEX_PARAMS", "nlist=64"),
        ("CAMPAIGNS_VECTOR_INDEX_PARAMS", '{"nlist": "64"}'),
        ("CAMPAIGNS_CLOCK_AT", "yesterday\nor today"),
        ("CAMPAIGNS_MONGO_URI", "mongodb://h"),
    ],
)
def test_a_bad_value_is_one_line_that_names_the_variable(variable: str, text: str) -> None:
    with pytest.raises(BadSetting) as refused:
        load_settings({variable: text})
    message = str(refused.value)
    assert message.startswith(f"{variable}: ")
    assert "\n" not in message


def test_a_typing_error_in_a_name_is_told_with_the_name_that_was_meant() -> None:
    with pytest.raises(BadSetting, match="did you mean CAMPAIGNS_REDIS_URL"):
        load_settings({"CAMPAIGNS_REDIS_URI": "redis://h"})


@pytest.mark.parametrize("text", ["{", "null", "123", "a,b", " x ", "{}"])
@pytest.mark.parametrize("name", sorted(SECRET_FIELDS))
def test_a_password_may_be_any_text(name: str, text: str) -> None:
    assert getattr(load_settings({f"CAMPAIGNS_{name.upper()}": text}), name) == text


@given(
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zs", "Zl", "Zp"]), min_size=4, max_size=20), st.sampled_from(URL_FIELDS)
)
def test_no_secret_is_shown_whether_it_is_escaped_or_not(password: str, name: str) -> None:
    secret = f"Q7{password}Q7"
    for written in (secret, quote(secret, safe="")):
        for url in (
            f"mongodb://user:{written}@host:1/db",
            f"redis://:{written}@host",
            f"postgresql://host/db?user=u&password={quote(secret)}",
        ):
            settings = Settings(**{name: url, "neo4j_password": secret, "milvus_token": secret})
            for text in (repr(settings), str(shown(settings))):
                assert secret not in text
                assert "Q7" not in text
                assert "host" in text


def test_what_is_no_secret_is_shown() -> None:
    assert shown(Settings(mongo_url="mongodb://a:b@h1,h2/db?x=1"))["mongo_url"] == "mongodb://***@h1,h2/db?x=1"
    assert shown(Settings())["redis_url"] == Settings().redis_url
    assert shown(Settings())["neo4j_password"] == ""
    assert shown(Settings()).keys() == set(FIELDS)


@pytest.mark.parametrize("text", ["2017-02-01", "2017-02-01T00:00:00", "2017-02-01T00:00:00Z", "2017-02-01T01:00:00+01:00"])
def test_the_clock_can_be_set_and_a_moment_without_a_zone_is_utc(text: str) -> None:
    assert load_settings({"CAMPAIGNS_CLOCK_AT": text}).now_ms == 1_485_907_200_000


def test_the_clock_is_the_wall_clock_where_it_is_not_set() -> None:
    before = datetime.now(UTC).timestamp() * 1000
    assert before - 1 <= load_settings({"CAMPAIGNS_CLOCK_AT": ""}).now_ms <= datetime.now(UTC).timestamp() * 1000 + 1
