"""`facet gallery` on the command line."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from service.cli import app
from service.gallery.embedded import open_embedded
from service.gallery.records import NewFace
from tests.gallery.vectors import people

A = "a" * 64


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    gallery = open_embedded(tmp_path / "data")
    gallery.create_collection("main")
    for number, vector in enumerate(people(10, 1, 16)):
        gallery.enroll("main", f"s{number}", [NewFace(f"f{number}", {A: vector})])
    gallery.close()
    return tmp_path / "data"


def facet(*arguments: str, status: int = 0) -> str:
    result = CliRunner().invoke(app, ["gallery", *arguments])
    assert result.exit_code == status, result.output
    return result.output


def test_out_and_in_again(data: Path, tmp_path: Path) -> None:
    file, other = str(tmp_path / "all.facet"), str(tmp_path / "other")
    counts = "1 collections, 10 subjects, 10 faces, 10 templates"
    assert counts in facet("export", file, "--data", str(data))
    assert counts in facet("inspect", file)
    assert counts in facet("import", file, "--data", other)
    assert "10 templates in 1 indexes" in facet("verify", "--data", other)
    refused = CliRunner().invoke(app, ["gallery", "import", file, "--data", other])
    assert refused.exit_code == 1
    assert "skip, merge or replace" in refused.output
    assert "10 were there already" in facet("import", file, "--conflict", "skip", "--data", other)


def test_a_difference_is_told_and_ends_with_one(data: Path) -> None:
    gallery = open_embedded(data)
    gallery.database.write(
        lambda connection: connection.exec_driver_sql("UPDATE templates SET subject_row = 9 WHERE row = 3")
    )
    gallery.close()
    assert "1 templates disagree with their face" in facet("verify", "--data", str(data), status=1)


def test_a_gallery_in_use_is_left_alone(data: Path) -> None:
    gallery = open_embedded(data)
    result = CliRunner().invoke(app, ["gallery", "compact", "--data", str(data)])
    assert result.exit_code == 1
    assert "another process" in result.output
    gallery.close()
    assert "main" in facet("compact", "--data", str(data))


def test_resealing_by_settings(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = base64.b64encode(os.urandom(32)).decode()
    monkeypatch.setenv("FACET_TEMPLATE_KEYS", f"first:{key}")
    assert "10 values sealed again" in facet("reseal", "--data", str(data))
    assert "0 values sealed again" in facet("reseal", "--data", str(data))
    assert "all agree" in facet("verify", "--data", str(data))
    monkeypatch.delenv("FACET_TEMPLATE_KEYS")
    result = CliRunner().invoke(app, ["gallery", "verify", "--data", str(data)])
    assert result.exit_code == 1
    assert "'first'" in result.output


def test_the_bench_prints_its_tables(data: Path) -> None:
    output = facet("bench", "--templates", "2000", "--dim", "32", "--seconds", "0.2", "--data", str(data))
    for word in ("exact float32", "embedded", "rebuilding", "database", "files (", "enrolments/s"):
        assert word in output
    assert not list(data.glob("bench-*"))
