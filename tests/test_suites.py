"""Each suite says what it needs: where that is missing its tests are skipped in words, and nothing ends in an error."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.waiting import PATIENCE

SUITES = {
    "data": ("tests/rollout/test_promotion.py", "needs the research data in "),
    "engines and not data": ("tests/bench/test_load.py", "needs wrk"),
    "browser": ("tests/web/test_keys.py", "needs chromium"),
    "image": ("tests/deploy/test_image.py", "buildah, debootstrap"),
}


@pytest.mark.parametrize("suite", SUITES)
def test_a_suite_without_what_it_needs_says_so(suite: str, tmp_path: Path) -> None:
    file, reason = SUITES[suite]
    poor = {**os.environ, "PATH": str(tmp_path), "SHARED": str(tmp_path / "shared")}
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-m", suite, "-p", "no:cacheprovider", file],
        env=poor,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert run.returncode == 0, run.stdout
    assert reason in run.stdout
    assert re.search(r"\d+ skipped", run.stdout.splitlines()[-1])
    assert not re.search(r"passed|failed|error", run.stdout.splitlines()[-1])
