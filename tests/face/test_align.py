"""The five-point template and the similarity warp."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.face.align import CANONICAL_LANDMARKS, CROP, MARGIN, align, similarity

ANGLES = st.floats(-np.pi, np.pi)
SCALES = st.floats(0.05, 20)
SHIFTS = st.floats(-2000, 2000)


def moved(points: np.ndarray, angle: float, scale: float, dx: float, dy: float) -> np.ndarray:
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return scale * points @ rotation.T + [dx, dy]


@given(ANGLES, SCALES, SHIFTS, SHIFTS)
def test_a_similarity_is_undone_exactly(angle: float, scale: float, dx: float, dy: float) -> None:
    landmarks = moved(CANONICAL_LANDMARKS.astype(np.float64), angle, scale, dx, dy)
    matrix = similarity(landmarks)
    assert np.allclose(landmarks @ matrix[:, :2].T + matrix[:, 2], CANONICAL_LANDMARKS, atol=1e-5)


@given(st.lists(st.floats(-30, 30), min_size=10, max_size=10))
def test_no_similarity_fits_better(noise: list[float]) -> None:
    """The least-squares solution of the linear system, by another route."""
    landmarks = CANONICAL_LANDMARKS + np.reshape(noise, (5, 2)).astype(np.float32)
    x, y = landmarks[:, 0].astype(float), landmarks[:, 1].astype(float)
    zeros, ones = np.zeros(5), np.ones(5)
    system = np.concatenate([np.stack([x, -y, ones, zeros], 1), np.stack([y, x, zeros, ones], 1)])
    a, b, tx, ty = np.linalg.lstsq(system, CANONICAL_LANDMARKS.T.reshape(-1).astype(float), rcond=None)[0]
    assert np.allclose(similarity(landmarks), [[a, -b, tx], [b, a, ty]], atol=1e-6)


@pytest.mark.parametrize("points", [np.zeros((5, 2)), np.full((5, 2), np.nan), np.full((5, 2), np.inf)])
def test_degenerate_landmarks_are_refused(points: np.ndarray) -> None:
    with pytest.raises(ValueError, match="landmarks"):
        similarity(points)


def test_the_template_is_arcface_shifted_by_the_margin() -> None:
    assert np.allclose(CANONICAL_LANDMARKS - MARGIN, [
        [38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041],
    ])  # fmt: skip


def test_aligning_what_is_aligned_changes_nothing() -> None:
    crop = np.random.default_rng(1).integers(0, 256, (CROP, CROP, 3), dtype=np.uint8)
    assert np.abs(align(crop, CANONICAL_LANDMARKS).astype(int) - crop).max() <= 1


@pytest.mark.parametrize("zoom", [1.5, 3.0, 6.0])
def test_a_large_face_is_averaged_not_sampled(zoom: float, astronaut: np.ndarray) -> None:
    """The same face, enlarged, must give the same crop; fine noise on it must average out."""
    small = astronaut[50:178, 150:278]
    side = round(CROP * zoom)
    large = cv2.resize(small, (side, side), interpolation=cv2.INTER_LINEAR)
    noisy = np.clip(large + np.random.default_rng(0).normal(0, 25, large.shape), 0, 255).astype(np.uint8)
    landmarks = (CANONICAL_LANDMARKS + 0.5) * (side / CROP) - 0.5
    clean = np.abs(align(large, landmarks).astype(int) - small).mean()
    assert clean < 4
    if zoom >= 3:
        assert np.abs(align(noisy, landmarks).astype(int) - small).mean() < 9


def test_outside_the_photograph_the_border_repeats() -> None:
    white = np.full((64, 64, 3), 255, np.uint8)
    assert (align(white, CANONICAL_LANDMARKS * 2) == 255).all()
