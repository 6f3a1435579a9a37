"""What is in the repository for the service to read is in the installed package too."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from tests.conftest import ROOT


def test_the_wheel_holds_every_file_of_the_service(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    shutil.copytree(ROOT / "service", tree / "service", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    subprocess.run(
        [
            sys.executable,
            "-c",
            "from setuptools import setup; setup()",
            "--quiet",
            "bdist_wheel",
            "--dist-dir",
            tmp_path,
        ],
        cwd=tree,
        capture_output=True,
        check=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith("service/")}
        metadata = next(archive.read(name).decode() for name in archive.namelist() if name.endswith("/METADATA"))
        assert "License-Expression: Apache-2.0" in metadata
        assert any(name.endswith("/licenses/LICENSE") for name in archive.namelist())
    assert packed == {str(path.relative_to(tree)) for path in (tree / "service").rglob("*") if path.is_file()}
