"""The service installs on arm64: every package that it needs has a wheel there."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.conftest import ROOT

TAGS = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64")


@pytest.mark.engines
def test_every_locked_package_has_a_wheel_for_arm64(tmp_path: Path) -> None:
    needs = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    platforms = [word for tag in TAGS for word in ("--platform", tag)]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--disable-pip-version-check"]
    command += ["--only-binary", ":all:", "--python-version", "3.11", "--implementation", "cp", *platforms]
    command += ["--target", str(tmp_path), "-c", str(ROOT / "requirements.lock"), *needs]
    resolved = subprocess.run(command, capture_output=True, text=True, check=False)
    assert resolved.returncode == 0, resolved.stderr
