"""Claims against several photographs: who is compared with whom, by what score."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from service.measures.several import claim_best, claim_fused, draw_references


def faces(people: int = 30, each: int = 4, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Unit vectors of people, each near to their own direction."""
    rng = np.random.default_rng(seed)
    person = np.repeat(np.arange(people), each)
    vectors = rng.normal(size=(people, 16))[person] + 0.7 * rng.normal(size=(people * each, 16))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), person


def test_references_are_distinct_photographs_of_people_with_enough() -> None:
    person = np.array([0, 1, 1, 2, 2, 2, 2, 0, 3, 3, 3])
    rows = draw_references(person, 2, 2, np.random.default_rng(0))
    assert person[rows].tolist() == [[2, 2], [3, 3]]
    assert all(len(set(each)) == 2 for each in rows.tolist())


def test_the_best_photograph_decides_and_references_are_not_probes() -> None:
    vectors, person = faces()
    references = draw_references(person, 2, 2, np.random.default_rng(1))
    offsets = np.linspace(-0.2, 0, len(person)).astype(np.float32)
    claims = claim_best(vectors, offsets, person, references)
    assert len(claims.genuine) == 30 * 2
    assert len(claims.impostor) == 30 * 2 * 29
    probe = int(np.setdiff1d(np.flatnonzero(person == 0), references)[0])
    wanted = max(float(vectors[probe] @ vectors[row] + offsets[probe] + offsets[row]) for row in references[0])
    assert claims.genuine[0] == pytest.approx(wanted, abs=1e-6)


def test_one_photograph_is_the_same_either_way() -> None:
    vectors, person = faces()
    offsets = np.full(len(person), -0.1, np.float32)
    references = draw_references(person, 1, 1, np.random.default_rng(2))
    best = claim_best(vectors, offsets, person, references)
    fused = claim_fused(vectors, offsets, person, references, lambda some: np.full(len(some), -0.1, np.float32))
    assert np.allclose(best.genuine, fused.genuine, atol=1e-6)
    assert np.allclose(best.impostor, fused.impostor, atol=1e-6)


def test_a_fused_template_is_nearer_to_its_person() -> None:
    vectors, person = faces(each=6)
    offsets = np.zeros(len(person), np.float32)
    one = draw_references(person, 1, 4, np.random.default_rng(3))
    four = draw_references(person, 4, 4, np.random.default_rng(3))
    single = claim_fused(vectors, offsets, person, one, lambda some: np.zeros(len(some), np.float32))
    fused = claim_fused(vectors, offsets, person, four, lambda some: np.zeros(len(some), np.float32))
    assert fused.genuine.mean() > single.genuine.mean() + 0.05
