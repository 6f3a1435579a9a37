"""The migrations are one line of steps, each in a file that is named by its revision."""

from __future__ import annotations

import re
from pathlib import Path

VERSIONS = Path(__file__).parents[2] / "service" / "database" / "migrations" / "versions"
STEP = re.compile(r'^revision = "(\d+)"\ndown_revision = (?:"(\d+)"|None)$', re.MULTILINE)


def test_every_step_follows_the_one_before() -> None:
    before = None
    for path in sorted(VERSIONS.glob("0*.py")):
        found = STEP.search(path.read_text(encoding="utf-8"))
        assert found is not None, path.name
        assert found.groups() == (path.name.partition("_")[0], before), path.name
        before = found.group(1)
