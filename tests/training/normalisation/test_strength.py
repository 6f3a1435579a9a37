"""The strength is the least that keeps the kinds, and the best there is where none keeps them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from training.normalisation.strength import STEPS, Held, choose_strength

DIM = 32


def strangers(likeness: float, beyond: float, seed: int) -> Held:
    """Two hundred strangers of one kind whose mean score with each other is `likeness`."""
    rng = np.random.default_rng(seed)
    common, own = rng.normal(size=DIM), rng.normal(size=(200, DIM))
    common /= np.linalg.norm(common)
    own -= np.outer(own @ common, common)
    own /= np.linalg.norm(own, axis=1, keepdims=True)
    vectors = (np.sqrt(likeness) * common + np.sqrt(1 - likeness) * own).astype(np.float32)
    return Held(vectors, tuple(str(i) for i in range(200)), np.full(200, beyond, np.float32))


def rate(held: Held, strength: float, threshold: float) -> float:
    scores = held.vectors @ held.vectors.T - strength * max(0.0, float(held.beyond[0]))
    return float((scores[np.triu_indices(200, 1)] >= threshold).mean())


def quantile(held: Held, fmr: float) -> float:
    scores: NDArray[np.float32] = (held.vectors @ held.vectors.T)[np.triu_indices(200, 1)]
    return float(np.quantile(scores, 1 - fmr))


def test_the_least_that_keeps_every_kind_is_chosen() -> None:
    ordinary, alike = strangers(0.02, -0.1, 1), strangers(0.3, 0.2, 2)
    chosen = choose_strength({"ordinary": ordinary}, {"alike": alike}, 1e-2, 1.5)
    threshold = quantile(ordinary, 1e-2)
    assert STEPS[0] < chosen.value < STEPS[-1]
    assert chosen.worst == chosen.kinds["alike"] <= 1.5
    assert rate(alike, chosen.value, threshold) / 1e-2 == pytest.approx(chosen.worst, abs=0.02)
    assert rate(alike, chosen.value - 0.05, threshold) > 1.5e-2


def test_the_best_is_taken_where_none_keeps_them() -> None:
    ordinary, alike = strangers(0.02, 0.0, 1), strangers(0.5, 0.02, 2)
    chosen = choose_strength({"ordinary": ordinary}, {"alike": alike}, 1e-2, 1.5)
    assert chosen.value == STEPS[-1]
    assert chosen.worst > 1.5


def test_pictures_of_one_person_are_no_strangers() -> None:
    ordinary, alike = strangers(0.02, 0.0, 1), strangers(0.5, 0.0, 2)
    twice = Held(
        np.concatenate([alike.vectors[:1]] * 9 + [ordinary.vectors]),
        ("0",) * 9 + ordinary.people,
        np.zeros(209, np.float32),
    )
    chosen = choose_strength({"ordinary": ordinary}, {"twice": twice}, 1e-2, 1.5)
    assert chosen.value == STEPS[0]
