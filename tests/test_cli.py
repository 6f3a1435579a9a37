"""The command `facet`, as a person types it."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from service.cli import app
from service.commands.serve import address_of, welcome
from service.gallery.embedded import open_embedded
from service.settings import Settings, read_settings


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model_dirs: tuple[Path, ...]) -> Path:
    """A data folder of its own, and real models beside it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FACET_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("FACET_MODEL_DIRS", ":".join(map(str, model_dirs)))
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path / "data"


def facet(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def test_config_prints_settings_that_can_be_used_again(data: Path) -> None:
    printed = facet("config").stdout
    assert f"FACET_DATA={data}\n" in printed
    assert "FACET_QUEUE_LIMIT=64\n" in printed
    assert printed.count("# ") >= len(Settings.model_fields)


def test_a_wrong_setting_ends_with_its_name_and_no_traceback(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACET_WORKERS", "many")
    result = facet("config")
    assert result.exit_code == 1
    assert result.stderr.startswith("facet: FACET_WORKERS: ")
    assert "Traceback" not in result.output


def test_keys_are_made_listed_and_revoked(data: Path) -> None:
    with closing(open_embedded(data)) as gallery:
        gallery.create_collection("staff")
    made = facet("keys", "create", "door", "--scope", "verify", "--scope", "read", "--collection", "staff")
    key = made.stdout.strip()
    assert made.exit_code == 0
    assert made.stdout.count("\n") == 1, "the key stands alone on standard output, for scripts"
    key_id, secret = key.split("_")[1:]
    listed = facet("keys", "list").stdout
    assert all(word in listed for word in (key_id, "door", "read, verify", "staff", "valid"))
    assert secret not in listed
    assert facet("keys", "revoke", key_id).exit_code == 0
    assert "revoked" in facet("keys", "list").stdout
    again = facet("keys", "revoke", key_id)
    assert (again.exit_code, again.stderr.startswith("facet: no live key")) == (1, True)


def test_names_of_keys_are_listed_as_they_were_given(data: Path) -> None:
    open_embedded(data).close()
    for name in ("front [desk]", "ends [/here]", "gate :warning:"):
        assert facet("keys", "create", name, "--scope", "verify").exit_code == 0
        assert name in facet("keys", "list").stdout


def test_a_key_that_would_outlive_the_calendar_is_not_made(data: Path) -> None:
    open_embedded(data).close()
    refused = facet("keys", "create", "door", "--scope", "verify", "--days", "3000000")
    assert (refused.exit_code, "--days" in refused.stderr) == (2, True)


def test_who_has_read_enough_hears_nothing_more(data: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    words = [sys.executable, "-m", "service.cli", "config"]
    run = subprocess.run(words, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert run.stderr == ""


def test_a_key_without_a_scope_is_not_made(data: Path) -> None:
    assert facet("keys", "create", "door").exit_code == 2
    assert facet("keys", "create", "door", "--scope", "everything").exit_code == 2


def test_models_are_listed_shown_and_verified(data: Path, model_dirs: tuple[Path, ...]) -> None:
    manifests = [json.loads(path.read_text()) for folder in model_dirs for path in folder.glob("*/manifest.json")]
    listed, verified = facet("models", "list").stdout, facet("models", "verify").stdout
    for manifest in manifests:
        assert manifest["name"] in listed
        assert f"ok {manifest['name']}@{manifest['version']} {manifest['sha256']}" in verified
        assert manifest["name"] in facet("models", "show", manifest["name"]).stdout
    missing = facet("models", "show", "nonesuch")
    assert missing.exit_code == 1
    assert missing.stderr.startswith("facet: no model 'nonesuch'")


@pytest.fixture
def spare(model_dirs: tuple[Path, ...], tmp_path: Path) -> tuple[Path, Path]:
    """An ONNX file and a spec that describes it under a name of its own."""
    folder = next(
        path.parent
        for directory in model_dirs
        for path in sorted(directory.glob("*/manifest.json"))
        if json.loads(path.read_text())["task"] == "embedder"
    )
    manifest = json.loads((folder / "manifest.json").read_text())
    kept = ("version", "task", "space", "input", "output", "licence", "provenance", "results", "thresholds")
    spec = {
        **{name: manifest[name] for name in kept},
        "name": "spare",
        "about": "A copy for a test.",
        "url": None,
        "sha256": None,
        "parameters": None,
        "multiply_adds": None,
    }
    path = tmp_path / "spare.json"
    path.write_text(json.dumps(spec))
    return folder / "model.onnx", path


def test_a_model_is_added_and_its_damage_is_seen(data: Path, spare: tuple[Path, Path]) -> None:
    file, spec = spare
    assert facet("models", "add", file, "--spec", spec).exit_code == 0
    assert "ok spare@" in facet("models", "verify", "spare").stdout
    assert facet("models", "add", file, "--spec", spec).stderr.startswith("facet: ")
    (added,) = data.glob("models/spare-*/model.onnx")
    damaged = bytearray(added.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    added.write_bytes(damaged)
    result = facet("models", "verify", "spare")
    assert result.exit_code == 1
    assert "FAULT" in result.stderr
    assert "sha256" in result.stderr


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        pass


@pytest.fixture
def address(spare: tuple[Path, Path]) -> Iterator[str]:
    """A local file server with the spare model's file."""
    handler = partial(QuietHandler, directory=str(spare[0].parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/model.onnx"
        server.shutdown()
        thread.join()


def test_a_model_is_pulled_and_a_wrong_digest_leaves_nothing(
    data: Path, spare: tuple[Path, Path], address: str
) -> None:
    file, spec = spare
    wrong = facet("models", "pull", "--spec", spec, "--url", address, "--sha256", "0" * 64)
    assert wrong.exit_code == 1
    assert "sha256" in wrong.stderr
    assert list(data.glob("models/spare-*")) == []
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    pulled = facet("models", "pull", "--spec", spec, "--url", address, "--sha256", digest)
    assert pulled.exit_code == 0, pulled.output
    assert "ok spare@" in facet("models", "verify", "spare").stdout
    assert list(data.glob("models/.downloads/*")) == []


def test_a_spec_without_an_address_says_what_to_give(data: Path, spare: tuple[Path, Path]) -> None:
    result = facet("models", "pull", "--spec", spare[1])
    assert result.exit_code == 1
    assert "--url and --sha256" in result.stderr


def test_the_first_start_prints_a_line_that_can_be_pasted() -> None:
    settings = read_settings(env_file=None, host="0.0.0.0", port=8123)
    assert address_of(settings) == "http://127.0.0.1:8123"
    printed = welcome(address_of(settings), "facet_x_y")
    assert 'curl -H "Authorization: Bearer facet_x_y" http://127.0.0.1:8123/v1/' in printed
