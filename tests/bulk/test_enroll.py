"""`facet enroll`, through a real service and into a real store."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from facet_client import Facet
from numpy.typing import NDArray

from service.bench.server import make_key
from service.bulk.files import LARGEST
from service.bulk.report import KEPT_OUT
from service.bulk.server import Server as BulkServer
from service.gallery.embedded import open_embedded
from tests.api.server import Server, environment
from tests.bulk.conftest import Run, report_of, run
from tests.client.flaky import Flaky, flaky
from tests.conftest import encode

NAMELESS = 2_147_483_000
"""The number of a user whom no machine has a name for, as a container is run with."""


def faces_of(client: Facet, collection: str) -> dict[str, int]:
    return {subject.name: subject.faces for subject in client.subjects(collection=collection)}


@pytest.fixture
def unsteady(shared_server: Server) -> Iterator[Flaky]:
    with flaky(shared_server.address) as proxy:
        yield proxy


def test_people_of_a_folder_are_enrolled_and_refusals_named(
    facet: Run, folder: Path, collection: str, client: Facet
) -> None:
    result = facet("enroll", folder, "--collection", collection)
    assert result.exit_code == KEPT_OUT, result.output
    assert faces_of(client, collection) == {"ann": 3, "gwen": 1}
    row = next(line for line in result.stdout.splitlines() if "several_faces" in line)
    assert "gwen" in row
    assert "gwen/2.jpg" in row
    assert "4 photographs enrolled, 1 are not enrolled; 2 people" in result.stdout


def test_a_second_run_enrols_nothing_twice_and_retries_refusals_when_told(
    facet: Run, folder: Path, collection: str, client: Facet, shared_server: Server
) -> None:
    words = ("enroll", folder, "--collection", collection, "--json")
    first, again = report_of(facet(*words)), report_of(facet(*words))
    assert (first["enrolled"], again["enrolled"], again["enrolled_before"]) == (4, 0, 4)
    assert again["reasons"] == {"several_faces": 1}
    assert all(each["earlier"] for each in again["photographs"])
    retried = report_of(facet(*words, "--faces", "prominent", "--retry-refused"))
    assert (retried["enrolled"], retried["not_enrolled"]) == (1, 0)
    assert faces_of(client, collection) == {"ann": 3, "gwen": 2}


def test_photographs_that_came_later_are_added(
    facet: Run, folder: Path, collection: str, client: Facet, admiral: NDArray[np.uint8]
) -> None:
    facet("enroll", folder, "--collection", collection)
    (folder / "gwen" / "0.jpg").write_bytes(encode(admiral[6:]))
    shutil.copy(folder / "ann" / "1.jpg", folder / "ann" / "copy.jpg")
    report = report_of(facet("enroll", folder, "--collection", collection, "--json"))
    assert report["enrolled"] == 1
    assert faces_of(client, collection) == {"ann": 3, "gwen": 2}


@pytest.mark.parametrize("choice", ["allow", "warn", "reject"])
def test_people_who_are_enrolled_already_are_named_or_refused(
    choice: str, facet: Run, folder: Path, collection: str, client: Facet
) -> None:
    client.enroll("Gwen H", folder / "gwen" / "1.jpg", collection=collection)
    result = facet("enroll", folder, "--collection", collection, "--duplicate", choice)
    rows = [line for line in result.stdout.splitlines() if "duplicate_subject" in line]
    assert faces_of(client, collection) == {"Gwen H": 1, "ann": 3, **({} if choice == "reject" else {"gwen": 1})}
    assert len(rows) == {"allow": 0, "warn": 1, "reject": 2}[choice]
    assert all("gwen" in row and "Gwen H" in row for row in rows if choice == "warn")


def test_people_of_a_list_are_enrolled_with_their_facts(
    facet: Run, folder: Path, collection: str, client: Facet
) -> None:
    people = folder / "people.csv"
    lines = ["\ufeffsubject,image,badge,expires_at", "Ånn,ann/1.jpg,7,2100-01-31T12:00:00Z", "Ånn,ann/2.jpg,,"]
    lines += ["Gwen,gwen/1.jpg,,", *(f"Gwen,{unreadable},," for unreadable in ("lost.jpg", "/dev/zero", "film.jpg"))]
    people.write_text("\n".join(lines))
    with (folder / "film.jpg").open("wb") as film:
        film.truncate(LARGEST + 1)
    table = folder.parent / "report.csv"
    result = facet("enroll", people, "--collection", collection, "--csv", table)
    assert result.exit_code == KEPT_OUT
    assert client.subject("Ånn", collection=collection).metadata == {"badge": "7"}
    assert client.subject("Ånn", collection=collection).faces == 2
    assert client.subject("Ånn", collection=collection).expires_at == datetime(2100, 1, 31, 12, tzinfo=UTC)
    assert client.subject("Gwen", collection=collection).expires_at is None
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [(row["person"], row["state"], row["code"]) for row in rows] == [
        ("Ånn", "enrolled", ""),
        ("Ånn", "enrolled", ""),
        ("Gwen", "enrolled", ""),
        *[("Gwen", "unreadable", "file_unreadable")] * 3,
    ]
    assert rows[3]["file"].endswith("lost.jpg")
    why = [row["detail"] for row in rows[3:]]
    assert why == ["No such file or directory", "Not a regular file", "File too large"]


@pytest.mark.parametrize("fault", ["lost", "busy", "broken"])
def test_what_is_lost_on_the_way_is_asked_for_again_and_enrolled_once(
    fault: str, unsteady: Flaky, shared_server: Server, folder: Path, collection: str, client: Facet
) -> None:
    unsteady.faults += [None, fault]  # type: ignore[list-item]
    words = ("--server", unsteady.address, "--key", shared_server.key or "", "--parallel", "1")
    assert run("enroll", folder, "--collection", collection, *words).exit_code == KEPT_OUT
    assert faces_of(client, collection) == {"ann": 3, "gwen": 1}


def test_a_batch_that_was_enrolled_and_not_noted_is_not_enrolled_again(
    facet: Run, folder: Path, collection: str, client: Facet
) -> None:
    words = ("enroll", folder, "--collection", collection, "--record", "record.jsonl")
    facet(*words)
    record = folder.parent / "record.jsonl"
    lines = record.read_bytes().splitlines(keepends=True)
    record.write_bytes(lines[0] + lines[1][:40])  # as a run leaves it that was killed while it wrote
    report = report_of(facet(*words, "--json"))
    assert report["enrolled"] == 4
    assert faces_of(client, collection) == {"ann": 3, "gwen": 1}
    assert len(record.read_text().splitlines()) == 3


def test_one_photograph_too_large_keeps_no_other_out(facet: Run, folder: Path, collection: str, client: Facet) -> None:
    (folder / "ann" / "huge.jpg").write_bytes(bytes(11 * 1024 * 1024))
    report = report_of(facet("enroll", folder, "--collection", collection, "--json"))
    assert report["reasons"] == {"image_too_large": 1, "several_faces": 1}
    assert faces_of(client, collection) == {"ann": 3, "gwen": 1}


def test_a_killed_run_is_gone_on_with(
    folder: Path, collection: str, client: Facet, shared_server: Server, astronaut: NDArray[np.uint8]
) -> None:
    for number in range(12):
        path = folder / f"p{number:02d}" / "1.jpg"
        path.parent.mkdir()
        path.write_bytes(encode(astronaut[number:]))
    words = [sys.executable, "-m", "service.cli", "enroll", str(folder), "--collection", collection, "--parallel", "2"]
    place = {"FACET_SERVER": shared_server.address, "FACET_KEY": shared_server.key or ""}
    surroundings = {**environment(folder.parent / "none", ()), **place}
    record = folder.parent / "people.enrolled.jsonl"
    with subprocess.Popen(words, cwd=folder.parent, env=surroundings, stderr=subprocess.PIPE) as begun:
        while begun.poll() is None and (not record.exists() or record.read_bytes().count(b"\n") < 3):
            time.sleep(0.01)
        begun.send_signal(signal.SIGKILL)
    ended = subprocess.run(words, cwd=folder.parent, env=surroundings, check=False, capture_output=True)
    assert ended.returncode == KEPT_OUT, ended.stderr
    expected = {"ann": 3, "gwen": 1, **{f"p{number:02d}": 1 for number in range(12)}}
    assert faces_of(client, collection) == expected


def test_work_stops_where_everything_would_be_refused(facet: Run, folder: Path, shared_server: Server) -> None:
    wrong = {
        "key_invalid": ("--key", "facet_0123456789_x"),
        "collection_not_found": ("--collection", "nonesuch"),
        "model_not_found": ("--model", "nonesuch"),
        "is no address": ("--server", "localhost:8000"),
        "route_not_found": ("--server", f"{shared_server.address}/elsewhere"),
    }
    for reason, words in wrong.items():
        result = facet("enroll", folder, *words, "--record", f"{reason}.jsonl")
        assert result.exit_code == 1, (reason, result.output)
        assert reason in result.stderr
        assert "Traceback" not in result.output


def test_a_service_that_goes_away_ends_the_work_and_says_how_to_go_on(
    unsteady: Flaky,
    shared_server: Server,
    folder: Path,
    collection: str,
    client: Facet,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("service.commands.bulk.enroll.Server", partial(BulkServer, sleep=pauses.append))
    words = ("enroll", folder, "--collection", collection, "--parallel", "1", "--key", shared_server.key or "")
    address = ("--server", unsteady.address)
    unsteady.faults += [None, None, *["later"] * 99]
    gone = run(*words, *address)
    assert gone.exit_code == 1
    assert "people.enrolled.jsonl: the same command goes on after it" in gone.stderr
    assert f"facet: {unsteady.address}: later; tried 8 times" in gone.stderr
    assert pauses == [7.0] * 7
    assert faces_of(client, collection) == {"ann": 3}
    unsteady.faults.clear()
    assert run(*words, *address).exit_code == KEPT_OUT
    assert faces_of(client, collection) == {"ann": 3, "gwen": 1}


def test_an_answer_that_cannot_be_read_ends_the_work(folder: Path) -> None:
    with flaky("http://127.0.0.1:9") as proxy:
        proxy.faults = ["garbled"]
        result = run("enroll", folder, "--server", proxy.address)
    assert result.exit_code == 1
    assert f"{proxy.address} answers, and not as Facet does" in result.stderr


def test_a_record_of_other_work_is_refused(facet: Run, folder: Path, collection: str) -> None:
    record = folder.parent / "record.jsonl"
    for content in ('{"target": "elsewhere default"}\n', "no record\n", '{"target": 1}\n[{"person": 1}]\n'):
        record.write_text(content)
        result = facet("enroll", folder, "--collection", collection, "--record", record)
        assert result.exit_code == 1
        assert "record of an enrolment" in result.stderr
        assert record.read_text() == content


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("name,image\nann,x.jpg\n", "lacks subject"),
        ("subject,image\nann\n", "2: a row needs a subject"),
        ("subject,image\n", "nobody to enrol"),
        ("subject,image,expires_at\nann,a.jpg,2100-01-31\n", "expires_at of ann is '2100-01-31'"),
        ("subject,image,expires_at\nann,a.jpg,soon\n", "expires_at of ann is 'soon'"),
        ("subject,image,badge\nann,a.jpg,7\nann,b.jpg,8\n", "3: another row says other facts about ann"),
        ('subject,image,badge\nann,a.jpg,"7\nbob,b.jpg,8\n', "people.csv: line 2 begins no row of CSV"),
    ],
)
def test_a_list_that_is_none_is_refused_with_its_line(facet: Run, folder: Path, content: str, reason: str) -> None:
    people = folder / "people.csv"
    people.write_text(content)
    result = facet("enroll", people)
    assert result.exit_code == 1
    assert reason in result.stderr


def test_loose_photographs_belong_to_nobody(facet: Run, folder: Path) -> None:
    shutil.copy(folder / "ann" / "1.jpg", folder / "IMG_0001.jpg")
    result = facet("enroll", folder)
    assert result.exit_code == 1
    assert "IMG_0001.jpg" in result.stderr


@pytest.fixture
def store(tmp_path: Path, model_dirs: tuple[Path, ...], monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The store of a service that is stopped."""
    data = tmp_path / "data"
    make_key(data)
    monkeypatch.setenv("FACET_MODEL_DIRS", ":".join(map(str, model_dirs)))
    monkeypatch.setenv("COLUMNS", "200")
    before = os.umask(0o022)
    yield data
    os.umask(before)


