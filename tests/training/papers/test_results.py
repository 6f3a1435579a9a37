"""Means over seeds, their intervals, and verdicts, on numbers worked by hand."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from training.papers.budget import BUDGETS
from training.papers.measures.ensemble import Ensemble
from training.papers.results import assemble, interval, resample
from training.papers.rows import ROWS
from training.papers.run import RowRun

ROUNDS = 200


def measures(value: float, seed: int, name: str = "lfw accuracy") -> dict[str, np.ndarray]:
    noise = np.random.default_rng(0).normal(0, 0.02, ROUNDS)
    return {name: np.concatenate([[value], value + noise + 0.001 * seed])}


def row_runs(values: dict[str, list[float]], name: str = "lfw accuracy") -> list[RowRun]:
    rows = {row.recipe: row for row in ROWS}
    return [
        RowRun(rows[stem], seed, net="n", parameters=7, multiply_adds=9, measures=measures(value, seed, name))
        for stem, mine in values.items()
        for seed, value in enumerate(mine)
    ]


def found(values: dict[str, list[float]], name: str = "lfw accuracy") -> dict[str, object]:
    results = assemble(BUDGETS["small"], {}, row_runs(values, name), {"n": 1.5})
    json.dumps(results)
    claims = {(c["row"], c["against"]): c["gains"].get(name) for c in results["claims"]}
    rows = {row["recipe"]: row for row in results["rows"]}
    return {"claims": claims, "rows": rows}


def test_the_first_entry_is_the_mean_and_rounds_draw_seeds_anew() -> None:
    values = np.array([[1.0, 1.0, 1.0, 1.0], [3.0, 3.0, 3.0, 3.0]])
    drawn = resample(np.repeat(values, 100, axis=1), 0)
    assert drawn[0] == 2
    assert set(drawn) == {1.0, 2.0, 3.0}
    np.testing.assert_array_equal(resample(values[:1], 0), values[0])


def test_the_interval_leaves_the_value_out() -> None:
    rounds = np.concatenate([[99.0], np.linspace(0, 1, 1001)])
    assert interval(rounds) == pytest.approx([0.025, 0.975])


def test_value_spread_and_cost_of_a_row() -> None:
    rows = found({"karlekar-kt": [0.90, 0.92, 0.94]})["rows"]
    row = rows["karlekar-kt"]  # type: ignore[index]
    measure = row["measures"]["lfw accuracy"]
    assert measure["value"] == pytest.approx(0.92)
    assert measure["spread"] == pytest.approx(0.02)
    assert measure["by_seed"] == [0.9, 0.92, 0.94]
    assert (row["seeds"], row["parameters"], row["milliseconds"], row["reason"]) == (3, 7, 1.5, "")


def test_verdicts() -> None:
    """All rows share the noise of the people, so a small gain is seen although the rows' own intervals overlap."""
    kt = ("karlekar-kt", "karlekar-control")
    for gain, verdict, overlap in (
        (0.2, "held", False),
        (0.02, "held", True),
        (0.0, "open", True),
        (-0.2, "reversed", False),
    ):
        claim = found({"karlekar-control": [0.7] * 3, "karlekar-kt": [0.7 + gain] * 3})["claims"][kt]  # type: ignore[index]
        assert (claim["verdict"], claim["overlap"]) == (verdict, overlap)
        assert claim["value"] == pytest.approx(gain)


def test_a_lower_landmark_error_is_a_gain() -> None:
    claims = found({"wang-align-random": [0.06] * 3, "wang-align": [0.03] * 3}, "nme")["claims"]
    gain = claims[("wang-align", "wang-align-random")]  # type: ignore[index]
    assert gain["value"] == pytest.approx(0.03)
    assert gain["verdict"] == "held"


def test_a_row_that_was_not_run_says_why_and_its_claims_stay_empty() -> None:
    row = next(row for row in ROWS if row.recipe == "karlekar-kt")
    results = assemble(BUDGETS["small"], {}, [RowRun(row, 0, "teacher_missing: nobody")], {})
    entry = next(e for e in results["rows"] if e["recipe"] == "karlekar-kt")
    assert entry["reason"] == "teacher_missing: nobody"
    assert all(claim["gains"] == {} for claim in results["claims"])


