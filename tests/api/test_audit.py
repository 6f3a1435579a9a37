"""The audit log holds who asked what of whom: decisions before they are answered, reads, refusals, keys and files."""

from __future__ import annotations

import json
import multiprocessing
import sqlite3
import time
import unicodedata
from concurrent.futures import Future
from contextlib import closing
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from service.app import create_app
from service.cli import app as command
from service.database.audit_log import AuditEntry
from service.database.schema import subjects
from service.keys import Scope
from service.observation import Access, DecisionContext, DecisionEvent
from service.observers.audit import CHEAP_A_MINUTE, Auditor
from tests.api.conftest import Running, b64, settings_for

run = CliRunner().invoke


@pytest.fixture
def service(models: tuple[Path, ...], tmp_path: Path) -> Any:
    keys: list[str] = []
    app = create_app(settings_for(tmp_path / "data", models), keys.append)
    with TestClient(app, raise_server_exceptions=False) as client:
        client.headers["Authorization"] = f"Bearer {keys[0]}"
        yield Running(app, client, keys[0])


def entries(service: Running, **query: str) -> list[dict[str, Any]]:
    """The log, oldest first, but for the request that reads it; what was deferred travels along."""
    service.services.gallery.database.write(lambda _: None)
    items = service.client.get("/v1/audit", params={"limit": "1000", **query}).json()["items"]
    return [item for item in reversed(items) if item["action"] != "list_audit"]


def test_every_question_has_an_entry(service: Running, astronaut_jpeg: bytes, admiral_jpeg: bytes) -> None:
    client, image = service.client, b64(astronaut_jpeg)
    client.post("/v1/collections", json={"name": "a"})
    subject = client.post("/v1/enroll", json={"collection": "a", "subject": "ann", "images": [image]}).json()["subject"]
    client.post("/v1/verify", json={"probe": image, "collection": "a", "subject": "ann"})
    client.post("/v1/verify", json={"probe": b64(admiral_jpeg), "collection": "a", "subject": "ann"})
    client.post("/v1/identify", json={"image": image, "collection": "a"})
    client.post("/v1/embed", json={"image": image})
    client.post("/v1/detect", json={"image": image})
    client.get("/v1/collections/a/subjects")
    client.patch("/v1/collections/a/subjects/ann", json={"name": "anna"})
    client.get("/v1/collections/a/subjects/anna")
    limited = service.key_for(Scope.READ, collections=["a"])
    client.get("/v1/collections/secret/subjects", headers=limited)
    client.post("/v1/detect", json={"image": image}, headers=limited)
    client.get("/v1/collections", headers={"Authorization": "Bearer facet_0123456789_wrong"})
    client.delete("/v1/collections/a/subjects/anna")
    log = [(entry["action"], entry["outcome"], entry["collection"], entry["target"]) for entry in entries(service)]
    id_ = subject["id"]
    for expected in (
        ("create_key", "first start", None, None),
        ("create_collection", "done", "a", "a"),
        ("enroll", "1 of 1", "a", id_),
        ("verify", "match", "a", id_),
        ("verify", "no_match", "a", id_),
        ("identify", "match", "a", id_),
        ("embed", "1 faces", None, None),
        ("detect", "1 faces", None, None),
        ("list_subjects", "done", "a", None),
        ("update_subject", "done", "a", id_),
        ("read_subject", "done", "a", id_),
        ("list_subjects", "collection_forbidden", "secret", None),
        ("detect", "scope_missing", None, None),
        ("list_collections", "key_invalid", None, None),
        ("delete_subject", "done", "a", id_),
    ):
        assert expected in log, (expected, log)
    assert len(log) == len(set(log)) == 15
    assert "ann" not in json.dumps(log).replace("scanned", "")


def test_a_limited_admin_reads_of_its_collections_only(service: Running) -> None:
    service.client.get("/v1/collections/default/subjects")
    service.client.get("/v1/collections/other/subjects")
    service.services.gallery.database.write(lambda _: None)
    key = service.key_for(Scope.ADMIN, collections=["default"])
    seen = service.client.get("/v1/audit", headers=key).json()["items"]
    assert {entry["collection"] for entry in seen} == {"default"}
    assert service.client.get("/v1/audit", params={"collection": "other"}, headers=key).status_code == 403
    assert service.client.get("/v1/audit", headers=service.key_for(Scope.READ)).status_code == 403


def test_commands_are_noted_and_the_log_is_read_by_one(models: tuple[Path, ...], tmp_path: Path) -> None:
    data = tmp_path / "data"
    with TestClient(create_app(settings_for(data, models), lambda _: None)):
        made = run(command, ["keys", "create", "k", "--scope", "verify", "--data", str(data)])
        assert made.exit_code == 0, made.output
    key_id = made.stdout.split("_")[1]
    for line in (
        ["keys", "revoke", key_id],
        ["gallery", "export", str(tmp_path / "out.facet")],
        ["gallery", "import", str(tmp_path / "out.facet"), "--conflict", "skip"],
        ["backup", str(tmp_path / "copy")],
    ):
        assert run(command, [*line, "--data", str(data)]).exit_code == 0, line
    lines = run(command, ["audit", "--json", "--data", str(data)]).stdout.splitlines()
    log = [json.loads(line) for line in lines]
    noted = [(entry["action"], entry["target"]) for entry in reversed(log)][1:]
    assert noted == [
        ("create_key", key_id),
        ("revoke_key", key_id),
        ("export", "out.facet"),
        ("import", "out.facet"),
        ("backup", "copy"),
    ]
    assert all(entry["principal"].startswith("command:") for entry in log)
    table = run(command, ["audit", "--target", key_id, "--data", str(data)])
    assert table.exit_code == 0
    assert table.stdout.count(key_id) == 2
    assert run(command, ["audit", "--since", "2999-01-01", "--json", "--data", str(data)]).stdout == ""


