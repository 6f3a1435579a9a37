"""A scan that reached nobody does not say that all is well."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT

SKIPPED = {"name": "a", "skip_reason": "Dependency not found on PyPI"}
SOUND = {"name": "b", "version": "1.0", "vulns": []}
AFFLICTED = {"name": "c", "version": "2.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2.1"], "aliases": []}]}


def scan(tmp_path: Path, **answers: list[dict[str, Any]]) -> subprocess.CompletedProcess[str]:
    """Run the scan where pip-audit gets these answers; a source without one is not reached."""
    (tmp_path / "answers.json").write_text(json.dumps(answers))
    (tmp_path / "pip_audit.py").write_text(
        "import json, pathlib, sys\n"
        "answers = json.loads(pathlib.Path(__file__).with_name('answers.json').read_text())\n"
        "source = sys.argv[sys.argv.index('--vulnerability-service') + 1]\n"
        "if source not in answers: sys.exit('ERROR: connection refused')\n"
        "print(json.dumps({'dependencies': answers[source], 'fixes': []}))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    line = [sys.executable, str(ROOT / "deploy" / "scan.py")]
    return subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("answers", [{}, {"pypi": [SKIPPED]}, {"pypi": [SKIPPED], "osv": [SKIPPED]}], ids=range(3))
def test_without_a_source_it_says_so_and_fails_nothing(tmp_path: Path, answers: dict[str, Any]) -> None:
    done = scan(tmp_path, **answers)
    assert done.returncode == 0, done.stderr
    assert "NOT SCANNED" in done.stdout


def test_a_known_vulnerability_ends_with_one(tmp_path: Path) -> None:
    done = scan(tmp_path, osv=[SOUND, AFFLICTED])
    assert done.returncode == 1
    assert "connection refused" in done.stdout
    assert "c 2.0: PYSEC-1, mended in 2.1" in done.stdout


def test_what_a_source_does_not_know_is_told_beside_what_it_knows(tmp_path: Path) -> None:
    done = scan(tmp_path, pypi=[SKIPPED, SOUND])
    assert done.returncode == 0
    assert "1 of 2 packages are not known there" in done.stdout
    assert "0 known vulnerabilities in 1 packages, by pypi" in done.stdout
