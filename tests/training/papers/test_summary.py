"""What a newcomer reads first, on results worked by hand."""

from typing import Any

import pytest

from training.papers.summary import (
    AGAINST,
    HALF,
    HELD,
    NOT_RUN,
    became,
    describe_end,
    describe_papers,
    describe_state,
    tabulate,
)


def gain(verdict: str, overlap: bool = True) -> dict[str, Any]:
    return {"verdict": verdict, "overlap": overlap}


def claim(row: str, says: str, end: bool, *verdicts: str) -> dict[str, Any]:
    names = ("lfw accuracy", "celeba tar 0.01")
    gains = {name: gain(verdict) for name, verdict in zip(names, verdicts, strict=False)}
    return {"row": row, "against": "control", "says": says, "end": end, "measures": list(names), "gains": gains}


ROWS = [
    {"recipe": "control", "system": "A", "what": "alone", "reason": "", "end": True, "seeds": 3, "milliseconds": 1.0}
    | {"measures": {"lfw accuracy": {"value": 0.9}}, "control": None, "gap": {"value": -0.08}, "late": 0.04},
    {"recipe": "kd", "system": "A", "what": "taught", "reason": "", "end": True, "seeds": 1, "milliseconds": 1.0}
    | {"measures": {"lfw accuracy": {"value": 0.97}}, "control": "control", "gap": {"value": -0.01}, "late": 0.01},
    {"recipe": "early", "system": "B", "what": "taught", "reason": "", "end": False, "seeds": 2, "milliseconds": 0.5}
    | {"measures": {"nme": {"value": 0.1}}, "control": "control", "waits": "no time"},
    {"recipe": "none", "system": "B", "what": "dear", "reason": "it takes a day", "end": False, "seeds": 0}
    | {"control": "control"},
]


def test_every_row_is_in_the_table_and_says_whether_it_is_at_its_end() -> None:
    lines = tabulate(ROWS).splitlines()[2:]
    assert lines == [
        "| control | alone | 1.00 | 90.0 % | -8.0 | to its end, 3 seeds |",
        "| kd | taught | 1.00 | 97.0 % | -1.0 | to its end, 1 seed |",
        "| early | taught | 0.50 | landmarks, below |  | early: no time |",
        "| none | dear |  |  |  | it takes a day |",
    ]
    assert describe_state(ROWS).startswith("**2 of 4 rows are trained to their end**, 1 show early results")
    assert describe_state(ROWS[:2]) == (
        "All 2 rows are trained to their end. "
        "1 of 1 rows with a method are within 2 points of the teacher on LFW View 1."
    )
    assert describe_state(ROWS[2:]).endswith("the table says which.")


def test_the_end_of_learning_is_told_by_what_the_loss_still_fell() -> None:
    assert describe_end(ROWS).startswith(
        "Of all that its loss fell from the first tenth of the schedule to the last, the middle row's fell 2.5 % in "
        "the last tenth, and no row's more than 4.0 % (`control`)"
    )
    assert describe_end(ROWS[2:]) == "No row at its end has a log that tells how its loss fell."


def test_a_claim_is_judged_by_its_own_measures() -> None:
    other = claim("kd", "x", True, "held", "reversed") | {"measures": ["lfw accuracy"]}
    assert became(other) == HELD
    assert became(other | {"measures": ["nme"]}) == NOT_RUN


def test_a_claim_becomes_what_its_measures_say() -> None:
    assert became(claim("kd", "x", True, "held", "held")) == HELD
    assert became(claim("kd", "x", True, "held", "open")) == HALF
    assert became(claim("kd", "x", True, "held", "reversed")) == AGAINST
    assert became(claim("kd", "x", True)) == NOT_RUN


def test_a_paper_is_told_by_its_rows_at_their_end_alone() -> None:
    claims = [claim("kd", "teaching helps", True, "held"), claim("kd", "a lot (the paper)", False, "reversed")]
    early = [claim("early", "it begins well", False, "held")]
    first, second = describe_papers({"rows": ROWS, "claims": claims + early}).splitlines()
    assert first.startswith("- **A.** Held: *teaching helps*. 1 of 2 claims are of rows at their end, by one seed")
    assert first.endswith(
        "1 more claims wait for rows. Its best row, `kd`, has 97.0 % on View 1, 1.0 points below the teacher."
    )
    assert second == (
        "- **B.** Held: *it begins well*. That is of early rows and of other sets: it says how learning begins, not "
        "where it ends."
    )


def test_nothing_is_said_of_early_rows_where_no_claim_can_be_judged() -> None:
    rows = [row for row in ROWS if row["system"] == "A"]
    (line,) = describe_papers({"rows": rows, "claims": [claim("kd", "teaching helps", False)]}).splitlines()
    assert line == (
        "- **A.** None of its claims can be judged yet. Its best row, `kd`, has 97.0 % on View 1, 1.0 points below the "
        "teacher."
    )


@pytest.mark.parametrize(
    ("seeds", "said"), [((3, 3), "by 3 seeds;"), ((3, 2), "by 2 seeds or more;"), ((3, 1), "by one seed")]
)
def test_how_many_seeds_a_verdict_rests_on(seeds: tuple[int, int], said: str) -> None:
    control, taught, *_ = ROWS
    rows = [control | {"seeds": seeds[0]}, taught | {"seeds": seeds[1]}]
    (line,) = describe_papers({"rows": rows, "claims": [claim("kd", "teaching helps", True, "held")]}).splitlines()
    assert said in line
