"""Masks painted on faces."""

import numpy as np

from service.face.align import CANONICAL_LANDMARKS
from service.face.detection.detection import Detection
from training.tasks.detection.cover import cover


def face_of(pixels: np.ndarray, landmarks: np.ndarray) -> Detection:
    low, high = landmarks.min(axis=0), landmarks.max(axis=0)
    return Detection((*low.tolist(), *(high - low).tolist()), 0.9, landmarks.astype(np.float32))


def test_a_mask_covers_mouth_and_chin_and_leaves_the_eyes(astronaut: np.ndarray) -> None:
    landmarks = CANONICAL_LANDMARKS + np.float32([160, 60])
    face = face_of(astronaut, landmarks)
    for seed in range(3):
        covered = cover(astronaut, [face], np.random.default_rng(seed))
        np.testing.assert_array_equal(covered, cover(astronaut, [face], np.random.default_rng(seed)))
        changed = np.abs(covered.astype(int) - astronaut).max(axis=2) > 0
        mouth = landmarks[3:].mean(axis=0).round().astype(int)
        assert changed[mouth[1] - 4 : mouth[1] + 4, mouth[0] - 4 : mouth[0] + 4].mean() > 0.9
        for eye in landmarks[:2].round().astype(int):
            assert not changed[eye[1] - 9 : eye[1] - 4, eye[0] - 3 : eye[0] + 4].any()
        assert not changed[:, :100].any()


def test_what_is_too_small_or_outside_is_left(astronaut: np.ndarray) -> None:
    tiny = face_of(astronaut, CANONICAL_LANDMARKS / 8)
    outside = face_of(astronaut, CANONICAL_LANDMARKS + np.float32([2000, 2000]))
    np.testing.assert_array_equal(cover(astronaut, [tiny, outside], np.random.default_rng(0)), astronaut)
