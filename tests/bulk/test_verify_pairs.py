"""`facet verify-pairs` against a real service."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
from facet_client import Facet

from service.commands.bulk.verify_pairs import UNDECIDED
from tests.api.server import Server
from tests.bulk.conftest import Run, run
from tests.client.flaky import flaky

ROWS = [
    "first,second,subject,genuine",
    "ann/1.jpg,ann/2.jpg,,1",
    "ann/1.jpg,gwen/1.jpg,,0",
    "ann/2.jpg,,Ånn,1",
    "gwen/1.jpg,,Ånn,0",
]
FAULTS = ["gwen/notes.txt,ann/1.jpg,,0", "ann/1.jpg,lost.jpg,,1", "ann/1.jpg,,nobody,0"]


@pytest.fixture
def pairs(folder: Path) -> Path:
    path = folder / "pairs.csv"
    path.write_text("\n".join(ROWS) + "\n")
    return path


@pytest.fixture
def enrolled(client: Facet, collection: str, folder: Path) -> str:
    client.enroll("Ånn", folder / "ann" / "1.jpg", collection=collection)
    return collection


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def test_pairs_are_decided_and_their_errors_measured(
    facet: Run, pairs: Path, enrolled: str, tmp_path: Path, client: Facet
) -> None:
    result = facet("verify-pairs", pairs, "--collection", enrolled, "--fmr", "0.001", "--model", "facet-s")
    assert result.exit_code == 0, result.output
    rows = rows_of(tmp_path / "pairs.results.csv")
    assert [row["decision"] for row in rows] == ["match", "no_match", "match", "no_match"]
    alone = client.verify(pairs.parent / "ann" / "1.jpg", pairs.parent / "ann" / "2.jpg", model="facet-s", fmr=0.001)
    assert float(rows[0]["score"]) == pytest.approx(alone.score, abs=1e-6)
    assert float(rows[0]["threshold"]) == pytest.approx(alone.threshold, abs=1e-6)
    assert {row["model"].partition("@")[0] for row in rows} == {"facet-s"}
    assert "4 of 4 pairs decided, 2 match" in result.stdout
    assert "false match rate: 0.00% of 2" in result.stdout
    assert "false non-match rate: 0.00% of 2" in result.stdout


def test_pairs_without_a_decision_say_why(facet: Run, pairs: Path, enrolled: str) -> None:
    pairs.write_text("\n".join([*ROWS, *FAULTS]) + "\n")
    result = facet("verify-pairs", pairs, "--collection", enrolled, "--json")
    assert result.exit_code == UNDECIDED
    rates = json.loads(result.stdout)
    assert rates["undecided"] == {"image_unsupported": 1, "file_unreadable": 1, "subject_not_found": 1}
    assert (rates["fmr"]["trials"], rates["fnmr"]["trials"], rates["accuracy"]["value"]) == (2, 2, 1.0)
    rows = rows_of(Path("pairs.results.csv"))[4:]
    assert rows[0]["detail"].startswith("probe: ")
    assert rows[0]["request_id"]
    assert "lost.jpg: No such file" in rows[1]["detail"]


def test_a_run_goes_on_where_another_ended(pairs: Path, enrolled: str, shared_server: Server) -> None:
    with flaky(shared_server.address) as proxy:
        words = ("verify-pairs", pairs, "--collection", enrolled, "--server", proxy.address)
        key = ("--key", shared_server.key or "")
        assert run(*words, *key).exit_code == 0
        results = Path("pairs.results.csv")
        whole = results.read_bytes()
        lines = whole.splitlines(keepends=True)
        results.write_bytes(b"".join(lines[:3]) + lines[3][:20])  # as a run leaves it that was killed while it wrote
        proxy.seen.clear()
        assert run(*words, *key).exit_code == 0
        assert [path for _, path, _ in proxy.seen] == ["/v1/key", "/v1/verify", "/v1/verify"]
        again = rows_of(results)
        before = list(csv.DictReader(whole.decode().splitlines()))
        same = ("number", "first", "second", "subject", "decision", "score")
        assert [[row[name] for name in same] for row in again] == [[row[name] for name in same] for row in before]


def test_what_was_not_decided_is_asked_again_when_told(facet: Run, pairs: Path, enrolled: str) -> None:
    pairs.write_text("\n".join([ROWS[0], "ann/1.jpg,late.jpg,,1", *ROWS[1:]]) + "\n")
    words = ("verify-pairs", pairs, "--collection", enrolled)
    assert facet(*words).exit_code == UNDECIDED
    shutil.copy(pairs.parent / "ann" / "2.jpg", pairs.parent / "late.jpg")
    assert facet(*words).exit_code == UNDECIDED
    assert facet(*words, "--retry-undecided").exit_code == 0
    assert [row["number"] for row in rows_of(Path("pairs.results.csv"))] == ["1", "2", "3", "4", "5"]


def test_lists_of_lfw_are_read(facet: Run, folder: Path, tmp_path: Path) -> None:
    for person, number in (("ann", 1), ("ann", 2), ("gwen", 1)):
        shutil.copy(folder / person / f"{number}.jpg", folder / person / f"{person}_{number:04d}.jpg")
    (folder / "list.txt").write_text("1\nann\t1\t2\nann\t1\tgwen\t1\n")
    result = facet("verify-pairs", folder / "list.txt", "--output", tmp_path / "out.csv")
    assert result.exit_code == 0, result.output
    assert [row["decision"] for row in rows_of(tmp_path / "out.csv")] == ["match", "no_match"]


def test_pairs_without_labels_have_no_rates(facet: Run, pairs: Path) -> None:
    pairs.write_text("first,second\nann/1.jpg,ann/2.jpg\n")
    assert facet("verify-pairs", pairs).stdout == "1 of 1 pairs decided, 1 match\n"


def test_results_of_another_list_or_other_wishes_are_not_mixed(facet: Run, pairs: Path, enrolled: str) -> None:
    words = ("verify-pairs", pairs, "--collection", enrolled)
    assert facet(*words).exit_code == 0
    before = Path("pairs.results.csv").read_bytes()
    assert "other wishes" in facet(*words, "--fmr", "0.0001").stderr
    pairs.write_text("\n".join([ROWS[0], *reversed(ROWS[1:])]) + "\n")
    assert "another list" in facet(*words).stderr
    assert "holds something else" in facet(*words, "--output", pairs).stderr
    assert Path("pairs.results.csv").read_bytes() == before


def test_work_stops_where_everything_would_be_refused(facet: Run, pairs: Path) -> None:
    for reason, words in {
        "threshold_unsupported": ("--fmr", "1e-12"),
        "key_invalid": ("--key", "facet_0123456789_x"),
        "collection_not_found": ("--collection", "nonesuch"),
    }.items():
        result = facet("verify-pairs", pairs, *words, "--output", f"{reason}.csv")
        assert result.exit_code == 1, (reason, result.output)
        assert reason in result.stderr
    assert facet("verify-pairs", pairs, "--fmr", "0.01", "--threshold", "0.4").exit_code == 2


def test_a_server_must_be_named(pairs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FACET_SERVER", raising=False)
    result = run("verify-pairs", pairs)
    assert result.exit_code == 1
    assert "--server or FACET_SERVER" in result.stderr


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("first,subject,second\n,ann,\n", "2: a pair is a first file"),
        ("first,second,subject\na,b,c\n", "2: a pair is a first file"),
        ("first,second,genuine\na,b,yes\n", "2: genuine is 1 or 0, not 'yes'"),
        ("first,third\na,b\n", "needs the columns"),
        ("first,second\n", "holds no pair"),
        ('first,second\na,"b\nc,d\n', "pairs.csv: line 2 begins no row of CSV"),
        ("ann bob\n", "neither CSV nor LFW's layout"),
    ],
)
def test_a_list_that_is_none_is_refused_with_its_line(facet: Run, pairs: Path, content: str, reason: str) -> None:
    pairs.write_text(content)
    result = facet("verify-pairs", pairs)
    assert result.exit_code == 1
    assert reason in result.stderr
