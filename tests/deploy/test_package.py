"""What is in the repository for the service to read is in the installed package too."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from tests.conftest import ROOT


def build(tree: Path, target: Path) -> Path:
    """Build the wheel of a tree."""
    words = [sys.executable, "-c", "from setuptools import setup; setup()", "--quiet", "bdist_wheel", "--dist-dir"]
    subprocess.run([*words, str(target)], cwd=tree, capture_output=True, check=True)
    (wheel,) = target.glob("*.whl")
    return wheel


def test_the_wheel_of_the_client_is_typed_and_whole(tmp_path: Path) -> None:
    tree, own = tmp_path / "tree", ROOT / "deploy" / "client"
    shutil.copytree(own, tree, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    with zipfile.ZipFile(build(tree, tmp_path)) as archive:
        packed = {name for name in archive.namelist() if name.startswith("facet_client/")}
        metadata = next(archive.read(name).decode() for name in archive.namelist() if name.endswith("/METADATA"))
    files = (own / "src" / "facet_client").glob("*")
    assert packed == {f"facet_client/{path.name}" for path in files if path.is_file()}
    assert "facet_client/py.typed" in packed
    assert [line for line in metadata.splitlines() if line.startswith("Requires-Dist")] == ["Requires-Dist: httpx"]


def test_the_wheel_holds_every_file_of_the_service(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    shutil.copytree(ROOT / "service", tree / "service", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    with zipfile.ZipFile(build(tree, tmp_path)) as archive:
        packed = {name for name in archive.namelist() if name.startswith("service/")}
        metadata = next(archive.read(name).decode() for name in archive.namelist() if name.endswith("/METADATA"))
        assert "License-Expression: Apache-2.0" in metadata
        assert any(name.endswith("/licenses/LICENSE") for name in archive.namelist())
    assert packed == {str(path.relative_to(tree)) for path in (tree / "service").rglob("*") if path.is_file()}
