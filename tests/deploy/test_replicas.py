"""What the overlays and manifests for several machines promise."""

from __future__ import annotations

import re
import shutil
import subprocess
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from service.settings import Settings
from tests.conftest import ROOT
from tests.deploy.queries import dashboard_queries

COMPOSE, KUBERNETES = ROOT / "deploy" / "compose", ROOT / "deploy" / "kubernetes"
KINDS = ("embedded", "postgres", "milvus")
VERSION = "1.32"


class Loader(yaml.SafeLoader):
    """Knows compose's `!override`."""


Loader.add_constructor("!override", lambda loader, node: loader.construct_sequence(node))  # type: ignore[no-untyped-call]


def overlay(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.load((COMPOSE / f"{name}.yml").read_text(), Loader)
    return loaded


def manifests(kind: str) -> list[dict[str, Any]]:
    """What a folder's resources hold, as they stand."""
    names = yaml.safe_load((KUBERNETES / kind / "kustomization.yaml").read_text())["resources"]
    files = [KUBERNETES / kind / name for name in names if name.endswith(".yaml")]
    return [document for file in files for document in yaml.safe_load_all(file.read_text())]


def variables(container: dict[str, Any]) -> set[str]:
    return {variable["name"] for variable in container["env"]}


SETTINGS = set(Settings.variables())


@pytest.mark.parametrize("name", ["postgres", "milvus"])
def test_overlays_set_what_there_is_and_pin_what_they_pull(name: str) -> None:
    services: dict[str, dict[str, Any]] = overlay(name)["services"]
    for service in services.values():
        image = service.get("image")
        if image is not None:
            assert re.search(r":v?\d+\.\d+\.\d+", image)
            assert service["cap_drop"] == ["ALL"]
        for port in service.get("ports", []):
            assert re.match(r"(\$\{\w+:-)?127\.0\.0\.1:", port)
        environment = service.get("environment", {})
        if service.get("build") or (name == "milvus" and "image" not in service):
            assert set(environment) <= SETTINGS
        assert not [key for key in environment if re.search("PASSWORD$|SECRET|TOKEN", key)]


def test_every_replica_is_behind_the_balancer() -> None:
    services = overlay("postgres")["services"]
    replicas = {name for name, service in services.items() if "build" in service}
    balancer = services["balancer"]["environment"]
    assert {balancer[f"FACET_{number}"] for number in ("ONE", "TWO", "THREE")} == {f"{name}:8000" for name in replicas}
    assert {service["ports"] == [] for name, service in services.items() if name in replicas} == {True}
    assert set(overlay("milvus")["services"]) == replicas | {"milvus"}


def test_replicas_believe_the_balancer_and_nobody_else() -> None:
    postgres = overlay("postgres")
    services, (network,) = postgres["services"], postgres["networks"]["front"]["ipam"]["config"]
    balancer = ip_address(services["balancer"]["networks"]["front"]["ipv4_address"])
    assert balancer in ip_network(network["subnet"])
    assert balancer not in ip_network(network["ip_range"]), "another container could have it first"
    for service in services.values():
        if "build" in service:
            assert service["networks"] == ["default", "front"]
            assert service["environment"]["FACET_TRUSTED_PROXIES"] == f"${{FACET_TRUSTED_PROXIES:-{balancer}}}"


def test_every_replica_is_watched() -> None:
    services = overlay("postgres")["services"]
    alone, together = (
        yaml.safe_load((ROOT / "deploy/prometheus" / name).read_text()) for name in ("prometheus.yml", "replicas.yml")
    )
    targets = together["scrape_configs"][0]["static_configs"][0]["targets"]
    assert set(targets) == {f"{name}:8000" for name, service in services.items() if "build" in service}
    alone["scrape_configs"][0]["static_configs"][0]["targets"] = targets
    assert together == alone
    words = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["prometheus"]["command"]
    assert services["prometheus"]["command"] == [word.replace("prometheus.yml", "replicas.yml") for word in words]


def test_what_replicas_share_is_counted_once() -> None:
    shared = [
        query.expression
        for query in dashboard_queries()
        if re.search("facet_gallery_(templates|index_bytes)", query.expression)
        and query.expression.startswith(("sum", "max"))
    ]
    assert len(shared) == 5
    for expression in shared:
        assert expression.count("facet_gallery_") == expression.count("max by (collection, model) (facet_gallery_")


@pytest.mark.parametrize("kind", ["embedded", "postgres"])
def test_pods_have_no_privileges_and_set_what_there_is(kind: str) -> None:
    (workload,) = [found for found in manifests(kind) if found["kind"] in ("StatefulSet", "Deployment")]
    pod = workload["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False, "for a service named facet it sets FACET_PORT=tcp://..."
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert variables(container) <= SETTINGS
    assert {"FACET_DATABASE", "FACET_DATABASE_PASSWORD"} <= variables(container) or kind == "embedded"
    patience = next(v["value"] for v in container["env"] if v["name"] == "FACET_SHUTDOWN_SECONDS")
    stop = container.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", ["sleep", "0"])
    assert (int(stop[1]) > 0) is (kind == "postgres"), "where others go on, requests still come for a moment"
    assert pod["terminationGracePeriodSeconds"] > int(patience) + int(stop[1])


def test_the_budget_counts_the_pods_of_the_service_alone() -> None:
    (budget,) = [found for found in manifests("postgres") if found["kind"] == "PodDisruptionBudget"]
    assert budget["spec"]["selector"] == {"matchLabels": {"app.kubernetes.io/name": "facet"}}


def test_milvus_patches_set_what_there_is() -> None:
    patch = yaml.safe_load((KUBERNETES / "milvus" / "index.yaml").read_text())
    (container,) = patch["spec"]["template"]["spec"]["containers"]
    assert variables(container) == {"FACET_INDEX", "FACET_MILVUS"}


@pytest.mark.parametrize("kind", KINDS)
def test_manifests_are_valid(kind: str) -> None:
    """Against the schemas of Kubernetes; what kustomize adds is what the schemas ask for."""
    for manifest in manifests(kind):
        if manifest["kind"] in ("StatefulSet", "Deployment"):
            labels = {"app.kubernetes.io/name": "facet"}
            manifest["spec"]["selector"] = {"matchLabels": labels}
            manifest["spec"]["template"]["metadata"] = {"labels": labels}
        kubernetes_validate.validate(manifest, VERSION, strict=True)


@pytest.mark.engines
@pytest.mark.needs("kubectl")
@pytest.mark.parametrize("kind", KINDS)
def test_kustomize_builds_them(kind: str) -> None:
    kubectl = shutil.which("kubectl")
    assert kubectl is not None
    built = subprocess.run([kubectl, "kustomize", KUBERNETES / kind], capture_output=True, text=True, check=True).stdout
    for manifest in yaml.safe_load_all(built):
        kubernetes_validate.validate(manifest, VERSION, strict=True)
    assert ("FACET_MILVUS" in built) == (kind == "milvus")


@pytest.mark.engines
@pytest.mark.needs("haproxy")
def test_haproxy_accepts_its_configuration(tmp_path: Path) -> None:
    environment = {f"FACET_{name}": "127.0.0.1:8000" for name in ("BIND", "ONE", "TWO", "THREE")}
    folder = ROOT / "deploy" / "haproxy"
    subprocess.run(
        ["haproxy", "-c", "-f", folder / "haproxy.cfg"],
        env={"PATH": "/usr/sbin:/usr/bin:/bin", "FACET_ERRORS": str(folder), **environment},
        check=True,
        cwd=tmp_path,
        capture_output=True,
    )
