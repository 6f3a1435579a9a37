"""Packages are small enough to be known, and each is described where a newcomer looks."""

from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MOST = 15


@pytest.mark.parametrize("half", ["service", "training"])
def test_no_package_has_more_than_fifteen_modules_of_its_own(half: str) -> None:
    sizes = Counter(file.parent for file in (ROOT / half).rglob("*.py") if file.name != "__init__.py")
    assert sizes, "the packages lie beside the tests"
    assert {str(package.relative_to(ROOT)): size for package, size in sizes.items() if size > MOST} == {}


def test_what_the_architecture_names_is_a_package_or_a_module() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    halves = {"service": "## Packages of the service", "training": "## Packages of training"}
    for half, title in halves.items():
        rows = [line for line in text.split(title)[1].split("\n## ")[0].splitlines() if line.startswith("| `")]
        named = [name.strip("`") for row in rows for name in row.split("|")[1].strip().split(", ")]
        assert named
        assert [name for name in named if not (ROOT / half / name).exists()] == []
        packages = {path.name for path in (ROOT / half).iterdir() if (path / "__init__.py").exists()}
        assert packages - set(named) == set(), "a package that the table leaves out"
