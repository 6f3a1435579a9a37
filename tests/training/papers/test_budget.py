"""The rows are the recipes, in an order that works, and all of one length."""

from pathlib import Path

import pytest

from training.papers.budget import BUDGETS, RECIPES, cut, run_name
from training.papers.rows import CLAIMS, ROWS, TEACHER
from training.recipe import Recipe
from training.tasks.embedding import EmbeddingRecipe

STEMS = [row.recipe for row in ROWS]
REAL = BUDGETS["real"]


def recipe(stem: str, seed: int = 1) -> EmbeddingRecipe:
    found: Recipe = cut(stem, REAL, seed)
    assert isinstance(found, EmbeddingRecipe)
    return found


def test_every_recipe_is_a_row_and_every_row_a_recipe() -> None:
    assert sorted(STEMS) == sorted(path.stem for path in Path(RECIPES).glob("*.yaml"))
    assert {row.control for row in ROWS} - {None} <= set(STEMS)
    assert {claim.row for claim in CLAIMS} | {claim.against for claim in CLAIMS} <= set(STEMS)


def test_every_row_that_is_no_control_has_one_and_makes_a_claim() -> None:
    methods = {row.recipe for row in ROWS if row.control is not None}
    controls = {row.control for row in ROWS}
    unclaimed = methods - {claim.row for claim in CLAIMS} - {claim.against for claim in CLAIMS}
    assert unclaimed == set()
    assert {row.recipe for row in ROWS} - methods - controls <= {TEACHER, "wang-alone", "wang-continued"}


@pytest.mark.parametrize("stem", STEMS)
def test_a_row_comes_after_what_it_starts_from(stem: str) -> None:
    found = recipe(stem)
    earlier = {run_name(other, 1) for other in STEMS[: STEMS.index(stem)]}
    needed = {t.run for t in found.teachers.values() if t.kind == "run"}
    if found.init.kind == "checkpoint":
        needed.add(found.init.run)
    assert needed <= earlier


def test_all_rows_share_one_budget() -> None:
    rows = [recipe(stem) for stem in STEMS if stem != TEACHER]
    lengths = {r.schedule.model_dump_json() for r in rows}
    assert len(lengths) == 1, "steps, batch, optimiser and rate are the same"
    assert {(r.schedule.steps, r.schedule.batch, r.seed) for r in rows} == {(REAL.steps, REAL.batch, 1)}
    data = {r.data.model_copy(update={"per_identity": None}).model_dump_json() for r in rows if r.task == "embedding"}
    assert len(data) == 1
    assert recipe(TEACHER).schedule.steps == REAL.lessons * REAL.steps


@pytest.mark.parametrize("row", [row for row in ROWS if row.control is not None], ids=lambda row: row.recipe)
def test_a_control_differs_in_the_method_alone(row: object) -> None:
    mine, other = recipe(row.recipe), recipe(row.control)  # type: ignore[attr-defined]
    assert mine.input == other.input
    assert (mine.augment, mine.data, mine.schedule, mine.seed) == (
        other.augment,
        other.data,
        other.schedule,
        other.seed,
    )
    # MobileID's output is as wide as the neurons it learns
    changed = {"dim"} if mine.student.kind == "mobileid" else set()
    assert {k: v for k, v in mine.student.options.items() if k not in changed} == {
        k: v for k, v in other.student.options.items() if k not in changed
    }


def test_karlekars_students_are_the_teachers_net_at_half_and_a_quarter_of_its_size() -> None:
    teacher = recipe(TEACHER)
    for stem, share in (("karlekar-kt-kd", 2), ("karlekar-kt-kd-quarter", 4)):
        student = recipe(stem)
        assert student.student.kind == teacher.student.kind
        assert student.input.width == (teacher.input.width or 0) // share
        assert student.init.kind == "teacher"
        assert student.init.minimum == 1.0, "every tensor is the teacher's"


def test_shrinkteanets_weights_halve_from_the_last_stage_back() -> None:
    weights = [term.weight for term in recipe("shrinkteanet").terms]
    assert [w / weights[0] for w in weights] == [1, 1 / 2, 1 / 4, 1 / 8]
    assert [(t.tap, t.target.kind, t.distance.kind) for t in recipe("shrinkteanet").terms[1:]] == [
        (f"stage_-{i}", "tail", "cosine") for i in (1, 2, 3)
    ]
    weights = [term.weight for term in recipe("shrinkteanet-l2").terms]
    assert [w / weights[0] for w in weights] == [1, 1 / 2, 1 / 4, 1 / 8]
