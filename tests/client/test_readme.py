"""The Python of the client's README, run in its order against a real service."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from facet_client import Facet

from tests.api.server import Server
from tests.conftest import ROOT

README = ROOT / "deploy" / "client" / "README.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
PRINTED = [
    r"match [\d.]+ [\d.]+\n(match \['ann'\]\nno_match \['ann'\]|no_match \['ann'\]\nmatch \['ann'\])\n",
    r"True False\nann 2\n",
    r"\['several_faces'\]\n",
]


@pytest.fixture
def folder(tmp_path: Path, ann: bytes, ann_later: bytes, gwen: bytes, both: bytes) -> Path:
    names = {"ann-1": ann, "ann-2": ann_later, "door": ann_later, "passport": ann, "stranger": gwen, "group": both}
    for name, photograph in names.items():
        (tmp_path / f"{name}.jpg").write_bytes(photograph)
    return tmp_path


def test_every_block_does_what_it_says(shared_server: Server, facet: Facet, folder: Path) -> None:
    for block, printed in zip(BLOCKS, PRINTED, strict=True):
        code = block.replace("http://127.0.0.1:8000", shared_server.address)
        words = [sys.executable, "-c", f"key = {shared_server.key!r}\n{code}"]
        surroundings = {"PYTHONPATH": str(ROOT / "deploy" / "client" / "src"), "PATH": ""}
        run = subprocess.run(words, cwd=folder, env=surroundings, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr
        assert re.fullmatch(printed, run.stdout), run.stdout
    facet.delete_subject("ann")
