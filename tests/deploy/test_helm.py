"""The Helm chart: the same objects as the kustomizations, every value described and checked."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import kubernetes_validate
import pytest
import yaml
from pydantic import SecretStr

from service.settings import Settings
from service.version import VERSION
from tests.conftest import ROOT

CHART = ROOT / "deploy" / "helm" / "facet"
KUBERNETES = ROOT / "deploy" / "kubernetes"
VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())
ENGINES = ("embedded", "postgres", "milvus")
NAME = "app.kubernetes.io/name"
BY_HELM = {"app.kubernetes.io/instance", "app.kubernetes.io/version", "app.kubernetes.io/managed-by", "helm.sh/chart"}
"""Labels by which Helm knows its own, and tells one release from another."""
REFUSED = [
    {"replicas": "three"},
    {"replicas": 0},
    {"engine": "sqlite"},
    {"egnine": "milvus"},
    {"image": {"repository": "facet", "digest": "latest"}},
    {"settings": {"FACET_SHUTDOWN_SECONDS": "soon"}},
    {"settings": {"FACET_SHUTDOWN_SECONDS": "30", "LOG_LEVEL": "debug"}},
    {"settings": {"FACET_SHUTDOWN_SECONDS": "30", "FACET_PORT": "80"}},
    {"secretSettings": {"FACET_TEMPLATE_KEYS": "id:key"}},
    {"milvus": {"address": "milvus:19530"}},
]
"""Values that must be refused rather than made into objects."""


def valid(values: dict[str, Any]) -> bool:
    return jsonschema_rs.validator_for(SCHEMA).is_valid({**VALUES, **values})


def leaves(schema: dict[str, Any], values: dict[str, Any], path: str = "") -> Iterator[tuple[str, bool]]:
    """Every value by its path, and whether the schema knows it; free-form maps count as one."""
    for name, value in values.items():
        known = name in schema.get("properties", {})
        inner = schema.get("properties", {}).get(name, {})
        if isinstance(value, dict) and "properties" in inner and inner.get("additionalProperties") is False:
            yield from leaves(inner, value, f"{path}{name}.")
        else:
            yield path + name, known


def test_the_chart_is_of_this_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == VERSION
    for engine in ("embedded", "postgres"):
        assert f'newTag: "{VERSION}"' in (KUBERNETES / engine / "kustomization.yaml").read_text()


def test_every_value_is_described_and_known_to_the_schema() -> None:
    lines = (CHART / "values.yaml").read_text().splitlines()
    for number, line in enumerate(lines):
        if re.match(r" *[A-Za-z_]+:( |$)", line) and not re.match(r"[a-z]+:$|  (requests|limits):", line):
            assert lines[number - 1].lstrip().startswith("#"), f"line {number + 1} has no comment: {line}"
    assert [path for path, known in leaves(SCHEMA, VALUES) if not known] == []


def test_the_schema_takes_what_is_meant() -> None:
    assert valid({})
    assert valid({"image": {"repository": "registry.example/facet", "digest": f"sha256:{'0' * 64}"}})
    assert valid({"secretSettings": {"FACET_TEMPLATE_KEYS": {"name": "facet-keys", "key": "template-keys"}}})


@pytest.mark.parametrize("values", REFUSED, ids=str)
def test_the_schema_refuses_what_would_fail_later(values: dict[str, Any]) -> None:
    assert not valid(values)


def test_settings_exist_and_hold_no_secret() -> None:
    assert set(VALUES["settings"]) <= set(Settings.variables())
    for variable, place in Settings.variables().items():
        secret = Settings.groups()[place.group].model_fields[place.field].annotation is SecretStr
        taken = valid({"settings": {"FACET_SHUTDOWN_SECONDS": "30", variable: "30"}})
        own = variable in {"FACET_DATA", "FACET_DATABASE", "FACET_HOST", "FACET_PORT"}
        assert taken != (secret or own), variable


def render(engine: str, **values: Any) -> dict[str, str]:
    """The chart's files, made by Helm itself for a release named facet."""
    from helm_python import Chart  # noqa: PLC0415  # of the extra `engines`

    with Chart.load(CHART) as chart:
        return dict(chart.render({"engine": engine, **values}, name="facet", namespace="faces"))


def objects(files: dict[str, str]) -> list[dict[str, Any]]:
    documents = [yaml.safe_load(text) for name, text in sorted(files.items()) if name.endswith(".yaml")]
    return [document for document in documents if document]


def without_helms_labels(value: Any) -> Any:
    """What Helm adds taken out, and variables in the order of their names: it means nothing to Kubernetes."""
    if isinstance(value, list):
        items = [without_helms_labels(item) for item in value]
        return sorted(items, key=lambda item: item["name"]) if items and _named(items) else items
    if not isinstance(value, dict):
        return value
    return {name: without_helms_labels(item) for name, item in value.items() if name not in BY_HELM}


def _named(items: list[Any]) -> bool:
    return all(isinstance(item, dict) and "name" in item for item in items)


