"""What a person meets who types a command for the first time: help at once, and a line of words for a mistake."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from service.cli import COMMANDS, app
from service.gallery.embedded import open_embedded
from service.version import VERSION
from tests.api.server import environment
from tests.waiting import PATIENCE

HEAVY = {"torch", "onnxruntime", "cv2", "faiss", "fastapi", "starlette", "uvicorn", "matplotlib", "pymilvus", "psycopg"}
PROBE = """
import sys
from typer.testing import CliRunner
from service.cli import app
result = CliRunner().invoke(app, sys.argv[1:])
assert result.exit_code == 0, result.output
print("loaded:", *sorted(sys.modules))
"""


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A gallery with a collection, named by the environment."""
    monkeypatch.chdir(tmp_path)
    before = os.umask(0o022)
    monkeypatch.setenv("FACET_DATA", str(tmp_path / "data"))
    with closing(open_embedded(tmp_path / "data")) as gallery:
        gallery.create_collection("staff")
    yield tmp_path / "data"
    os.umask(before)


def facet(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def refused(*words: str | Path, status: int = 1) -> str:
    """What a command prints that ends in an error: one without a traceback."""
    result = facet(*words)
    assert result.exit_code == status, result.output
    assert "Traceback" not in result.output
    assert isinstance(result.exception, SystemExit)
    return " ".join(result.stderr.split())


def modules_of(line: list[str], data: Path) -> set[str]:
    """Run a command in a process of its own; returns what it had imported at its end."""
    run = subprocess.run(
        [sys.executable, "-c", PROBE, *line],
        env=environment(data, ()),
        cwd=data.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return set(run.stdout.split("loaded: ")[1].split())


@pytest.mark.parametrize(
    "line",
    [
        ["--help"],
        ["--version"],
        ["keys", "--help"],
        ["config"],
        ["keys", "list"],
        ["keys", "create", "door", "--scope", "verify"],
        ["gallery", "--help"],
        ["enroll", "--help"],
        ["verify-pairs", "--help"],
        ["gallery", "export", "all.facet"],
    ],
    ids=" ".join,
)
def test_what_needs_no_model_imports_none(line: list[str], data: Path) -> None:
    """Imported modules decide how long a command takes to start, and do not depend on the clock."""
    assert modules_of(line, data) & HEAVY == set()


@pytest.mark.parametrize("line", [["--help"], ["--version"], ["-h"]], ids=" ".join)
def test_help_imports_no_command(line: list[str], data: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", PROBE, *line], env=environment(data, ()), capture_output=True, text=True, check=False
    )
    loaded = set(run.stdout.split("loaded: ")[1].split())
    assert loaded & {"sqlalchemy", "numpy", "pydantic", "service.settings"} == set()


@pytest.mark.parametrize("command", ["enroll", "verify-pairs"])
def test_work_through_a_server_starts_without_the_service(command: str, data: Path) -> None:
    assert modules_of([command, "--help"], data) & {"sqlalchemy", "service.settings"} == set()


def test_models_are_listed_without_a_server(data: Path) -> None:
    assert modules_of(["models", "list"], data) & {"fastapi", "uvicorn", "faiss", "torch"} == set()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_short_help_of_its_own(name: str, data: Path) -> None:
    short, long = facet(name, "-h"), facet(name, "--help")
    assert short.exit_code == 0
    assert short.output == long.output
    assert "<bool>" not in short.output


def test_the_version_is_told() -> None:
    assert facet("--version").stdout == f"facet {VERSION}\n"


@pytest.mark.parametrize(
    "line",
    [
        ["keys", "list"],
        ["keys", "create", "door", "--scope", "admin"],
        ["keys", "revoke", "0123456789"],
        ["gallery", "verify"],
        ["gallery", "compact"],
        ["gallery", "reseal"],
        ["gallery", "export", "all.facet"],
        ["reembed", "status"],
        ["reembed", "coverage", "facet-s"],
        ["reembed", "start", "facet-s"],
        ["reembed", "cancel", "x"],
        ["reembed", "drop", "facet-s"],
        ["comparison", "report"],
    ],
    ids=" ".join,
)
def test_only_serve_and_import_make_a_store(line: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = refused(*line, "--data", "typo")
    assert f"there is no gallery in {tmp_path / 'typo'}" in words
    assert "--data" in words
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (["compare", "facet-s", "--people", "/nope"], "'/nope' does not exist"),
        (["compare", "facet-s", "--pairs", "/nope.csv"], "'/nope.csv' does not exist"),
        (["compare", "facet-s", "--people", ".", "--markdown", "/nope/x.md"], "there is no folder /nope"),
        (["compare", "facet-s", "--people", ".", "--csv", "."], "is a folder"),
        (["comparison", "report", "--markdown", "/nope/x.md"], "there is no folder /nope"),
        (["gallery", "inspect", "/nope.facet"], "'/nope.facet' does not exist"),
        (["gallery", "import", "/nope.facet"], "'/nope.facet' does not exist"),
        (["gallery", "export", "/nope/all.facet"], "there is no folder /nope"),
        (["keys", "create", " ", "--scope", "read"], "needs a name"),
        (
            ["keys", "create", "door", "--scope", "read", "--collection", "nope"],
            "no collection 'nope'; there are: staff",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_told_before_work_is_begun(line: list[str], words: str, data: Path) -> None:
    assert words in refused(*line, status=2)


def test_plots_are_not_promised_without_matplotlib(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert "pip install matplotlib" in refused("compare", "facet-s", "--people", ".", "--plots", "plots", status=2)


def test_an_export_does_not_replace_a_file_that_is_there(data: Path) -> None:
    assert facet("gallery", "export", "all.facet").exit_code == 0
    before = Path("all.facet").read_bytes()
    assert "is there already" in refused("gallery", "export", "all.facet", status=2)
    assert Path("all.facet").read_bytes() == before


def test_an_unreadable_file_is_named(data: Path, tmp_path: Path) -> None:
    (tmp_path / "spec.json").mkdir()
    assert "spec.json" in refused("models", "add", __file__, "--spec", "spec.json")


@pytest.mark.parametrize(
    ("line", "names"),
    [
        (["keys", "list"], {"id", "name", "scopes", "collections", "created_at", "expires_at", "revoked_at", "state"}),
        (["models", "list"], {"name", "version", "task", "sha256", "licence", "bytes", "supported_fmr", "folder"}),
        (["models", "specs"], {"name", "task", "about", "url", "sha256"}),
        (["reembed", "coverage", "facet-s"], set()),
        (["reembed", "status"], set()),
        (["gallery", "compact"], set()),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_every_list_is_had_as_json(line: list[str], names: set[str], data: Path) -> None:
    assert facet("keys", "create", "door", "--scope", "verify", "--collection", "staff").exit_code == 0
    records: list[dict[str, Any]] = json.loads(facet(*line, "--json").stdout)
    assert all(names <= set(record) for record in records)
    assert bool(records) == bool(names)


def test_a_piped_table_is_not_wrapped(data: Path) -> None:
    name = "a key with a name of many words that no terminal of eighty columns holds, and some more of them"
    assert facet("keys", "create", name, "--scope", "verify").exit_code == 0
    assert name in facet("keys", "list").stdout


def test_settings_are_had_as_json(data: Path) -> None:
    assert json.loads(facet("config", "--json").stdout)["FACET_DATA"] == str(data)


def test_a_spec_says_what_pull_must_be_told(data: Path) -> None:
    assert "--url and --sha256" in facet("models", "specs").stdout
    words = refused("models", "pull", "--spec", "yunet")
    assert "names no address: give --url" in words


def start(data: Path, model_dirs: tuple[Path, ...], *words: str, **given: str) -> subprocess.CompletedProcess[str]:
    """Start a service that is expected to end by itself."""
    line = [sys.executable, "-m", "service.cli", "serve", "--port", "0", *words]
    return subprocess.run(
        line,
        env=environment(data, model_dirs, **given),
        cwd=data.parent,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@pytest.mark.parametrize("fault", ["port", "host", "model", "rate", "setting"])
def test_a_start_that_fails_makes_nothing_and_promises_nothing(
    fault: str, tmp_path: Path, model_dirs: tuple[Path, ...]
) -> None:
    data = tmp_path / "data"
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        words, given, reason = {
            "port": (["--port", port], {}, f"cannot listen on 127.0.0.1 port {port}"),
            "host": (["--host", "192.0.2.1"], {}, "cannot listen on 192.0.2.1"),
            "model": ([], {"default_model": "nonesuch"}, "nonesuch"),
            "rate": ([], {"default_fmr": "1e-9"}, "FACET_DEFAULT_FMR: no loaded model supports"),
            "setting": ([], {"default_fmrr": "1e-3"}, "did you mean FACET_DEFAULT_FMR?"),
        }[fault]
        ended = start(data, model_dirs, *words, **given)
    assert ended.returncode not in (0, None)
    assert reason in ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stdout == "", "neither an address nor a key"
    assert not data.exists()


def test_what_is_written_is_for_its_user_alone(data: Path) -> None:
    assert facet("gallery", "export", "all.facet").exit_code == 0
    there = [data, *data.iterdir(), data.parent / "all.facet"]
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in there if path.name != "gallery.lock"}
    assert {name: oct(mode) for name, mode in modes.items() if mode & 0o077} == {}
