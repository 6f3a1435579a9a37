"""What a detector's landmarks differ by when it looks twice."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from service.face.align import CANONICAL_LANDMARKS
from service.face.detection.detect import Detector
from service.face.registry import Registry
from tests.conftest import STARTER
from training.data.augment import augment, move_points
from training.data.crops import CropSet
from training.papers.budget import BUDGETS
from training.papers.measures.benchmark import MOVES, Benchmark
from training.papers.measures.jitter import find_again, measure_jitter
from training.recipe import Roots


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Registry.scan([STARTER]).detector("facet-detector")


def test_a_moved_face_is_found_where_it_was_moved_to(faces: NDArray[np.uint8], detector: Detector) -> None:
    still = find_again(faces[0], CANONICAL_LANDMARKS.astype(np.float32), detector)
    assert still is not None
    moved, warps = augment(faces[:1], MOVES, np.random.default_rng(3))
    wanted = move_points(still[None], warps)[0]
    there = find_again(moved[0], wanted, detector)
    assert there is not None
    error = np.linalg.norm(there - wanted, axis=1).mean() / np.linalg.norm(wanted[0] - wanted[1])
    assert error < 0.1
    assert np.abs(still - wanted).max() > 3, "it was moved"


def test_a_face_that_lies_elsewhere_is_another(faces: NDArray[np.uint8], detector: Detector) -> None:
    assert find_again(faces[0], CANONICAL_LANDMARKS.astype(np.float32) + 60, detector) is None


def test_the_jitter_is_that_of_the_sets_own_detector_and_is_measured_once(
    tmp_path: Path, people: CropSet, benchmark: Benchmark
) -> None:
    roots = Roots(tmp_path, tmp_path / "models", tmp_path / "runs")
    assert measure_jitter(benchmark, people, roots, tmp_path) is None, "nobody knows what found its landmarks"
    digest = Registry.scan([STARTER]).find("facet-detector").manifest.sha256
    mine = replace(people, about={**people.about, "detector": digest})
    jitter = measure_jitter(benchmark, mine, roots, tmp_path)
    assert jitter is not None
    assert 0 < jitter["found"] <= 1
    assert len(jitter["nme"]) == len(jitter["failures"]) == 1 + BUDGETS["small"].rounds
    assert 0 < jitter["nme"][0] < 0.5
    (written,) = tmp_path.glob("jitter-*.json")
    written.write_text(json.dumps({"found": 0.25}))
    assert measure_jitter(benchmark, mine, roots, tmp_path) == {"found": 0.25}
