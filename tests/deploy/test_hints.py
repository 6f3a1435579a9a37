"""What messages and documents tell to install installs what they say."""

from __future__ import annotations

import re
import tomllib

from tests.conftest import ROOT

HINT = re.compile(r"pip install ([^`\"\n()]+)")
SOURCES = [
    *(ROOT / "service").rglob("*.py"),
    *(ROOT / "training").rglob("*.py"),
    *(path for path in ROOT.glob("*.md") if path.name != "CHANGELOG.md"),  # which tells what was
    *(ROOT / "docs").rglob("*.md"),
]


def test_hints_name_packages_of_the_extras_or_this_checkout() -> None:
    """The name `facet` belongs to another project on PyPI, and `facet[postgres]` would install that one."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    known = {re.split("[=<>]", name)[0] for names in (project["dependencies"], *extras.values()) for name in names}
    hints = [(str(path.relative_to(ROOT)), hint) for path in SOURCES for hint in HINT.findall(path.read_text())]
    assert len(hints) >= 5
    for place, hint in hints:
        for word in hint.replace("'", "").rstrip(" .;,|").split():
            checkout = re.fullmatch(r"\.(?:\[([a-z,]+)\])?", word)
            if checkout is not None:
                assert set((checkout.group(1) or "").split(",")) - {""} <= set(extras), place
            elif not word.startswith(("-", "{")):
                assert word in known, f"{place}: {word}"