def _answer(data: Path, models: tuple[Path, ...], image: bytes, answered: Connection) -> None:
    """Answer one verification, say so, and wait to be killed."""
    keys: list[str] = []
    with TestClient(create_app(settings_for(data, models), keys.append)) as client:
        headers = {"Authorization": f"Bearer {keys[0]}", "X-Request-ID": "answered"}
        answer = client.post("/v1/verify", json={"probe": b64(image), "reference": b64(image)}, headers=headers)
        answered.send(answer.status_code)
        time.sleep(600)


def test_an_answered_decision_is_in_the_log_after_a_kill(
    models: tuple[Path, ...], tmp_path: Path, astronaut_jpeg: bytes
) -> None:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    child = context.Process(target=_answer, args=(tmp_path / "data", models, astronaut_jpeg, there))
    child.start()
    assert here.recv() == 200
    child.kill()
    child.join()
    child.close()
    with closing(sqlite3.connect(tmp_path / "data" / "gallery.sqlite3")) as connection:
        query = "SELECT action, outcome FROM audit WHERE request_id = 'answered'"
        assert connection.execute(query).fetchall() == [("verify", "match")]


class _Memory:
    def __init__(self) -> None:
        self.entries: list[AuditEntry] = []

    def append(self, entry: AuditEntry) -> None:
        self.entries.append(entry)

    def begin(self, entries: list[AuditEntry]) -> Future[None]:
        self.entries += entries
        written: Future[None] = Future()
        written.set_result(None)
        return written


def test_guesses_without_end_do_not_fill_the_disk() -> None:
    log, clock = _Memory(), [0.0]
    auditor = Auditor(log, clock=lambda: clock[0])
    event = DecisionEvent(DecisionContext("r", "", None), Access("list_collections", "key_invalid"))
    for _ in range(10_000):
        auditor.observe(event)
    assert len(log.entries) == CHEAP_A_MINUTE
    clock[0] = 61.0
    auditor.observe(event)
    assert [entry.outcome for entry in log.entries[-2:]] == [f"{10_000 - CHEAP_A_MINUTE} more", "key_invalid"]


def test_old_entries_are_forgotten(models: tuple[Path, ...], tmp_path: Path) -> None:
    with TestClient(create_app(settings_for(tmp_path / "data", models), lambda _: None)):
        pass
    file = tmp_path / "data" / "gallery.sqlite3"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("UPDATE audit SET at = '2001-01-01 00:00:00.000000', outcome = 'old'")
        connection.commit()
    with TestClient(create_app(settings_for(tmp_path / "data", models, audit_days=30), None)):
        pass
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT count(*) FROM audit WHERE outcome = 'old'").fetchone() == (0,)


@pytest.mark.parametrize("what", ["subjects/ann", "faces/{face}", "everybody"])
def test_an_erasure_is_noted_also_where_a_reader_holds_the_old_pages(
    service: Running, monkeypatch: pytest.MonkeyPatch, astronaut_jpeg: bytes, what: str
) -> None:
    enrolled = service.client.post("/v1/enroll", json={"subject": "ann", "images": [b64(astronaut_jpeg)]}).json()
    face = enrolled["images"][0]["face_id"]
    path = f"/v1/collections/default/{what.format(face=face)}"
    if what == "everybody":
        path = "/api/v1/recognition/subjects"
    with service.services.gallery.database.engine.connect() as connection, connection.begin():
        connection.execute(sa.select(subjects)).all()
        monkeypatch.setattr("service.database.sqlite.engine.CHECKPOINT_SECONDS", 0.2)
        answer = service.client.delete(path)
    assert answer.status_code == 503
    kind, target = {
        "subjects/ann": ("subject", enrolled["subject"]["id"]),
        "faces/{face}": ("face", face),
        "everybody": ("subjects", "default"),
    }[what]
    noted = [entry for entry in entries(service) if entry["action"].startswith("delete_")]
    assert [(each["action"], each["outcome"], each["target"]) for each in noted] == [(f"delete_{kind}", "done", target)]


def test_a_collection_is_found_in_the_log_however_its_accents_were_typed(service: Running) -> None:
    service.client.post("/v1/collections", json={"name": "Gäste"})
    typed = unicodedata.normalize("NFD", "Gäste")
    assert [entry["action"] for entry in entries(service, collection=typed)] == ["create_collection"]


def test_whose_picture_was_shown_is_noted(service: Running, astronaut_jpeg: bytes) -> None:
    client = service.client
    client.patch("/v1/collections/default", json={"keep_crops": True})
    enrolled = client.post("/v1/enroll", json={"subject": "ann", "images": [b64(astronaut_jpeg)]}).json()
    face = enrolled["images"][0]["face_id"]
    assert client.get(f"/v1/collections/default/faces/{face}/crop").status_code == 200
    headers = {"x-api-key": service.key, "Authorization": ""}
    assert client.get(f"/api/v1/recognition/faces/{face}/img", headers=headers).status_code == 200
    noted = [(each["action"], each["target"]) for each in entries(service) if each["action"].startswith("read_")]
    assert noted == [("read_crop", enrolled["subject"]["id"]), ("read_image", enrolled["subject"]["id"])]
