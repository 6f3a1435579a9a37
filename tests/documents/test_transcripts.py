"""Every console line of the documents is typed, against a real service and public-domain photographs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from functools import reduce
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from numpy.typing import NDArray

from tests.api.server import Server, environment, serving
from tests.conftest import ROOT, encode
from tests.documents.parse import parse, unknown_words
from tests.documents.shell import Shell
from tests.documents.transcripts import DOCUMENTS, INDENTED, Line, agrees, lines_of

NAMED = {str(path.relative_to(ROOT)): path for path in DOCUMENTS}
LINES = {name: lines_of(path) for name, path in NAMED.items()}
LONG = (
    "facet-train",
    "facet gallery bench",
    "make",
    ".venv-dev/bin/python -m pytest",
    "python -m training.",
    "pip install",
)
"""Programs that train, measure, test or install for minutes: their lines are checked word by word and not run."""
SPAN = re.compile(r"`((?:facet|facet-train) [^`]+)`")

TOOLS = ("bash", "curl", "jq", "git")


def is_run(line: Line) -> bool:
    return not line.command.startswith(LONG)


@pytest.fixture
def photographs(tmp_path: Path, astronaut: NDArray[np.uint8], admiral: NDArray[np.uint8]) -> Path:
    """The folder that a reader of the documents works in."""
    folder = tmp_path / "reader"
    darker = (astronaut[10:, 6:] * 0.8).astype(np.uint8)
    pictures = {
        "ann-1": astronaut,
        "ann-2": darker,
        "door": darker,
        "passport": astronaut,
        "stranger": admiral,
        "group": np.hstack([astronaut, admiral[: astronaut.shape[0]]]),
        "photos/ann/1": astronaut,
        "photos/ann/2": darker,
        "photos/gwen/1": admiral,
        "photos/gwen/2": admiral[8:],
    }
    for name, pixels in pictures.items():
        path = folder / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(pixels))
    (folder / "pairs.csv").write_text(
        "first,second,genuine\nphotos/ann/1.jpg,photos/ann/2.jpg,1\nphotos/ann/1.jpg,photos/gwen/1.jpg,0\n"
    )
    return folder


@pytest.fixture
def server(tmp_path: Path, model_dirs: tuple[Path, ...]) -> Iterator[Server]:
    with serving(tmp_path / "data", model_dirs) as running:
        yield running


def prepare(document: str, server: Server) -> dict[str, str]:
    """What a document takes to be there already."""
    if document != "docs/comparing-models.md":
        return {}
    with server.client() as client:
        roles = {"champion": "facet-m", "challenger": "facet-s", "sample": 1.0}
        assert client.put("/v1/roles", json=roles).status_code == 200
        photograph = encode(np.asarray(skimage.data.astronaut(), dtype=np.uint8))
        files = {"probe": ("i", photograph), "reference": ("i", photograph)}
        decision = client.post("/v1/verify", files=files)
        assert decision.status_code == 200
    return {"REQUEST_ID": decision.headers["X-Request-ID"]}


@pytest.fixture
def shell(
    server: Server, photographs: Path, model_dirs: tuple[Path, ...], request: pytest.FixtureRequest
) -> Iterator[Shell]:
    data = server.log.parent / "data"
    document = request.node.callspec.params["document"] if hasattr(request.node, "callspec") else "README.md"
    given = {"URL": str(ROOT), **prepare(document, server)}
    with Shell(photographs, {**environment(data, model_dirs), **given}) as shell:
        yield shell


@pytest.mark.needs(*TOOLS)
@pytest.mark.parametrize("document", [name for name, lines in LINES.items() if any(map(is_run, lines))])
def test_every_console_line_does_what_the_document_says(document: str, server: Server, shell: Shell) -> None:
    block = 0
    for line in filter(is_run, LINES[document]):
        if line.block != block:
            block = line.block
            shell.back()
        status, printed = shell.run(_as_here(line, server))
        place = f"{line.document}:{line.number}: {line.command}"
        assert status == 0, f"{place}\n{printed}\n{shell.errors}"
        if line.output is not None:
            assert agrees(line.output, printed), f"{place}\nprinted: {printed}"


@pytest.mark.parametrize("document", [name for name, lines in LINES.items() if not all(map(is_run, lines))])
def test_lines_that_take_minutes_are_typed_right(document: str) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for line in LINES[document]:
        place, words = f"{line.document}:{line.number}", shlex.split(line.command, comments=True)
        if words[0] == "make":
            assert set(words[1:]) <= set(targets), place
        elif words[0] == "pip":
            assert (ROOT / words[2] / "pyproject.toml").is_file(), place
        elif words[0] == "python":
            assert find_spec(words[2]) is not None, place
        elif words[0].endswith("python"):
            assert [word for word in words if word.endswith(".py") and not (ROOT / word).is_file()] == [], place
        elif not is_run(line):
            assert parse(words) == 0, place


@pytest.mark.needs(*TOOLS)
def test_the_readme_shows_why_a_photograph_is_refused(server: Server, shell: Shell) -> None:
    for line in LINES["README.md"]:
        if line.command.startswith(("export", "ask()", "show()")):
            assert shell.run(_as_here(line, server))[0] == 0
        if "/v1/enroll" in line.command:
            status, printed = shell.run(line.command.replace("ann-1.jpg", "group.jpg"))
    assert status == 22
    assert '"several_faces"' in printed, "the reason is there, and no row of nulls"


def _as_here(line: Line, server: Server) -> str:
    """The command with this server's key, address and models in place of the documents'."""
    here = {
        "facet_...": server.key or "",
        "http://127.0.0.1:8000": server.address,
        '"new"': '"facet-s"',
        "start new": "start facet-s",
        "models/old": "models/facet-s",
    }
    return reduce(lambda command, pair: command.replace(*pair), here.items(), line.command)


@pytest.mark.parametrize("document", NAMED)
def test_commands_in_prose_exist_with_their_options(document: str) -> None:
    spans = SPAN.findall(NAMED[document].read_text(encoding="utf-8"))
    assert {span: unknown for span in spans if (unknown := unknown_words(span.split()))} == {}


@pytest.mark.parametrize("document", NAMED)
def test_console_lines_stand_in_blocks_that_are_run(document: str) -> None:
    text = NAMED[document].read_text(encoding="utf-8")
    assert INDENTED.findall(text) == [], "an indented block is not run: use ```sh"
    assert re.findall(r"^```\n(?:facet|curl|make|docker)", text, re.MULTILINE) == [], "mark the block sh"


def test_console_lines_of_the_readme_fit_on_a_screen() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```(?:sh|console)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert [line for block in blocks for line in block.splitlines() if len(line) > 100] == []
