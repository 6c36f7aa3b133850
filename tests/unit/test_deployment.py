"""docker-compose.yml, the Dockerfile and deploy/, as far as they can be judged without a docker engine."""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from dagster._core.instance.ref import InstanceRef
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from setuptools.config.pyprojecttoml import apply_configuration
from setuptools.dist import Distribution

from stores.settings import PREFIX, load_settings

ROOT = Path(__file__).parents[2]
COMPOSE_FILE = ROOT / "docker-compose.yml"
COMPOSE: dict[str, Any] = yaml.safe_load(COMPOSE_FILE.read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
BUILT = [name for name, service in SERVICES.items() if "build" in service]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
FULL_TAG = re.compile(r":(v?\d+\.\d+(\.\d+)?(-[a-z]+)*|RELEASE\.\d{4}-\d{2}-\d{2}T\d{2}-\d{2}-\d{2}Z)$")
INTERPOLATION = re.compile(r"(?<!\$)\$(?!\$)(\{[^}]*\}|\w+)?")
REQUIRED = re.compile(r"\$\{([A-Z][A-Z0-9_]*):\?[^}]+\}")
SECRET_NAME = re.compile(r"(PASSWORD|SECRET_ACCESS_KEY|TOKEN|_AUTH)$")


def scalars(node: object) -> Iterator[str]:
    """Every text and number in a YAML document, keys aside."""
    if isinstance(node, dict):
        for value in node.values():
            yield from scalars(value)
    elif isinstance(node, list):
        for value in node:
            yield from scalars(value)
    else:
        yield str(node)


def interpolated(text: str) -> str:
    """What compose makes of a text when every variable of .env is called "secret"."""
    return REQUIRED.sub(lambda found: "float32" if found[1] == "EMBEDDING_PRECISION" else "secret", text).replace("$$", "$")


def example_variables() -> dict[str, str]:
    """.env.example as a mapping."""
    lines = (ROOT / ".env.example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def judged_by_the_specification(compose_file: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(compose_file)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def stage(name: str) -> str:
    """The instructions of one stage of the Dockerfile."""
    stages = {found[2]: found[0] for found in re.finditer(r"^FROM (\S+) AS (\S+)\n(?:(?!FROM ).*\n?)*", DOCKERFILE, re.MULTILINE)}
    return stages[name]


def closure(extra: str) -> set[str]:
    """The names of everything that `pip install ".[extra]"` brings: pyproject.toml, then the metadata of what is installed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    waiting = [Requirement(text) for text in project["dependencies"] + project["optional-dependencies"][extra]]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        requirement = waiting.pop()
        name, extras = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        for needed in map(Requirement, distribution(name).requires or []):
            if needed.marker is None or any(needed.marker.evaluate({"extra": each}) for each in extras | {""}):
                waiting.append(needed)
    return {name for name, _ in seen}


def test_the_compose_file_keeps_to_the_compose_specification() -> None:
    judged = judged_by_the_specification(COMPOSE_FILE)
    assert judged.returncode == 0, judged.stdout + judged.stderr


def test_the_specification_notices_a_misspelt_key(tmp_path: Path) -> None:
    broken = tmp_path / "docker-compose.yml"
    broken.write_text(COMPOSE_FILE.read_text().replace("mem_limit: 2g", "memory_limit: 2g"))
    assert "memory_limit" in judged_by_the_specification(broken).stdout


def test_every_image_is_pinned_by_a_full_tag() -> None:
    images = [service["image"] for service in SERVICES.values()] + re.findall(r"^FROM (\S+:\S+)", DOCKERFILE, re.MULTILINE)
    assert len(images) > len(SERVICES)
    assert [image for image in images if not FULL_TAG.search(image)] == []


def test_every_service_is_healthchecked_or_ends_by_itself() -> None:
    waited_for_to_end = {
        name
        for service in SERVICES.values()
        for name, wait in service.get("depends_on", {}).items()
        if wait["condition"] == "service_completed_successfully"
    }
    for name, service in SERVICES.items():
        if name in waited_for_to_end:
            assert service["restart"] == "no", name
        else:
            assert service["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}, name
            assert service["restart"] == "unless-stopped", name


def test_every_service_waits_until_what_it_needs_is_ready() -> None:
    for name, service in SERVICES.items():
        conditions = {wait["condition"] for wait in service.get("depends_on", {}).values()}
        assert conditions <= {"service_healthy", "service_completed_successfully"}, name
    assert SERVICES["dagster-code"]["depends_on"]["dagster-init"]["condition"] == "service_completed_successfully"


def test_every_published_port_is_on_loopback() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports
    assert [port for port in ports if not re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port)] == []
    assert len({port.split(":")[1] for port in ports}) == len(ports)
    assert not any(service.get("network_mode") for service in SERVICES.values())


def test_every_service_has_a_memory_limit() -> None:
    assert [name for name, service in SERVICES.items() if not re.fullmatch(r"\d+[mg]", service.get("mem_limit", ""))] == []


def test_every_variable_of_the_compose_file_is_required() -> None:
    for text in scalars(COMPOSE):
        for found in INTERPOLATION.finditer(text):
            assert REQUIRED.fullmatch(found[0]), text


def test_no_password_stands_in_the_compose_file() -> None:
    for name, service in SERVICES.items():
        for variable, value in service.get("environment", {}).items():
            if SECRET_NAME.search(variable):
                assert REQUIRED.fullmatch(re.sub(r"^\w+[:/](?=\$)", "", value)), f"{name}: {variable}"
        command = service.get("command", [])
        if "--requirepass" in command:
            assert REQUIRED.fullmatch(command[command.index("--requirepass") + 1]), name
    for text in scalars(COMPOSE):
        for password in re.findall(r"//[^/@\s:]*:(.+?)@", text):
            assert REQUIRED.fullmatch(password), text


def test_the_example_environment_lists_exactly_what_the_compose_file_asks_for() -> None:
    asked_for = {found[1] for text in scalars(COMPOSE) for found in REQUIRED.finditer(text)}
    assert set(example_variables()) == asked_for


def test_the_example_environment_gives_no_password() -> None:
    assert [name for name, value in example_variables().items() if name.endswith("PASSWORD") and value] == []


@pytest.mark.parametrize(
    "name", [name for name, service in SERVICES.items() if any(v.startswith(PREFIX) for v in service.get("environment", {}))]
)
def test_the_platforms_variables_are_real_settings_that_lead_to_services(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # away from the addresses of a running `campaigns up`
    settings = load_settings({variable: interpolated(value) for variable, value in SERVICES[name]["environment"].items()})
    addresses = [getattr(settings, field) for field in settings.__struct_fields__ if field.endswith("_url")]
    assert {urlsplit(address).hostname for address in addresses if address} <= set(SERVICES)
    assert settings.embedding_model == "sentence-transformers/all-roberta-large-v1"
    assert settings.vector_search_params["ef"] > settings.neighbours  # the customer is found too, and left out
    assert set(settings.vector_index_params) == {"M", "efConstruction"}


def test_the_settings_are_given_to_the_code_location_and_the_api_alone() -> None:
    given = {name for name, service in SERVICES.items() if any(v.startswith(PREFIX) for v in service.get("environment", {}))}
    assert given == {"dagster-code", "api"}


@pytest.mark.parametrize("name", BUILT)
def test_our_containers_have_few_rights(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    target = stage(service["build"]["target"])
    assert re.findall(r"^(?:USER|CMD) ?\[?\"?(\w+)", target, re.MULTILINE)[0] == "campaigns"  # USER comes before CMD


def test_only_declared_volumes_and_files_that_exist_are_mounted() -> None:
    for name, service in SERVICES.items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert (ROOT / source).exists() if source.startswith(".") else source in COMPOSE["volumes"], f"{name}: {volume}"


def test_volumes_that_our_containers_write_are_made_for_their_user() -> None:
    made = re.search(r"mkdir -p (.+?) &&", stage("pipeline"))
    assert made
    mounted = {volume.split(":")[1] for name in BUILT for volume in SERVICES[name].get("volumes", [])}
    assert mounted == set(made[1].split())


def test_the_api_image_holds_neither_torch_nor_dagster() -> None:
    unwanted = {"torch", "transformers", "sentence-transformers", "dagster", "dagster-webserver", "dagster-postgres"}
    assert "litestar" in closure("api")
    assert closure("api") & unwanted == set()
    assert closure("pipeline") >= unwanted  # the walk that found nothing above does find them
    assert re.findall(r"pip install .*\"\.\[(.+)\]\"", stage("install-api")) == ["api"]
    assert re.findall(r"--from=(\S+)", stage("api")) == ["install-api"]


def test_the_images_are_installed_the_way_make_installs() -> None:
    asked_of_make = re.findall(r"(?:uv )?pip install .*", (ROOT / "Makefile").read_text())
    asked_of_docker = re.findall(r"(?:uv )?pip install .*", DOCKERFILE)
    assert [asked.startswith("uv") for asked in asked_of_make] == [False, True]
    assert [asked.startswith("uv") for asked in asked_of_docker] == [False, True, True]
    assert all("-c constraints.txt" in asked for asked in asked_of_make + asked_of_docker)


def test_everything_the_dockerfile_copies_is_there_and_sent_to_the_builder() -> None:
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {source for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE) for source in line.split()[:-1]}
    assert [source for source in copied if not (ROOT / source).exists()] == []
    assert {source.split("/")[0] for source in copied} == sent


def test_the_dockerfile_copies_every_package() -> None:
    packages = {
        name for name in ("stores", "ranking", "platform_assets", "retrieval", "cli", "local") if (ROOT / name / "__init__.py").exists()
    }
    assert packages == set(re.findall(r"^COPY (\w+) \1$", stage("source"), re.MULTILINE))


def test_an_installation_that_is_not_editable_has_every_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    installed = apply_configuration(Distribution(), "pyproject.toml").packages
    copied = re.findall(r"^COPY (\w+) \1$", stage("source"), re.MULTILINE)
    folders = {module.parent.relative_to(ROOT) for name in copied for module in (ROOT / name).rglob("*.py")}
    assert {".".join(folder.parts) for folder in folders} <= set(installed)


def test_the_workspace_leads_to_the_code_server() -> None:
    workspace = yaml.safe_load((ROOT / "deploy/workspace.yaml").read_text())
    local = yaml.safe_load((ROOT / "workspace.yaml").read_text())
    server = workspace["load_from"][0]["grpc_server"]
    command = SERVICES[server["host"]]["command"]
    assert command[command.index("--port") + 1] == str(server["port"])
    assert command[command.index("--location-name") + 1] == server["location_name"]
    assert command[command.index("--module-name") + 1] == local["load_from"][0]["python_module"]["module_name"]
    assert server["location_name"] == local["load_from"][0]["python_module"]["location_name"]


def test_the_deployed_instance_differs_from_the_local_one_in_storage_alone() -> None:
    deployed, local = (yaml.safe_load((ROOT / path).read_text()) for path in ("deploy/dagster.yaml", "dagster.yaml"))
    assert {name: value for name, value in deployed.items() if local.get(name) != value}.keys() == {
        "storage",
        "compute_logs",
        "local_artifact_storage",
    }
    assert local.keys() <= deployed.keys()


def test_dagster_reads_the_deployed_instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = set(re.findall(r"env: (\w+)", (ROOT / "deploy/dagster.yaml").read_text()))
    given = {name: value for name, value in SERVICES["dagster-code"]["environment"].items() if name.startswith("DAGSTER_")}
    assert named == set(given)
    for name, value in given.items():
        monkeypatch.setenv(name, interpolated(value))
    # the folder of logs is made when it is read, so it is made here
    text = (ROOT / "deploy/dagster.yaml").read_text().replace("/var/lib/campaigns", str(tmp_path))
    (tmp_path / "dagster.yaml").write_text(text)
    instance = InstanceRef.from_dir(str(tmp_path))
    assert instance.compute_log_manager
    assert instance.local_artifact_storage
    assert type(instance.run_launcher).__name__ == "DefaultRunLauncher"
    assert instance.storage_data.module_name == "dagster_postgres"