def test_a_row_not_at_its_end_shows_what_it_was_early_and_is_compared_with_its_like() -> None:
    alone, kt, kd = "karlekar-control", "karlekar-kt", "karlekar-kd"
    early = assemble(BUDGETS["small"], {"crops": 1}, row_runs({alone: [0.6], kt: [0.9], kd: [0.9]}), {"n": 1.5})
    waiting = RowRun(next(row for row in ROWS if row.recipe == kt), 0, "no time")
    ended = row_runs({alone: [0.7], kd: [0.8]})
    results = assemble(BUDGETS["small"], {}, [*ended, waiting], {"n": 2.0}, early)
    rows = {row["recipe"]: row for row in results["rows"]}
    assert [(rows[stem]["end"], rows[stem]["milliseconds"]) for stem in (alone, kt, kd)] == [
        (True, 2.0),
        (False, 1.5),
        (True, 2.0),
    ]
    assert rows[kt]["measures"]["lfw accuracy"]["value"] == 0.9
    assert rows[kt]["waits"] == "no time"
    assert "measures" not in rows["wang-alone"]
    claims = {(claim["row"], claim["against"]): claim for claim in results["claims"]}
    assert claims[(kd, alone)]["end"]
    assert claims[(kd, alone)]["gains"]["lfw accuracy"]["value"] == pytest.approx(0.1)
    assert claims[(kt, alone)]["gains"] == {}, "a row at its end is not compared with an early one"
    both = assemble(BUDGETS["small"], {}, row_runs({kd: [0.8]}), {"n": 2.0}, early)
    claims = {(claim["row"], claim["against"]): claim for claim in both["claims"]}
    assert claims[(kt, alone)]["gains"]["lfw accuracy"]["value"] == pytest.approx(0.3)
    assert not claims[(kt, alone)]["end"]
    assert both["early"]["data"] == {"crops": 1}


def test_a_row_says_how_far_it_is_from_the_teacher_and_how_late_its_loss_fell() -> None:
    teacher, taught, aligned = (
        row_runs({"teacher": [0.98]}) + row_runs({"karlekar-kt": [0.95]}) + row_runs({"wang-align": [0.05]}, "nme")
    )
    told = replace(taught, facts={"learning": [10.0, *[2.0] * 7, 1.0, 0.0]})
    rows = {row["recipe"]: row for row in assemble(BUDGETS["small"], {}, [teacher, told, aligned], {"n": 1.5})["rows"]}
    assert rows["karlekar-kt"]["gap"]["value"] == pytest.approx(-0.03)
    low, high = rows["karlekar-kt"]["gap"]["ci95"]
    assert low == high == pytest.approx(-0.03), "both rows are measured on the same people in every round"
    assert rows["karlekar-kt"]["late"] == pytest.approx(0.1)
    assert (rows["teacher"]["gap"], rows["wang-align"]["gap"], rows["wang-align"]["late"]) == (None, None, None)


def test_measures_that_not_all_seeds_or_rows_have_are_not_told() -> None:
    first, second = row_runs({"karlekar-kt": [0.95, 0.96]})
    more = replace(second, measures={**(second.measures or {}), **measures(0.5, 0, "lfw fmr")})
    alone = replace(row_runs({"karlekar-control": [0.9]})[0], measures=more.measures)
    results = assemble(BUDGETS["small"], {}, [first, more, alone], {"n": 1.5})
    row = next(row for row in results["rows"] if row["recipe"] == "karlekar-kt")
    assert set(row["measures"]) == {"lfw accuracy"}
    assert set(results["claims"][0]["gains"]) == {"lfw accuracy"}


def test_a_lower_false_match_rate_is_a_gain() -> None:
    claims = found({"darmstadt-alone": [0.2], "darmstadt-logits": [0.1]}, "lfw fmr")["claims"]
    assert claims[("darmstadt-logits", "darmstadt-alone")]["value"] == pytest.approx(0.1)  # type: ignore[index]


def test_an_ensemble_takes_the_time_of_all_its_members() -> None:
    graphs = {"ensemble a": Path("a"), "ensemble b": Path("b")}
    ensemble = Ensemble(("a", "b"), 1000, measures(0.99, 0), graphs)
    times = {"ensemble a": 2.0, "ensemble b": 3.5}
    told = assemble(BUDGETS["small"], {}, [], times, ensemble=ensemble)["ensemble"]
    assert (told["parameters"], told["milliseconds"]) == (1000, 5.5)
    assert told["measures"]["lfw accuracy"]["value"] == pytest.approx(0.99)
    untimed = Ensemble(("a", "b"), 1000, measures(0.99, 0), {})
    assert assemble(BUDGETS["small"], {}, [], {}, ensemble=untimed)["ensemble"]["milliseconds"] is None
