"""The systemd unit: what it promises, what systemd says of it, and that the service lives under its restrictions."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.api.server import ADDRESS, KEY, environment
from tests.conftest import ROOT, encode
from tests.deploy.confined import lines_of
from tests.waiting import PATIENCE, await_that

UNIT = ROOT / "deploy" / "systemd" / "facet.service"
PROGRAM = "/opt/facet/bin/facet"
EXPOSURE = 15
"""Most that `systemd-analyze security` may count, in tenths: 1.5 of 10."""


def value(name: str) -> str:
    (only,) = lines_of(UNIT, name)
    return only


def test_the_unit_is_what_the_documents_say() -> None:
    page = (ROOT / "docs" / "deployment.md").read_text().partition("## Without containers")[2].partition("\n## ")[0]
    assert value("Type") == "exec", "it sends no sd_notify"
    assert value("ExecStart").split() == [PROGRAM, "serve"]
    assert value("User") == "facet"
    for path in ("/opt/facet", "/etc/facet/facet.env", "/etc/facet/credentials", "/var/lib/facet"):
        assert path in page, path
    assert value("LoadCredential") == "facet:/etc/facet/credentials"
    assert (ROOT / "deploy" / "systemd" / "facet.sysusers").read_text().splitlines()[-1].startswith("u facet ")


def test_it_writes_to_its_own_folder_alone() -> None:
    assert value("StateDirectory") == "facet"
    assert value("Environment") == "FACET_DATA=%S/facet"
    assert value("ProtectSystem") == "strict"
    assert (value("StateDirectoryMode"), value("UMask"), value("LimitCORE")) == ("0700", "0077", "0")


def test_there_is_time_to_finish_what_was_admitted() -> None:
    assert int(value("TimeoutStopSec")) > 30


def test_secrets_are_read_from_systemds_credentials(tmp_path: Path) -> None:
    """systemd names a file of the folder `facet_` and the file's name, and its folder in the environment."""
    (tmp_path / "facet_default_fmr").write_text("0.0001\n")
    command = [sys.executable, "-m", "service.cli", "config"]
    given = {**os.environ, "CREDENTIALS_DIRECTORY": str(tmp_path)}
    done = subprocess.run(command, env=given, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "FACET_DEFAULT_FMR=0.0001" in done.stdout.splitlines()


@pytest.mark.engines
@pytest.mark.needs("systemd-analyze")
def test_systemd_accepts_it(tmp_path: Path) -> None:
    """With the program that is installed here in the place of the one in /opt."""
    program = Path(sys.executable).parent / "facet"
    unit = tmp_path / "facet.service"
    unit.write_text(UNIT.read_text().replace(PROGRAM, str(program)))
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "facet.service" not in done.stderr, done.stderr


@pytest.mark.engines
@pytest.mark.needs("systemd-analyze")
def test_systemd_counts_little_exposure() -> None:
    command = ["systemd-analyze", "--no-pager", "security", "--offline=true", f"--threshold={EXPOSURE}", str(UNIT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.engines
@pytest.mark.needs("systemd-analyze")
def test_the_service_lives_with_the_calls_that_are_left(
    tmp_path: Path, model_dirs: tuple[Path, ...], astronaut: NDArray[np.uint8]
) -> None:
    log, data = tmp_path / "log", tmp_path / "data"
    confined = [sys.executable, "-m", "tests.deploy.confined", str(UNIT)]
    serve = [sys.executable, "-m", "service.cli", "serve", "--port", "0"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*confined, *serve], cwd=ROOT, env=environment(data, model_dirs), stdout=output, stderr=output
        )
    try:
        await_that(lambda: ADDRESS.search(log.read_text()) or process.poll() is not None)
        assert process.poll() is None, log.read_text()
        assert "\nSeccomp:\t2\n" in Path(f"/proc/{process.pid}/status").read_text()
        address, key = ADDRESS.search(log.read_text()), KEY.search(log.read_text())
        assert address is not None
        assert key is not None
        headers, photo = {"Authorization": f"Bearer {key.group()}"}, encode(astronaut)
        with httpx.Client(base_url=address.group(1), headers=headers, timeout=PATIENCE) as client:
            enrolled = client.post("/v1/enroll", data={"subject": "one"}, files={"images": photo})
            assert enrolled.status_code == 201, enrolled.text
            verified = client.post("/v1/verify", data={"subject": "one", "threshold": "0.4"}, files={"probe": photo})
            assert verified.json()["decision"] == "match", verified.text
            assert client.delete("/v1/collections/default/subjects/one").status_code == 200
    finally:
        process.terminate()
    assert process.wait(PATIENCE) == 0, log.read_text()
    assert "Operation not permitted" not in log.read_text()
