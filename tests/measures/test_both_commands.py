"""`facet compare` and `facet-train evaluate` measure one thing: the same list and templates give the same numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from service.measures.all_pairs import score_pairs
from service.measures.thresholds import assign_folds, best_threshold, decide_by_folds
from service.rollout.offline.measure import score_photographs
from service.rollout.offline.photographs import read_pairs
from training.evaluation.evaluate import Bench, evaluate_pairs
from training.evaluation.protocols import read_lfw_view2
from training.evaluation.vectors import Model

LEVELS = 6


class Shades:
    """Embeds a grey crop as a direction by its shade, of which there are few: many pairs score alike."""

    dim, digest = 2, "0" * 64

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        level = np.round(crops[:, 64, 64, 0] / 255 * (LEVELS - 1))
        angle = level / LEVELS * np.pi / 2
        return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    """A list of ten folds of six pairs between forty people of two photographs."""
    rng = np.random.default_rng(4)
    for person in range(40):
        folder = tmp_path / f"p{person}"
        folder.mkdir()
        shade = rng.integers(0, LEVELS)
        for number in (1, 2):
            level = np.clip(shade + rng.integers(-1, 2), 0, LEVELS - 1)
            pixels = np.full((128, 128, 3), round(level / (LEVELS - 1) * 255), np.uint8)
            Image.fromarray(pixels).save(folder / f"p{person}_{number:04d}.jpg", quality=100)
    lines = ["10\t3"]
    for _ in range(10):
        lines += [f"p{person}\t1\t2" for person in rng.permutation(40)[:3]]
        lines += [f"p{a}\t{1}\tp{b}\t{2}" for a, b in rng.permutation(40)[:6].reshape(3, 2)]
    path = tmp_path / "pairs.txt"
    path.write_text("\n".join(lines))
    return path


def test_folds_thresholds_and_accuracy_are_the_same_with_tied_scores(listed: Path) -> None:
    pairs, photographs = read_lfw_view2(listed.parent), read_pairs(listed)
    assert photographs.folds.tolist() == pairs.fold.tolist()

    model = Model("shades", Shades(), "0" * 64, None)
    report = evaluate_pairs(Bench(None, progress=False), pairs, model)

    crops = np.stack([np.asarray(Image.open(file)) for file in photographs.files])
    scores = score_photographs(Shades().embed(crops), photographs, np.ones(len(crops), np.bool_))
    assert len(set(scores.tolist())) < len(scores) / 2, "most scores are tied"
    genuine = np.array([pair.genuine for pair in photographs.pairs])
    decisions = decide_by_folds(scores, genuine, photographs.folds)

    (accuracy,) = (row for row in report.rows if row.metric == "accuracy")
    assert decisions.accuracy.value == accuracy.value
    assert decisions.accuracy.ci95 == accuracy.ci95
    assert 0.6 < accuracy.value < 1.0
    assert report.details["thresholds"] == decisions.thresholds
    assert report.details["accuracies"] == decisions.accuracies


@pytest.mark.parametrize("seed", range(20))
def test_tied_scores_are_never_cut_apart(seed: int) -> None:
    """With two decimals a cut in the middle of equal scores decides worse than it counts."""
    random = np.random.default_rng(seed)
    genuine = np.arange(600) < 300
    scores = np.round(np.where(genuine, random.normal(0.5, 0.2, 600), random.normal(0.2, 0.2, 600)), 2)
    for precision in (np.float32, np.float64):
        given = scores.astype(precision)
        right = ((given >= best_threshold(given, genuine)) == genuine).sum()
        assert right == max(((given >= t) == genuine).sum() for t in [*given.tolist(), 2.0])


def test_pairs_without_folds_are_dealt_out_by_kind() -> None:
    genuine = np.array([True] * 12 + [False] * 11)
    assert assign_folds(genuine).tolist() == [*range(10), 0, 1, *range(10), 0]


def test_a_single_fold_says_nothing_of_where_to_decide() -> None:
    decisions = decide_by_folds(np.array([0.9, 0.1]), np.array([True, False]), np.zeros(2, np.int64))
    assert decisions.matches.tolist() == [False, False]


def test_scores_are_summed_in_double_precision() -> None:
    vectors = np.random.default_rng(0).normal(size=(20_000, 4)).astype(np.float32)
    expected = (vectors.astype(np.float64) * vectors[::-1].astype(np.float64)).sum(axis=1)
    np.testing.assert_allclose(score_pairs(vectors, np.ascontiguousarray(vectors[::-1])), expected, atol=1e-12)
    assert len(score_pairs(vectors[:0], vectors[:0])) == 0
