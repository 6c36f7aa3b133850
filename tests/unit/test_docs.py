"""The documentation against the code: what it names exists, and what exists is named."""

import re
import tomllib
from pathlib import Path

import click
import msgspec
import pytest
from packaging.requirements import Requirement

from cli.main import main
from platform_assets.definitions import defs
from ranking.rules import Rule
from retrieval.routes import HANDLERS
from retrieval.schemas import WhyNot
from stores.decoding import decode_record
from stores.records import Campaign
from stores.settings import PREFIX, Settings

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "data").glob("*.md")])
TEXT = "\n".join(page.read_text() for page in PAGES)
OPERATIONS = (ROOT / "docs/operations.md").read_text()
DEPENDENCIES = (ROOT / "docs/adr/0002-dependencies.md").read_text()
LINK = re.compile(r"(?<!!)\[[^\]]+\]\(([^)\s]+)\)")
page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def written(value: object) -> str:
    """A setting's default as its variable would hold it."""
    match value:
        case None:
            return ""
        case tuple():
            return ",".join(value)
        case dict():
            return msgspec.json.encode(value).decode()
        case float():
            return f"{value:g}"
        case _:
            return str(value)


def prose(text: str) -> str:
    """Markdown without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def commands_in(text: str) -> str:
    """What stands in code: each span and each line that begins with a prompt, one a line."""
    blocks = "\n".join(re.findall(r"^```.*?^```$", text, re.MULTILINE | re.DOTALL))
    return "\n".join([*re.findall(r"`([^`\n]+)`", prose(text)), *re.findall(r"^\$ .+$", blocks, re.MULTILINE)])


def anchors(text: str) -> set[str]:
    """The fragments that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", prose(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_there_are_pages_to_look_at() -> None:
    assert {"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs/architecture.md", "docs/operations.md"} <= {
        str(each.relative_to(ROOT)) for each in PAGES
    }


@page
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for target in LINK.findall(prose(page.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, fragment = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), target
        assert not fragment or fragment in anchors(found.read_text()), target


def test_every_setting_is_in_the_table_with_its_default() -> None:
    rows = re.findall(rf"^\| `({PREFIX}\w+)` \|(?: `(.*?)`)? \| (.+) \|$", OPERATIONS, re.MULTILINE)
    told = {variable: default for variable, default, _ in rows}
    settings = Settings()
    assert told == {PREFIX + name.upper(): written(getattr(settings, name)) for name in settings.__struct_fields__}
    assert len(rows) == len(told)


def test_every_setting_that_is_named_exists() -> None:
    known = {PREFIX + name.upper() for name in Settings.__struct_fields__} | {"CAMPAIGNS_ENV_FILE"}
    assert set(re.findall(rf"\b{PREFIX}[A-Z0-9_]*[A-Z0-9]\b", TEXT)) <= known


def test_every_asset_is_named() -> None:
    assets = {spec.key.to_user_string() for spec in defs.resolve_all_asset_specs()}
    assert assets
    assert [name for name in assets if f"`{name}`" not in TEXT] == []


def test_every_route_is_named() -> None:
    paths = {re.sub(r":\w+}", "}", path) for handler in HANDLERS for path in handler.paths} | {"/openapi.json"}
    assert "/recommendations/{user_id}" in paths
    assert [path for path in paths if path not in TEXT] == []


def test_every_command_that_is_named_exists_and_every_command_is_named() -> None:
    assert isinstance(main, click.Group)
    context = click.Context(main)
    there = {name for name in main.list_commands(context) if main.get_command(context, name) is not None}
    named = set(re.findall(r"(?:^|`|[ /])campaigns ([a-z]+)\b", commands_in(TEXT), re.MULTILINE))
    assert named == there


def test_what_shows_a_guarantee_exists() -> None:
    page = (ROOT / "docs/guarantees.md").read_text()
    written = {name for file in (ROOT / "tests").rglob("test_*.py") for name in re.findall(r"def (test_\w+)\(", file.read_text())}
    named = set(re.findall(r"`(test_\w+)`", page))
    files = set(re.findall(r"`((?:tests|benchmarks)/[\w/]+\.py)`", page))
    assert len(named) > 10
    assert len(files) > 3
    assert named - written == set()
    assert [file for file in files if not (ROOT / file).is_file()] == []


def test_every_target_of_make_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"^(?:\$ )?make ([a-z-]+)", commands_in(TEXT), re.MULTILINE))
    assert {"up", "test", "clean-state"} <= named
    assert named <= targets


def test_every_dependency_is_justified_and_nothing_else() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked_for = [*project["dependencies"], *(text for extra in project["optional-dependencies"].values() for text in extra)]
    justified = re.findall(r"^\| `([\w.-]+)` \| \S", DEPENDENCIES, re.MULTILINE)
    assert sorted(justified) == sorted(Requirement(text).name for text in asked_for)


def test_the_page_on_rules_names_every_rule_and_its_example_is_one() -> None:
    text = (ROOT / "docs/rules.md").read_text()
    assert [rule for rule in Rule if f"`{rule}`" not in text] == []
    example, answer = (msgspec.json.decode(block) for block in re.findall(r"^```json\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    campaign = decode_record(example)
    assert isinstance(campaign, Campaign)
    assert campaign.extra == {}
    assert all(getattr(campaign.rules, name) for name in ("hours", "audience", "requires_consent", "caps"))
    assert msgspec.to_builtins(msgspec.convert(answer, WhyNot)) == answer
