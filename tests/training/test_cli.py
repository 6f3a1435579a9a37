"""The command `facet-train`, as a person types it who has the service alone, or makes a mistake."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.conftest import ROOT
from tests.waiting import PATIENCE
from training.cli import COMMANDS, app

SERVICE_ALONE = """
import sys

class Absent:  # as in a venv that `make serve` made
    def find_spec(self, name, path=None, target=None):
        if name in ("torch", "lightning", "yaml", "tqdm"):
            raise ModuleNotFoundError(name=name)

sys.meta_path.insert(0, Absent())
from training.cli import app
app(sys.argv[1:])
"""


def without_extras(*words: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-c", SERVICE_ALONE, *words]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False)


def test_help_needs_none_of_the_extras() -> None:
    helped = without_extras("-h")
    assert helped.returncode == 0, helped.stderr
    assert all(name in helped.stdout for name in COMMANDS)


@pytest.mark.parametrize("command", ["fit", "evaluate", "prepare", "papers-table"])
def test_a_missing_package_is_told_with_what_installs_it(command: str) -> None:
    ended = without_extras(command, "x")
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert "pip install -e '.[train]'" in ended.stderr
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_found_and_has_help(name: str) -> None:
    helped = CliRunner().invoke(app, [name, "-h"])
    assert helped.exit_code == 0, helped.output
    assert "Usage" in helped.output


@pytest.mark.parametrize(
    "line",
    [["fit", "/nope.yaml"], ["export", "nope", "nowhere"], ["targets", "/nope.yaml"], ["papers-table", "/nope.json"]],
    ids=" ".join,
)
def test_a_mistake_ends_with_a_line_of_words(line: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ended = CliRunner().invoke(app, line)
    assert ended.exit_code in (1, 2), ended.output
    assert isinstance(ended.exception, SystemExit)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (["evaluate", "facet-s", "--view1", ".", "--pairs", "pairs.txt"], "--pairs says nothing alone: give --lfw"),
        (["evaluate", "facet-s", "--groups", "g", "--distractors", "d"], "--distractors says nothing alone"),
        (["evaluate", "facet-s", "--groups", "g", "--reference", "facet-m"], "--reference says nothing alone"),
        (["evaluate", "facet-s", "--groups", "g", "--detector", "facet-detector"], "--detector says nothing alone"),
        (["ensemble", "two", "a", "b", "--dim", "8", "--projection", "p.npy"], "leave out --dim"),
        (["ensemble", "two", "a", "b", "--crops", "celeba"], "give --dim"),
        (["prepare", ".", "mine", "--aligned", "--centre"], "leave out --centre"),
        (["starter", "--shared", ".", "--prepare", "--only", "facet-s"], "leave out --only"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_an_option_that_would_be_ignored_is_refused(
    line: list[str], complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = CliRunner().invoke(app, line)
    assert ended.exit_code == 1, ended.output
    assert complaint in ended.output


@pytest.mark.parametrize(
    "line",
    [
        ["cost", "facet-s", "--turns", "0"],
        ["export", "facet-s", "celeba", "--count", "0"],
        ["confidence", "facet-s", "--crops", "0"],
        ["prepare", ".", "mine", "--workers", "0"],
        ["pace", "facet-s.yaml", "--steps", "0"],
    ],
    ids=" ".join,
)
def test_a_number_of_nothing_is_refused(line: list[str]) -> None:
    ended = CliRunner().invoke(app, line)
    assert (ended.exit_code, "greater than or equal to" in ended.output) == (2, True), ended.output


def test_preparing_takes_the_three_folders() -> None:
    helped = CliRunner().invoke(app, ["prepare", "-h"]).output
    assert all(option in helped for option in ("--data", "--models", "--runs"))