def test_people_are_enrolled_into_a_stopped_store(store: Path, folder: Path) -> None:
    (folder / "ann" / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    table = folder.parent / "report.csv"
    first = run("enroll", folder, "--data", store, "--json", "--csv", table)
    assert first.exit_code == KEPT_OUT, first.output
    assert report_of(first)["reasons"] == {"several_faces": 1, "image_unsupported": 1}
    written = [*store.rglob("*"), table, folder.parent / "people.enrolled.jsonl"]
    open_to_all = {path.name for path in written if path.is_file() and path.stat().st_mode & 0o077}
    assert open_to_all <= {"gallery.lock"}
    again = report_of(run("enroll", folder, "--data", store, "--json"))
    assert (again["enrolled"], again["enrolled_before"]) == (0, 4)
    Path("people.enrolled.jsonl").unlink()
    repeated = report_of(run("enroll", folder, "--data", store, "--json"))
    assert repeated["enrolled"] == 4, "said again, and not done again"
    with closing(open_embedded(store)) as gallery:
        assert {each.name: each.faces for each in gallery.subjects("default").items} == {"ann": 3, "gwen": 1}
    audit = [json.loads(line) for line in run("audit", "--data", store, "--json").stdout.splitlines()]
    noted = [entry for entry in audit if entry["action"] == "enroll"]
    assert sorted(entry["outcome"] for entry in noted) == ["1 of 2", "3 of 4", "repeated", "repeated"]
    assert {entry["principal"].partition(":")[0] for entry in noted} == {"command"}


def test_people_of_a_list_are_enrolled_into_a_store_until_their_date(store: Path, folder: Path) -> None:
    people = folder / "people.csv"
    people.write_text("subject,image,badge,expires_at\nann,ann/1.jpg,7,2100-01-31T14:00:00+02:00\n")
    assert run("enroll", people, "--data", store).exit_code == 0
    with closing(open_embedded(store)) as gallery:
        (ann,) = gallery.subjects("default").items
    assert (ann.name, dict(ann.metadata)) == ("ann", {"badge": "7"})
    assert ann.expires_at == datetime(2100, 1, 31, 12, tzinfo=UTC)


def test_a_user_without_a_name_enrols_into_a_store(store: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("os.getuid", lambda: NAMELESS)
    people = folder / "people.csv"
    people.write_text("subject,image\nann,ann/1.jpg\n")
    result = run("enroll", people, "--data", store)
    assert result.exit_code == 0, result.output
    (entry,) = [
        json.loads(line) for line in run("audit", "--data", store, "--action", "enroll", "--json").stdout.splitlines()
    ]
    assert entry["principal"] == f"command:{NAMELESS}"


def test_what_the_route_refuses_is_refused_for_a_store_too(store: Path, folder: Path) -> None:
    people = folder / "people.csv"
    rows = ["ann,ann/1.jpg," + "x" * 1001, "g/race,gwen/1.jpg,", "..,ann/2.jpg,"]
    people.write_text("\n".join(["subject,image,story", *rows]))
    result = run("enroll", people, "--data", store, "--json")
    assert result.exit_code == KEPT_OUT, result.output
    assert report_of(result)["reasons"] == {"name_invalid": 2, "request_invalid": 1}
    with closing(open_embedded(store)) as gallery:
        assert gallery.subjects("default").items == ()


def test_a_store_is_not_made_and_not_taken_from_a_running_service(
    folder: Path, shared_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = run("enroll", folder, "--data", "typo")
    assert "there is no gallery in" in missing.stderr
    assert not Path("typo").exists()
    taken = run("enroll", folder, "--data", shared_server.log.parent / "data")
    assert taken.exit_code == 1
    assert "The gallery is open in another process" in taken.stderr
    assert run("enroll", folder, "--data", "data", "--server", shared_server.address).exit_code == 2
