"""Metrics, their documentation, dashboards and rules name the same things."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi.testclient import TestClient

from service.app import create_app
from service.settings import read_settings
from tests.conftest import ROOT
from tests.deploy.queries import (
    DASHBOARDS,
    DEPLOY,
    Query,
    dashboard,
    dashboard_queries,
    metrics_in,
    rule_queries,
    rules,
)


@pytest.fixture(scope="module")
def exposed(model_dirs: tuple[Path, ...], tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Names of the metrics that a running service exposes."""
    settings = read_settings(data=tmp_path_factory.mktemp("data"), model_dirs=model_dirs)
    with TestClient(create_app(settings)) as client:
        text = client.get("/metrics").raise_for_status().text
    names = set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))
    return {name for name in names if not name.endswith("_created")}  # when a series was born; part of the series


def test_every_metric_is_documented_and_every_documented_one_exists(exposed: set[str]) -> None:
    page = (ROOT / "docs" / "metrics.md").read_text().partition("## Series that")[0]
    assert set(re.findall(r"^\| `(\w+)`", page, re.MULTILINE)) == exposed


def test_every_recording_rule_is_documented() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text().partition("## Series that")[2]
    assert set(re.findall(r"`(facet:[\w:]+)`", page)) == set(rules("record"))


def test_every_alert_has_its_paragraph() -> None:
    page = (ROOT / "docs" / "deployment.md").read_text()
    assert set(re.findall(r"^\| `(Facet\w+)`", page, re.MULTILINE)) == set(rules("alert"))


@pytest.mark.parametrize("query", [*dashboard_queries(), *rule_queries()], ids=lambda query: query.source)
def test_queries_read_what_exists(query: Query, exposed: set[str]) -> None:
    named = metrics_in(query.expression)
    assert named or query.expression.startswith(("up{", "ALERTS{"))
    assert named <= exposed | set(rules("record"))


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_panels_are_told_apart_and_do_not_overlap(path: Path) -> None:
    panels = dashboard(path)["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [panel["gridPos"] for panel in panels]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    for a, b in itertools.combinations(places, 2):
        apart = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        assert apart or a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]


def data_sources(value: Any) -> Iterator[dict[str, Any]]:
    """Every reference to a data source, wherever it stands."""
    if isinstance(value, dict):
        if "datasource" in value:
            yield value["datasource"]
        for inner in value.values():
            yield from data_sources(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from data_sources(inner)


def test_dashboards_use_the_provisioned_source() -> None:
    provisioned = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yml").read_text())
    uid = provisioned["datasources"][0]["uid"]
    for path in DASHBOARDS:
        variable = dashboard(path)["templating"]["list"][0]
        assert (variable["type"], variable["query"], variable["current"]["value"]) == ("datasource", "prometheus", uid)
        for panel in dashboard(path)["panels"]:
            assert all(target["datasource"]["uid"] == f"${{{variable['name']}}}" for target in panel.get("targets", []))
    assert len({dashboard(path)["uid"] for path in DASHBOARDS}) == len(DASHBOARDS) == 4


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_dashboards_are_imported_into_any_grafana(path: Path) -> None:
    """No number of another Grafana's database, no data source of its own, and an address that stays."""
    board = dashboard(path)
    assert "id" in board
    assert board["id"] is None
    assert board["uid"] == f"facet-{path.stem}"
    sources = list(data_sources(board))
    assert len(sources) > len(board["panels"])
    assert all(source == {"type": "prometheus", "uid": "${datasource}"} for source in sources)
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]
    assert all("datasource" in panel for panel in panels)
    assert path.stem in (DEPLOY.parent / "docs" / "deployment.md").read_text().partition("## Monitoring")[2]


def test_alerts_say_what_is_wrong_and_how_bad_it_is() -> None:
    groups = yaml.safe_load((DEPLOY / "prometheus/rules/alerts.yml").read_text())["groups"]
    for rule in (rule for group in groups for rule in group["rules"]):
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert set(rule["annotations"]) == {"summary", "description"}
