"""Students beside teachers: counted by hand on small sets, held-out pictures alone, and what the least sure cost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from tests.training.evaluation.test_subgroups import Pixels
from training.cli import app
from training.data.crops import Entry, open_set, writing_set
from training.errors import SetInvalid
from training.evaluation.students import (
    DAMAGE,
    Development,
    describe_students,
    discard,
    measure_student,
)
from training.evaluation.vectors import Model


def write_people(folder: Path, faces: NDArray[np.uint8], split: str = "test") -> None:
    """Six people, two pictures each: the second is a little darker."""
    with writing_set(folder) as writer:
        for i, face in enumerate(faces[:6]):
            for j in range(2):
                writer.add(face // (1 + j), Entry(f"{i}-{j}.png", f"person {i}", split))  # type: ignore[arg-type]


@pytest.fixture
def on(tmp_path: Path, faces: NDArray[np.uint8]) -> Development:
    write_people(tmp_path / "people", faces)
    write_people(tmp_path / "others", faces)
    with writing_set(tmp_path / "kinds") as writer:
        for i in range(20):
            split = "test" if i < 12 else "train"
            name = f"30_0_{i % 2}_{20170101000000 + i * 10**6}.png"
            writer.add(np.roll(faces[i % 6], i, axis=0), Entry(name, "", split))
    return Development(*(open_set(tmp_path / name) for name in ("people", "others", "kinds")))


def test_every_comparison_of_the_sets_is_counted(on: Development) -> None:
    report = measure_student(Model("pixels", Pixels(), "0" * 64, None), on, progress=False)
    rows = {(row.protocol, row.metric): row for row in report.rows}
    assert rows["people", "FNMR at FMR 0.001"].trials == 6, "each person once with themselves"
    assert all(rows[f"people, {name}", "FNMR at FMR 0.001"].trials == 6 for name in DAMAGE)
    assert rows["others", "FMR at the threshold of FMR 0.001"].trials == 60
    assert rows["others", "FMR at the threshold of FMR 0.001"].value == 0, "the same people, at their own threshold"
    assert rows["kinds: White men", "FMR at people's FMR 0.001"].trials == 15, "six held-out strangers"
    assert rows["kinds: White men", "FMR at people's FNMR 0.02"].trials == 15
    assert rows["people", "FMR at FNMR 0.02"].trials == 60
    assert not any("least sure" in metric for _, metric in rows), "it tells no confidence"
    table = describe_students([report])
    assert "| pictures | measure, % | pixels |" in table
    assert table.count("\n") == len(report.rows) + 1


def test_the_least_sure_are_discarded_first() -> None:
    genuine = np.array([0.1, 0.9, 0.9, 0.9])
    right = discard(genuine, np.array([0.0, 0.5, 0.6, 0.7], np.float32), 0.5)
    assert right[0.0].value == pytest.approx(0.25)
    assert right[0.3].value == 0
    wrong = discard(genuine, np.array([0.9, 0.5, 0.6, 0.7], np.float32), 0.5)
    assert wrong[0.5].value == pytest.approx(0.5)


def test_a_set_that_names_nobody_is_refused(tmp_path: Path, faces: NDArray[np.uint8]) -> None:
    with writing_set(tmp_path / "strangers") as writer:
        writer.add(faces[0], Entry("0.png", "", "test"))
    with pytest.raises(SetInvalid, match="names nobody"):
        measure_student(
            Model("pixels", Pixels(), "0" * 64, None), Development(open_set(tmp_path / "strangers")), progress=False
        )


def test_people_of_one_picture_each_are_refused(on: Development, tmp_path: Path, faces: NDArray[np.uint8]) -> None:
    with writing_set(tmp_path / "single") as writer:
        for i, face in enumerate(faces):
            writer.add(face, Entry(f"{i}.png", f"person {i}", "test"))
    model = Model("pixels", Pixels(), "0" * 64, None)
    for sets in (Development(open_set(tmp_path / "single")), replace(on, others=open_set(tmp_path / "single"))):
        with pytest.raises(SetInvalid, match="one with two pictures"):
            measure_student(model, sets, progress=False)


def test_a_kind_of_one_person_has_no_rates(on: Development, tmp_path: Path, faces: NDArray[np.uint8]) -> None:
    with writing_set(tmp_path / "one") as writer:
        writer.add(faces[0], Entry("30_0_0_20170101000000.png", "", "test"))
    report = measure_student(
        Model("pixels", Pixels(), "0" * 64, None), replace(on, kinds=open_set(tmp_path / "one")), progress=False
    )
    assert not any(row.protocol.startswith("one") for row in report.rows)


def test_bundled_students_tell_what_their_confidence_is_worth(
    model_dirs: tuple[Path, ...], tmp_path: Path, faces: NDArray[np.uint8]
) -> None:
    write_people(tmp_path / "data" / "people", faces)
    sets = ["--people", "people", "--others", "people", "--kinds", "people"]
    folders = {"data": tmp_path / "data", "models": model_dirs[0], "runs": tmp_path / "runs", "out": tmp_path / "out"}
    options = [word for name, folder in folders.items() for word in (f"--{name}", str(folder))]
    done = CliRunner().invoke(app, ["students", "facet-s", *sets, *options])
    assert done.exit_code == 0, done.output
    assert "| pictures | measure, % | facet-s@" in done.stdout
    assert "| people, damaged | FNMR without the least sure 50% |" in done.stdout
    assert (tmp_path / "out" / "students.md").read_text().startswith("| pictures |")
