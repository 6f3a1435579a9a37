"""What stands below the tables, on results worked by hand."""

from typing import Any

from training.papers.notes import ALIGNS, write_note
from training.papers.rows import DARMSTADT, KARLEKAR, MOBILEID, WANG


def row(recipe: str, system: str, accuracy: float, megas: float, milliseconds: float, **changes: Any) -> dict[str, Any]:
    return {
        "recipe": recipe,
        "system": system,
        "reason": "",
        "end": True,
        "parameters": 1_000_000,
        "multiply_adds": int(megas * 1e6),
        "milliseconds": milliseconds,
        "measures": {"lfw accuracy": {"value": accuracy}},
    } | changes


ROWS = [
    row("teacher", "Teacher", 0.98, 72, 1.5),
    row("karlekar-kt", KARLEKAR, 0.95, 18, 0.5),
    row("karlekar-kd", KARLEKAR, 0.96, 18, 0.5),
    row("karlekar-control", KARLEKAR, 0.99, 18, 0.5, end=False),
    row("karlekar-kt-quarter", KARLEKAR, 0.90, 4.5, 0.3),
    row("mobileid", MOBILEID, 0.93, 29, 0.5),
]
DATA = {"mean_shape": {"nme": 0.238}, "jitter": {"nme": 0.021, "failures": 0.004, "found": 0.995}}


def test_three_resolutions_stand_beside_each_other_with_the_best_row_of_each() -> None:
    lines = write_note(KARLEKAR, {"rows": ROWS, "data": DATA}).splitlines()
    assert lines[-3:] == [
        "| whole | 72.00M | 1/1.0 | 1.50 | 1.0 x | `teacher` | 98.0 % |",
        "| a half | 18.00M | 1/4.0 | 0.50 | 3.0 x | `karlekar-kd` | 96.0 % |",
        "| a quarter | 4.50M | 1/16.0 | 0.30 | 5.0 x | `karlekar-kt-quarter` | 90.0 % |",
    ]
    assert write_note(KARLEKAR, {"rows": ROWS[1:], "data": DATA}) == "", "without the teacher there is nothing to say"


def test_the_student_stands_beside_its_ensemble() -> None:
    accuracy = {"lfw accuracy": {"value": 0.995}}
    ensemble = {"members": ["a", "b"], "parameters": 10_800_000, "milliseconds": 22.0, "measures": accuracy}
    note = write_note(MOBILEID, {"rows": ROWS, "data": DATA, "ensemble": ensemble})
    assert "(a and b, the mean of their cosines) has 10.80M parameters, 22.0 ms a face and 99.5 %" in note
    assert "10.8 times smaller and 44 times as fast, at 93.0 %." in note
    assert "51.6 and 90 times" in note
    untimed = write_note(MOBILEID, {"rows": ROWS, "data": DATA, "ensemble": ensemble | {"milliseconds": None}})
    assert "10.8 times smaller, at" in untimed
    assert write_note(MOBILEID, {"rows": ROWS, "data": DATA}) == ""


def test_alignment_stands_beside_what_the_detector_differs_from_itself() -> None:
    note = write_note(f"{WANG}{ALIGNS}", {"rows": ROWS, "data": DATA})
    assert "differs from itself by 2.1 % of the distance between the eyes, and fails on 0.4 %" in note
    assert "an error of 23.8 %" in note
    without = write_note(f"{WANG}{ALIGNS}", {"rows": ROWS, "data": DATA | {"jitter": None}})
    assert without.startswith("Always answering with the mean shape")


def test_other_tables_have_no_note() -> None:
    assert write_note(DARMSTADT, {"rows": ROWS, "data": DATA}) == ""
