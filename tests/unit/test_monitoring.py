"""The dashboard and the alerts against what the API really exports: each name, and each label."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from retrieval.answers import Answer
from retrieval.meters import STORE_OF, Meters
from stores.records import Release

DEPLOY = Path(__file__).parents[2] / "deploy"
DASHBOARD = json.loads((DEPLOY / "grafana/campaigns-api.json").read_text())
ALERTS = [rule for group in yaml.safe_load((DEPLOY / "prometheus/alerts.yml").read_text())["groups"] for rule in group["rules"]]
EXPRESSIONS = {f"{panel['title']}: {target['expr']}": target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]}
EXPRESSIONS |= {f"{rule['alert']}: {rule['expr']}": rule["expr"] for rule in ALERTS}
BY_PROMETHEUS = {"up": set[str]()}
OF_EVERY_TARGET = {"job", "instance", "le"}
WORDS = {"by", "sum", "min", "max", "rate", "histogram_quantile"}
expressions = pytest.mark.parametrize("expression", EXPRESSIONS.values(), ids=list(EXPRESSIONS))


def exported() -> dict[str, set[str]]:
    """Every series by name, with the names of its labels."""
    meters = Meters()
    meters.follow(lambda: Release(number=1, digest="d", message_vectors="m", user_vectors="u", model="t", dimension=4, sequence=1))
    meters.requests.add("GET", "/recommendations/{user_id}", "200")
    meters.request_times.add(0.1, "/recommendations/{user_id}")
    meters.answered(Answer(body=b"", release=1, cache="miss", missing=("milvus",)))
    meters.failures.add("milvus")
    meters.limited.add("key")
    for name in (*STORE_OF, "turn", "ranking"):
        with meters.stage(name):
            pass
    families = text_string_to_metric_families(meters.text().decode())
    return {sample.name: set(sample.labels) - {"le"} for family in families for sample in family.samples}


EXPORTED = exported() | BY_PROMETHEUS


def selectors(expression: str) -> Iterator[tuple[str, set[str]]]:
    """Each series that an expression reads, with the labels that it asks for there."""
    bare = re.sub(r"\b(?:by|without)\s*\([^)]*\)", "", expression)
    for name, labels in re.findall(r"([a-z_:][\w:]*)(\{(?:[^}\"]|\"[^\"]*\")*\})?(?!\w|\()", bare):
        if name not in WORDS and not re.fullmatch(r"[smhd]", name):
            yield name, set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", re.sub(r"\"[^\"]*\"", "", labels)))


def test_the_expressions_are_understood() -> None:
    read = list(selectors('sum by (le) (rate(a_bucket{route="/x/{user_id}", s=~"5.."}[5m])) / b > 2 * 86400'))
    assert read == [("a_bucket", {"route", "s"}), ("b", set())]
    assert len(ALERTS) >= 8
    assert len(DASHBOARD["panels"]) >= 10


@expressions
def test_every_series_and_label_that_is_read_is_exported(expression: str) -> None:
    read = list(selectors(expression))
    assert read
    for name, labels in read:
        assert name in EXPORTED, name
        assert labels - OF_EVERY_TARGET <= EXPORTED[name], name


@expressions
def test_every_series_is_grouped_by_labels_that_it_has(expression: str) -> None:
    grouped = {label.strip() for group in re.findall(r"\bby\s*\(([^)]*)\)", expression) for label in group.split(",")}
    for name, _ in selectors(expression):
        assert grouped - OF_EVERY_TARGET <= EXPORTED[name], name


def test_every_series_of_our_own_is_shown() -> None:
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) for expression in EXPRESSIONS.values() for name, _ in selectors(expression)}
    ours = {re.sub(r"_(bucket|sum|count)$", "", name) for name in EXPORTED if name.startswith("campaigns_")}
    assert ours - shown == set()


def test_the_routes_that_are_named_exist() -> None:
    from retrieval.routes import HANDLERS

    routes = {re.sub(r":\w+}", "}", path) for handler in HANDLERS for path in handler.paths}
    assert {route for expression in EXPRESSIONS.values() for route in re.findall(r'route="([^"]+)"', expression)} <= routes


def test_the_scraped_path_and_key_are_those_of_the_api() -> None:
    [scrape] = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())["scrape_configs"]
    assert (scrape["metrics_path"], scrape["authorization"]["type"]) == ("/metrics", "Bearer")
    assert scrape["job_name"] in {job for expression in EXPRESSIONS.values() for job in re.findall(r'job="([^"]+)"', expression)}


def test_no_label_is_a_customers() -> None:
    assert {"user_id", "user", "customer", "key", "address"} & {label for labels in EXPORTED.values() for label in labels} == set()
