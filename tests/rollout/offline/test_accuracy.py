"""Thresholds and rates against a search of every threshold there is."""

from __future__ import annotations

import numpy as np
import pytest

from service.measures.thresholds import assign_folds, best_threshold, decide_by_folds
from service.rollout.offline.accuracy import true_match_rate


def drawn(seed: int, genuine: int, impostor: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    scores = np.concatenate([random.normal(0.6, 0.15, genuine), random.normal(0.2, 0.15, impostor)])
    return scores.astype(np.float32), np.arange(genuine + impostor) < genuine


@pytest.mark.parametrize("seed", range(5))
def test_the_best_threshold_is_as_good_as_any(seed: int) -> None:
    scores, genuine = drawn(seed, 150, 150)
    found = float(((scores >= best_threshold(scores, genuine)) == genuine).mean())
    assert found == max(float(((scores >= t) == genuine).mean()) for t in [-1.0, *scores.tolist(), 1.0])


def test_a_pair_is_decided_by_the_others() -> None:
    scores, genuine = drawn(1, 200, 200)
    assert decide_by_folds(scores, genuine, assign_folds(genuine)).right.mean() > 0.85
    # Labels that say nothing cannot be learnt from the other tenths.
    chance = np.random.default_rng(5).permutation(genuine)
    assert decide_by_folds(scores, chance, assign_folds(chance)).right.mean() < 0.65


@pytest.mark.parametrize("fmr", [0.1, 0.01])
def test_the_true_match_rate_keeps_its_false_match_rate(fmr: float) -> None:
    scores, truth = drawn(2, 500, 5000)
    genuine, impostor = scores[truth], scores[~truth]
    found = true_match_rate(genuine, impostor, fmr)
    assert found is not None
    share, threshold = found
    assert (impostor >= threshold).mean() <= fmr
    assert (impostor >= np.sort(impostor)[::-1][int(fmr * 5000)]).mean() > fmr, "any lower is too many"
    assert share.value == (genuine >= threshold).mean()


def test_too_few_impostors_support_no_rate() -> None:
    scores, truth = drawn(3, 100, 2999)
    assert true_match_rate(scores[truth], scores[~truth], 0.01) is None
    assert true_match_rate(scores[truth], scores[~truth], 0.1) is not None
