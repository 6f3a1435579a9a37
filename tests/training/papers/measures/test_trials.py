"""TAR between all pictures, and what drawing people with replacement does to it."""

import numpy as np
import pytest

from service.measures.thresholds import tar_at
from training.papers.measures.trials import compare, decide, draw, tar


def faces(people: int = 40, each: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    person = np.repeat(np.arange(people), each)
    vectors = rng.normal(size=(people, 16))[person] + 0.9 * rng.normal(size=(len(person), 16))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), person


def test_every_pair_is_compared_once_and_the_highest_impostors_are_kept() -> None:
    vectors, person = faces(5, 2)
    trials = compare(vectors, person)
    scores = vectors @ vectors.T
    pairs = [(i, j) for i in range(10) for j in range(i + 1, 10)]
    genuine = sorted(scores[i, j] for i, j in pairs if person[i] == person[j])
    impostor = sorted((scores[i, j] for i, j in pairs if person[i] != person[j]), reverse=True)
    np.testing.assert_allclose(sorted(trials.genuine), genuine, atol=1e-6)
    np.testing.assert_allclose(trials.impostor, impostor[:2], atol=1e-6)  # a twentieth of forty
    assert trials.crops.tolist() == [2] * 5


@pytest.mark.parametrize("fmr", [0.03, 0.01, 0.001])
def test_with_everybody_once_it_is_the_plain_tar(fmr: float) -> None:
    vectors, person = faces()
    scores = (vectors @ vectors.T).astype(np.float64)[np.triu_indices(len(person), 1)]
    same = (person[:, None] == person)[np.triu_indices(len(person), 1)]
    plain = tar_at(scores[same], scores[~same], fmr).value
    assert 0.1 < plain < 0.99
    assert tar(compare(vectors, person), fmr, np.ones(40, np.int64)) == pytest.approx(plain)


def test_a_person_drawn_twice_counts_as_two_people_of_the_same_looks() -> None:
    """Comparisons between the two copies are left out: they are neither genuine nor impostor."""
    vectors, person = faces()
    drawn = draw(40, 1, seed=3)[1]
    trials = compare(vectors, person)
    wide = np.repeat(np.arange(len(person)), drawn[person])
    copy = np.concatenate([np.arange(drawn[p]) for p in person])
    rows, columns = np.triu_indices(len(wide), 1)
    a, b = person[wide[rows]], person[wide[columns]]
    scores = (vectors[wide[rows]] * vectors[wide[columns]]).sum(1).astype(np.float64)
    same = (a == b) & (copy[rows] == copy[columns]) & (wide[rows] != wide[columns])
    expected = tar_at(scores[same], scores[a != b], 0.01).value
    assert tar(trials, 0.01, drawn) == pytest.approx(expected, abs=0.02)


def test_the_first_round_is_everybody_once() -> None:
    rounds = draw(7, 50)
    assert rounds.shape == (51, 7)
    assert rounds[0].tolist() == [1] * 7
    assert set(rounds.sum(1)) == {7}
    np.testing.assert_array_equal(rounds, draw(7, 50))


def test_rates_at_a_fixed_threshold_by_counting() -> None:
    vectors, person = faces(8, 3)
    scores = (vectors @ vectors.T).astype(np.float64)
    drawn = draw(8, 3, seed=1)
    fmr, fnmr = decide(vectors, person, 0.4, drawn)
    for counts, mine, missed in zip(drawn, fmr, fnmr, strict=True):
        false = impostors = lost = genuine = 0
        for i, j in zip(*np.triu_indices(len(person), 1), strict=True):
            if person[i] == person[j]:
                genuine += counts[person[i]]
                lost += counts[person[i]] * (scores[i, j] < 0.4)
            else:
                weight = counts[person[i]] * counts[person[j]]
                impostors += weight
                false += weight * (scores[i, j] >= 0.4)
        assert mine == pytest.approx(false / impostors)
        assert missed == pytest.approx(lost / genuine)
    assert 0 < fmr[0] < 1
    assert 0 < fnmr[0] < 1


def test_people_with_one_crop_each_have_no_fnmr() -> None:
    vectors, person = faces(5, 1)
    fmr, fnmr = decide(vectors, person, 0.0, draw(5, 1))
    assert np.isfinite(fmr).all()
    assert np.isnan(fnmr).all()
