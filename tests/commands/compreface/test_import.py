"""People of CompreFace come over with their pictures, from its API and from a dump, and nothing is left unsaid."""

from __future__ import annotations

import http.server
import json
import os
import socketserver
import threading
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from service.cli import app
from service.commands.compreface.api_source import ApiSource
from service.commands.compreface.dump_source import DumpSource
from service.commands.compreface.source import SourceInvalid
from service.gallery_factory import open_gallery
from service.settings import read_settings
from tests.commands.compreface.conftest import KEY, Face, compreface, write_dump
from tests.conftest import encode

OTHER_KEY = "00000000-0000-0000-0000-000000000003"


@pytest.fixture
def faces(astronaut: object, admiral: object, cat: object) -> list[Face]:
    """Two people with a picture, one without, and a cat."""
    return [
        ("face-1", "Edna Moss", encode(astronaut)),  # type: ignore[arg-type]
        ("face-2", "Gwen\\Field", encode(admiral)),  # type: ignore[arg-type]
        ("face-3", "Gwen Field", encode(admiral)),  # type: ignore[arg-type]
        ("face-4", "Gwen Field", None),
        ("face-5", "a cat", encode(cat)),  # type: ignore[arg-type]
    ]


SUBJECTS = ["Edna Moss", "Gwen Field", "Gwen\\Field", "a cat", "nobody yet"]
EXPECTED = "5 subjects, 5 faces: 2 imported, 0 were there already, 1 without a picture, 2 refused"


