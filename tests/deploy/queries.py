"""Every query of the dashboards and the rules, as Prometheus gets to see it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.conftest import ROOT

DEPLOY = ROOT / "deploy"
DASHBOARDS = sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))
RULES = sorted((DEPLOY / "prometheus" / "rules").glob("*.yml"))
METRIC = re.compile(r"\b(?:facet|process|python)_[a-z0-9_]+|\bfacet(?::[a-z0-9_]+)+")
SERIES_SUFFIX = re.compile(r"_(bucket|sum|count)$")


@dataclass(frozen=True)
class Query:
    """One expression and where it stands."""

    source: str
    expression: str


def dashboard(path: Path) -> dict[str, Any]:
    """One dashboard."""
    return json.loads(path.read_text())  # type: ignore[no-any-return]


def dashboard_queries() -> Iterator[Query]:
    """The queries of all panels, annotations and variables, Grafana's variables filled in."""
    for path in DASHBOARDS:
        board = dashboard(path)
        for panel in board["panels"]:
            for target in panel.get("targets", []):
                yield Query(f"{path.name}: {panel['title']}", _filled(target["expr"]))
        for note in board["annotations"]["list"]:
            yield Query(f"{path.name}: annotation {note['name']}", _filled(note["expr"]))
        for variable in board["templating"]["list"]:
            if variable["type"] == "datasource":
                continue
            series = re.fullmatch(r"label_values\((.+), *\w+\)", variable["query"]["query"])
            assert series is not None
            yield Query(f"{path.name}: ${variable['name']}", series.group(1))


def rules(kind: str) -> dict[str, str]:
    """The expressions of rules of one kind, `record` or `alert`, by name: the last where several share one."""
    return dict(rule_expressions(kind))


def rule_expressions(kind: str) -> list[tuple[str, str]]:
    """Name and expression of every rule of one kind."""
    groups = [group for path in RULES for group in yaml.safe_load(path.read_text())["groups"]]
    return [(rule[kind], rule["expr"]) for group in groups for rule in group["rules"] if kind in rule]


def rule_queries() -> Iterator[Query]:
    """The expressions of all rules."""
    for kind in ("record", "alert"):
        for name, expression in rule_expressions(kind):
            yield Query(f"rule {name}", expression)


def is_silent(query: Query) -> bool:
    """Alerts are silent; nothing restarts; yesterday is out of reach; the gallery refused nothing; too few faces to
    speak of drift.
    """
    alerting = query.source.removeprefix("rule ") in rules("alert") or query.expression.startswith("ALERTS")
    return (
        alerting
        or "offset" in query.expression
        or "facet:drift" in query.expression
        or any(part in query.source for part in ("annotation", "Refused changes"))
    )


def metrics_in(expression: str) -> set[str]:
    """The metrics an expression reads, histograms by their family's name."""
    return {SERIES_SUFFIX.sub("", name) for name in METRIC.findall(expression)}


def _filled(expression: str) -> str:
    filled = re.sub(r"\$(instance|model|collection|route)\b", ".*", expression).replace("$__rate_interval", "1m")
    assert "$" not in filled, f"a variable this test does not know: {expression}"
    return filled
