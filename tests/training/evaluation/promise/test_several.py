"""What to expect of several photographs: rows for every rule, and fewer misses with every photograph."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from service.face.embedding.embed import Embedder
from service.face.registry import Registry
from service.face.score import ThresholdTable
from tests.conftest import STARTER
from training.errors import ProtocolInvalid
from training.evaluation.promise.several import Expectation, ExpectPlan, SearchRow, describe_expectation, expect


@pytest.fixture(scope="module")
def model() -> Embedder:
    return Registry.scan([STARTER]).embedder("facet-s")


def people(count: int, each: int) -> tuple[NDArray[np.float32], list[str]]:
    """Unit vectors of good and bad photographs: genuine pairs score 0.2 to 0.7, impostor pairs about 0."""
    rng = np.random.default_rng(0)
    names = np.repeat(np.arange(count), each)
    quality = rng.uniform(0.6, 2.0, size=(count * each, 1))
    vectors = rng.normal(size=(count, 256))[names] + quality * rng.normal(size=(count * each, 256))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), [f"p{i}" for i in names]


def test_more_photographs_miss_less_and_larger_galleries_more(model: Embedder) -> None:
    plan = ExpectPlan(photographs=(1, 3), fmrs=(1e-2,), people=(10, 1_000_000), draws=2)
    found = expect(model, *people(20, 6), plan)
    assert found.people == 20
    fnmr = {(row.photographs, row.rule): row.fnmr for row in found.claims}
    assert fnmr[3, "best, whole rate"] <= fnmr[3, "best, shared rate"] < fnmr[1, "best, whole rate"]
    assert fnmr[3, "mean"] < fnmr[1, "mean"] == fnmr[1, "best, whole rate"]
    searches = {(row.people, row.photographs): row for row in found.searches}
    assert searches[10, 3].best < searches[10, 1].best < searches[1_000_000, 1].best
    assert searches[1_000_000, 1].basis == "extrapolated"
    table = describe_expectation(found)
    assert "| 1,000,000 |" in table
    assert "| 3 | 0.01 | mean |" in table


def test_the_threshold_is_the_one_that_is_served(model: Embedder) -> None:
    vectors, names = people(20, 6)
    found = expect(model, vectors, names, ExpectPlan(photographs=(2,), fmrs=(1e-2,), people=(100,), draws=1))
    table = ThresholdTable(model.manifest.thresholds, model.manifest.tail)
    assert found.searches[0].basis == table.for_gallery(0.01, 200).basis


def test_a_row_says_of_each_number_of_photographs_how_its_threshold_is_known() -> None:
    rows = tuple(
        SearchRow(1000, count, 0.01, 0.1, 0.1, "interpolated" if count < 2 else "extrapolated") for count in (1, 2, 3)
    )
    assert "| interpolated, then extrapolated |" in describe_expectation(Expectation("m@1", 50, (), rows))


def test_crops_of_unknown_people_are_left_out(model: Embedder) -> None:
    plan = ExpectPlan(photographs=(2,), fmrs=(1e-2,), people=(100,), draws=1)
    vectors, names = people(20, 6)
    known = expect(model, vectors[:90], names[:90], plan)
    assert expect(model, vectors, names[:90] + [""] * 30, plan) == known
    with pytest.raises(ProtocolInvalid, match="0 people have more than 2"):
        expect(model, vectors, [""] * 120, plan)


def test_too_few_photographs_are_refused(model: Embedder) -> None:
    with pytest.raises(ProtocolInvalid, match="more than 5 photographs"):
        expect(model, *people(5, 3), ExpectPlan(draws=1))
