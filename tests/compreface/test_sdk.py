"""The Python SDK of CompreFace runs unchanged against a real server.

It wants an older urllib3 than this project's packages, so it is installed into a folder of its own.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.api.server import serving
from tests.conftest import ROOT

PACKAGES = ("compreface-sdk==0.6.0", "urllib3<2", "requests<2.32")
CALLS = Path(__file__).with_name("sdk_calls.py")


@pytest.mark.engines
def test_every_call_of_the_sdk_is_answered(
    tmp_path: Path, model_dirs: tuple[Path, ...], astronaut_jpeg: bytes, admiral_jpeg: bytes
) -> None:
    packages = tmp_path / "packages"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target"]
    subprocess.run([*install, str(packages), *PACKAGES], check=True)
    one, other = tmp_path / "one.jpg", tmp_path / "other.jpg"
    one.write_bytes(astronaut_jpeg)
    other.write_bytes(admiral_jpeg)
    with serving(tmp_path / "data", model_dirs) as server:
        domain, _, port = server.address.rpartition(":")
        run = subprocess.run(
            [sys.executable, str(CALLS), domain, port, server.key or "", str(one), str(other)],
            env={**os.environ, "PYTHONPATH": str(packages)},
            capture_output=True,
            text=True,
            check=False,
        )
    assert run.returncode == 0, run.stderr
    said = json.loads(run.stdout)
    refused = {name: answer["code"] for name, answer in said.items() if "message" in answer}
    assert refused == {"subjects.delete, of nobody": 42}
    assert said["subjects.list"] == {"subjects": ["Edna", "Gwen"]}
    assert said["face_collection.list"]["total_elements"] == 2
    (face,) = said["recognition.recognize"]["result"]
    assert {each["subject"] for each in face["subjects"]} == {"Edna", "Gwen"}
    assert len(face["landmarks"]) == 5
    assert said["face_collection.verify"]["result"][0]["similarity"] < 0.85
    assert said["verification.verify"]["result"][0]["face_matches"][0]["similarity"] == 1.0
    assert said["verification.verify, of another"]["result"][0]["face_matches"][0]["similarity"] < 0.85
    assert said["subjects.update"] == {"updated": True}
    assert said["face_collection.delete_all"] == {"deleted": 0}
    assert said["subjects.delete_all"] == {"deleted": 0}


def test_the_documents_have_a_row_for_every_call() -> None:
    made = {name.partition(",")[0] for name in re.findall(r'said\["([^"]+)"\]', CALLS.read_text())}
    rows = re.findall(r"^\| `([a-z_.]+)\(", (ROOT / "docs" / "compreface.md").read_text(), re.MULTILINE)
    assert set(rows) == made