def by_kind(found: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    kinds = {manifest["kind"]: without_helms_labels(manifest) for manifest in found}
    assert len(kinds) == len(found)
    return kinds


@pytest.mark.engines
@pytest.mark.needs("kubectl")
@pytest.mark.parametrize("engine", ENGINES)
def test_the_objects_are_those_of_the_kustomization(engine: str) -> None:
    built = subprocess.run(
        ["kubectl", "kustomize", str(KUBERNETES / engine)], capture_output=True, text=True, check=True
    )
    by_kustomize, by_helm = list(yaml.safe_load_all(built.stdout)), objects(render(engine))
    assert by_kind(by_helm) == by_kind(by_kustomize)
    for manifest in by_helm:
        kubernetes_validate.validate(manifest, "1.32", strict=True)
        assert set(manifest["metadata"]["labels"]) == {NAME, *BY_HELM}


@pytest.mark.engines
def test_helm_lints_it() -> None:
    from helm_python import lint  # noqa: PLC0415

    for engine in ENGINES:
        report = lint(CHART, {"engine": engine}, strict=True)
        assert report["errors"] == []
        assert {message["error"] for message in report["messages"]} <= {"icon is recommended"}


@pytest.mark.engines
@pytest.mark.parametrize("values", REFUSED, ids=str)
def test_helm_refuses_what_the_schema_refuses(values: dict[str, Any]) -> None:
    from helm_python import Chart, HelmError  # noqa: PLC0415

    with Chart.load(CHART) as chart, pytest.raises(HelmError):
        chart.validate_schema(values)


@pytest.mark.engines
def test_every_value_reaches_an_object() -> None:
    """One rendering with every value changed: what was given is in it, and no default of the kind is left."""
    given: dict[str, Any] = {
        "replicas": 5,
        "minAvailable": "40%",
        "image": {"repository": "registry.example/facet", "digest": f"sha256:{'1' * 64}", "pullPolicy": "Always"},
        "imagePullSecrets": ["registry"],
        "settings": {"FACET_SHUTDOWN_SECONDS": "90.5", "FACET_LOG_LEVEL": "debug", "FACET_MILVUS_SECONDS": "3"},
        "secretSettings": {"FACET_MILVUS_PASSWORD": {"name": "milvus-user", "key": "word"}},
        "database": {"secret": "the-database", "sslmode": "require"},
        "milvus": {"address": "https://vectors:1"},
        "storage": {"scratch": "7Gi", "tmp": "8Mi"},
        "service": {"type": "LoadBalancer", "port": 8443, "annotations": {"balancer": "inside"}},
        "resources": {"limits": {"memory": "9Gi"}},
        "podAnnotations": {"scrape": "yes"},
        "nodeSelector": {"disk": "fast"},
        "tolerations": [{"key": "faces", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
    }
    files = render("milvus", **given)
    made = {manifest["kind"]: manifest for manifest in objects(files)}
    for manifest in made.values():
        kubernetes_validate.validate(manifest, "1.32", strict=True)
    pod = made["Deployment"]["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    variables = {each["name"]: each.get("value", each.get("valueFrom")) for each in container["env"]}
    assert made["Deployment"]["spec"]["replicas"] == 5
    assert made["PodDisruptionBudget"]["spec"]["minAvailable"] == "40%"
    assert (container["image"], container["imagePullPolicy"]) == (
        f"registry.example/facet@sha256:{'1' * 64}",
        "Always",
    )
    assert pod["spec"]["imagePullSecrets"] == [{"name": "registry"}]
    assert pod["spec"]["terminationGracePeriodSeconds"] == 101
    assert variables == {
        "FACET_DATABASE": {"secretKeyRef": {"name": "the-database", "key": "address"}},
        "FACET_DATABASE_PASSWORD": {"secretKeyRef": {"name": "the-database", "key": "password"}},
        "FACET_DATABASE_SSLMODE": "require",
        "FACET_INDEX": "milvus",
        "FACET_LOG_FORMAT": "json",
        "FACET_LOG_LEVEL": "debug",
        "FACET_METRICS_COLLECTIONS": "true",
        "FACET_MILVUS": "https://vectors:1",
        "FACET_MILVUS_PASSWORD": {"secretKeyRef": {"name": "milvus-user", "key": "word"}},
        "FACET_MILVUS_SECONDS": "3",
        "FACET_SHUTDOWN_SECONDS": "90.5",
    }
    assert {volume["name"]: volume["emptyDir"]["sizeLimit"] for volume in pod["spec"]["volumes"]} == {
        "tmp": "8Mi",
        "data": "7Gi",
    }
    assert made["Service"]["spec"]["type"] == "LoadBalancer"
    assert made["Service"]["spec"]["ports"][0]["port"] == 8443
    assert made["Service"]["metadata"]["annotations"] == {"balancer": "inside"}
    assert container["resources"]["limits"] == {"memory": "9Gi"}
    assert pod["metadata"]["annotations"] == {"scrape": "yes"}
    for name in ("nodeSelector", "tolerations", "affinity"):
        assert pod["spec"][name] == given[name]
    assert "8000:8443" in files["facet/templates/NOTES.txt"]
    assert "the-database" in files["facet/templates/NOTES.txt"]


@pytest.mark.engines
def test_the_volume_is_as_asked() -> None:
    made = {
        manifest["kind"]: manifest
        for manifest in objects(render("embedded", storage={"size": "3Ti", "className": "ssd"}))
    }
    (claim,) = made["StatefulSet"]["spec"]["volumeClaimTemplates"]
    assert claim["spec"]["storageClassName"] == "ssd"
    assert claim["spec"]["resources"] == {"requests": {"storage": "3Ti"}}
    assert set(made) == {"StatefulSet", "Service"}


@pytest.mark.engines
def test_the_package_holds_the_chart(tmp_path: Path) -> None:
    from helm_python import Chart, package  # noqa: PLC0415

    archive = package(CHART, destination=tmp_path)
    with Chart.load(archive) as chart:
        assert (chart.name, chart.version) == ("facet", VERSION)
        assert {"facet/templates/NOTES.txt", "facet/templates/service.yaml"} <= set(chart.render(name="facet"))
