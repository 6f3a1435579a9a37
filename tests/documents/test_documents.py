"""The documents name what is there."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tests.conftest import ROOT

PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "deploy" / "client" / "README.md"]
LINK = re.compile(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)")
NO_PACKAGES = {"__pycache__"}
TABLE = re.compile(r"(?:^ *\|.*\|$\n?)+", re.MULTILINE)
CELL = re.compile(r"(?<!\\)\|")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_documents_lead_somewhere(page: Path) -> None:
    links = LINK.findall(page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_row_of_a_table_has_a_cell_for_each_column(page: Path) -> None:
    for table in TABLE.findall(page.read_text(encoding="utf-8")):
        head, *rows = table.splitlines()
        assert [row for row in rows if len(CELL.findall(row)) != len(CELL.findall(head))] == []


def test_the_readme_leads_to_every_document() -> None:
    links = set(LINK.findall((ROOT / "README.md").read_text(encoding="utf-8")))
    documents = {str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md")}
    assert documents <= links


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_paths_in_documents_are_there(page: Path) -> None:
    paths = re.findall(r"`((?:service|training|tests|docs|deploy)/[\w./-]*)`", page.read_text(encoding="utf-8"))
    assert [path for path in paths if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("half", ["service", "training"])
def test_the_architecture_names_every_package_and_no_other(half: str) -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    section = text.split(f"## Packages of {'the service' if half == 'service' else half}")[1].split("\n## ")[0]
    named = {
        name for row in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE) for name in re.findall(r"`([^`]+)`", row)
    }
    packages = {path.name for path in (ROOT / half).iterdir() if path.is_dir()} - NO_PACKAGES
    assert packages <= named
    assert [name for name in named if not (ROOT / half / name).exists()] == []


def test_the_licence_is_the_one_that_the_package_declares() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["license"] == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text()
    assert "Apache-2.0" in (ROOT / "README.md").read_text()
