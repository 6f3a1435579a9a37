"""What the compose file promises about privileges, secrets and where it listens."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT

COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


@pytest.mark.parametrize("name", SERVICES)
def test_services_have_no_privileges(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "devices", "network_mode", "pid"} & set(service)


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_published_on_this_machine_only(name: str) -> None:
    for port in SERVICES[name]["ports"]:
        assert re.match(r"(\$\{\w+:-)?127\.0\.0\.1:", port)


@pytest.mark.parametrize("name", SERVICES)
def test_no_password_or_key_is_set(name: str) -> None:
    environment = SERVICES[name].get("environment", {})
    secret = re.compile("PASSWORD|SECRET|TOKEN|KEY", re.IGNORECASE)
    assert not [variable for variable in environment if secret.search(variable)]


@pytest.mark.parametrize("name", SERVICES)
def test_what_is_mounted_exists_and_cannot_be_written(name: str) -> None:
    for volume in SERVICES[name]["volumes"]:
        source, _, mode = volume.split(":") if volume.count(":") == 2 else (*volume.split(":"), "")
        if source.startswith("./"):
            assert (ROOT / source).is_dir()
            assert mode == "ro"
        else:
            assert source in COMPOSE["volumes"]


def test_versions_of_other_images_are_pinned() -> None:
    for name, service in SERVICES.items():
        if name != "facet":
            assert re.search(r":v?\d+\.\d+\.\d+$", service["image"])


def test_there_is_time_to_finish_what_was_admitted() -> None:
    service = SERVICES["facet"]
    assert int(service["stop_grace_period"].rstrip("s")) > int(service["environment"]["FACET_SHUTDOWN_SECONDS"])