def run(folder: Path, model_dirs: tuple[Path, ...], monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Result:
    monkeypatch.setenv("FACET_MODEL_DIRS", str(model_dirs[0]))
    monkeypatch.chdir(folder)
    command = ["import", "compreface", *arguments, "--collection", "visitors", "--data", str(folder / "data")]
    before = os.umask(0o022)
    try:
        return CliRunner().invoke(app, command)
    finally:
        os.umask(before)


def enrolled(folder: Path) -> dict[str, int]:
    """The subjects imported, with the number of their faces."""
    gallery = open_gallery(read_settings(env_file=None, data=folder / "data"))
    try:
        assert gallery.verify().sound
        assert gallery.collection("visitors").keep_crops
        return {subject.name: subject.faces for subject in gallery.subjects("visitors").items}
    finally:
        gallery.close()


def test_people_come_over_from_a_running_instance(
    tmp_path: Path, model_dirs: tuple[Path, ...], monkeypatch: pytest.MonkeyPatch, faces: list[Face]
) -> None:
    monkeypatch.setattr("service.commands.compreface.api_source.PAGE", 2)
    monkeypatch.setenv("COMPREFACE_API_KEY", KEY)
    with compreface(SUBJECTS, faces) as address:
        first = run(tmp_path, model_dirs, monkeypatch, address, "--report", "report.json")
        again = run(tmp_path, model_dirs, monkeypatch, address)
    assert first.exit_code == 0, first.output
    assert EXPECTED in first.output
    assert "face-4 of Gwen Field: no picture was kept" in first.output
    assert "5 faces: 0 imported, 2 were there already" in again.output
    assert (tmp_path / "report.json").stat().st_mode & 0o077 == 0, "names stand in it"
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["without_image"] == [{"image_id": "face-4", "subject": "Gwen Field"}]
    assert [(each["image_id"], each["code"]) for each in report["refused"]] == [
        ("face-2", "name_invalid"),
        ("face-5", "no_face"),
    ]
    assert report["names_refused"] == ["Gwen\\Field"]
    assert enrolled(tmp_path) == {"Edna Moss": 1, "Gwen Field": 1, "a cat": 0, "nobody yet": 0}


def test_people_come_over_from_a_dump(
    tmp_path: Path, model_dirs: tuple[Path, ...], monkeypatch: pytest.MonkeyPatch, faces: list[Face]
) -> None:
    dump = write_dump(tmp_path / "dump.sql", {"door": (KEY, SUBJECTS, faces), "other": (OTHER_KEY, ["x"], [])})
    unnamed = run(tmp_path, model_dirs, monkeypatch, str(dump))
    assert unnamed.exit_code != 0
    assert "has the services door, other: name one with --service" in unnamed.output
    done = run(tmp_path, model_dirs, monkeypatch, str(dump), "--service", "door")
    assert done.exit_code == 0, done.output
    assert EXPECTED in done.output
    assert enrolled(tmp_path) == {"Edna Moss": 1, "Gwen Field": 1, "a cat": 0, "nobody yet": 0}


def test_a_service_is_found_by_its_key_and_its_pictures_are_read_as_they_are(tmp_path: Path) -> None:
    picture = bytes(range(256))
    dump = write_dump(tmp_path / "dump.sql", {"door": (KEY, ["a\tb\\c"], [("1", "a\tb\\c", picture)])})
    source = DumpSource(dump, KEY)
    assert source.subjects() == ["a\tb\\c"]
    (example,) = source.examples()
    assert (example.image_id, example.subject, example.image) == ("1", "a\tb\\c", picture)


class Shuffled(list[Face]):
    """Faces whose second page begins again with the last one of the first."""

    def __getitem__(self, place: Any) -> Any:
        first = place.start if isinstance(place, slice) else 0
        return list(self)[max(0, first - 1) :][: place.stop - first]


def test_a_face_that_is_on_no_page_is_missed_aloud() -> None:
    faces: list[Face] = [(str(number), "ann", None) for number in range(4)]
    with compreface(["ann"], Shuffled(faces)) as address:
        examples = ApiSource(address, KEY, page=2).examples()
        assert [next(examples).image_id for _ in range(3)] == ["0", "1", "2"]
        with pytest.raises(SourceInvalid, match="has 4 faces and listed 3 of them"):
            next(examples)


def test_an_import_that_stops_says_what_came_over(
    tmp_path: Path, model_dirs: tuple[Path, ...], monkeypatch: pytest.MonkeyPatch, faces: list[Face]
) -> None:
    monkeypatch.setattr("service.commands.compreface.api_source.PAGE", 2)
    monkeypatch.setenv("COMPREFACE_API_KEY", KEY)
    with compreface(["Edna Moss"], Shuffled(faces[:1] * 2 + faces[3:5])) as address:
        stopped = run(tmp_path, model_dirs, monkeypatch, address, "--report", "report.json")
    assert stopped.exit_code != 0
    assert "1 subjects, 2 faces: 1 imported" in stopped.output
    assert json.loads((tmp_path / "report.json").read_text())["imported"] == 1
    audit = CliRunner().invoke(app, ["audit", "--data", str(tmp_path / "data"), "--json"])
    assert "compreface to visitors" in audit.output


def test_a_dump_that_came_through_a_terminal_is_read(tmp_path: Path) -> None:
    dump = write_dump(tmp_path / "dump.sql", {"door": (KEY, ["a\r"], [("1", "a\r", b"picture")])})
    dump.write_bytes(dump.read_bytes().replace(b"\n", b"\r\n"))
    source = DumpSource(dump)
    assert source.subjects() == ["a\r"]
    assert [example.image for example in source.examples()] == [b"picture"]


def test_a_name_in_another_encoding_is_refused_and_reported(
    tmp_path: Path, model_dirs: tuple[Path, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    dump = write_dump(tmp_path / "dump.sql", {"door": (KEY, ["Zo\u00eb"], [])})
    dump.write_bytes(dump.read_bytes().replace("\u00eb".encode(), b"\xeb"))
    done = run(tmp_path, model_dirs, monkeypatch, str(dump), "--report", "report.json")
    assert done.exit_code == 0, done.output
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["names_refused"] == ["Zo\udceb"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("PGDMP\x00", "no table 'subject' written by COPY"),
        ("COPY public.subject (id, api_key, subject_name) FROM stdin;\n1\tk\tname\n", "was cut short"),
        ("COPY public.subject (id, api_key, subject_name) FROM stdin;\n1\tk\n\\.\n", "has 2 columns"),
        ("COPY public.subject (id, api_key, subject_name) FROM stdin;\n\\.\n", "has no"),
    ],
)
def test_what_is_no_dump_of_compreface_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "dump.sql").write_text(text)
    with pytest.raises(SourceInvalid, match=said):
        DumpSource(tmp_path / "dump.sql")


def test_an_instance_that_refuses_says_why(
    tmp_path: Path, model_dirs: tuple[Path, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    without_key = run(tmp_path, model_dirs, monkeypatch, "http://127.0.0.1:9")
    assert "needs the service's key" in without_key.output
    monkeypatch.setenv("COMPREFACE_API_KEY", "wrong")
    with compreface([], []) as address:
        refused = run(tmp_path, model_dirs, monkeypatch, address)
    assert "answered 404: RECOGNITION service with API Key" in refused.output
    assert refused.exit_code != 0


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "did not answer as CompreFace does"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", "did not answer as CompreFace does"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}", "cannot be reached"),
        (b"220 mail.example.org\r\n", "cannot be reached"),
    ],
)
def test_what_is_no_instance_is_named(answer: bytes, said: str) -> None:
    class Answers(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while self.rfile.readline().strip():
                pass
            self.wfile.write(answer)

    with socketserver.TCPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.handle_request, daemon=True)
        thread.start()
        with pytest.raises(SourceInvalid, match=said):
            ApiSource(f"http://127.0.0.1:{server.server_address[1]}", KEY).subjects()
        thread.join()


def test_the_key_is_shown_to_no_other_address() -> None:
    shown: list[str | None] = []

    class Elsewhere(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            shown.append(self.headers.get("x-api-key"))
            self.send_response(302)
            self.send_header("Location", f"http://localhost:{self.server.server_address[1]}/sign-in")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.HTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with pytest.raises(SourceInvalid, match=r"refers to http://localhost:\d+/sign-in"):
                ApiSource(f"http://127.0.0.1:{server.server_address[1]}", KEY).subjects()
        finally:
            server.shutdown()
            thread.join()
    assert shown == [KEY]


@pytest.mark.parametrize("address", ["http://[::1", "http://compreface:port"])
def test_an_address_that_is_none_is_named(address: str) -> None:
    with pytest.raises(SourceInvalid, match="cannot be reached"):
        ApiSource(address, KEY).subjects()
