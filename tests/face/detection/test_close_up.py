"""Pictures that one face fills, turned away and masked: seen without a rim, they show it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from service.face.detection.close_up import find_close_up
from service.face.detection.detect import Detector
from service.face.detection.view import halvings
from service.face.quality import QualityLimits
from service.face.registry import Registry

BOXES = {"astronaut": (179, 61, 92, 115), "admiral": (174, 114, 185, 221)}
PARTS = {"astronaut": (0.0, 0.6), "admiral": (0.4, 1.0)}
"""From where to where across the box: the cheek in view."""
CLOTH = (150, 190, 215)


@pytest.fixture(scope="module")
def detector(model_dirs: tuple[Path, ...]) -> Detector:
    registry = Registry.scan(model_dirs)
    return registry.detector(registry.folders("detector")[0].manifest.identity)


def tight(photo: NDArray[np.uint8], name: str, height: int, covered: float = 0.5) -> NDArray[np.uint8]:
    """One cheek and no more, as of a head that is turned away, its lower part under a cloth, `height` pixels high."""
    x, y, width, tall = BOXES[name]
    left, right = PARTS[name]
    part = photo[int(y + 0.02 * tall) : int(y + 0.98 * tall), int(x + left * width) : int(x + right * width)].copy()
    part[int(covered * len(part)) :] = CLOTH
    size = (round(0.6 * height), height)
    return np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA), np.uint8)


@pytest.mark.parametrize("height", [88, 104, 128])
@pytest.mark.parametrize("name", ["astronaut", "admiral"])
def test_a_turned_and_covered_face_that_fills_its_picture_is_found_with_doubt(
    detector: Detector, name: str, height: int, request: pytest.FixtureRequest
) -> None:
    picture = tight(request.getfixturevalue(name), name, height)
    (face,) = detector.detect(picture)
    assert face.size >= height / 2
    assert face.score < QualityLimits().min_detection_score
    assert face.landmarks[:2, 1].max() < face.landmarks[3:, 1].min(), "the eyes are above the mouth"


def test_a_face_in_a_mirrored_look_lies_where_it_is_in_the_picture(detector: Detector, admiral: np.ndarray) -> None:
    picture = tight(admiral, "admiral", 128)
    views = halvings(picture, detector.limits.smallest_side)
    face = find_close_up(detector.finder, detector.placer, views, 0.6, 1.25)
    other = find_close_up(detector.finder, detector.placer, halvings(picture[:, ::-1], 256), 0.6, 1.25)
    assert face is not None
    assert other is not None
    assert face.centre[0] == pytest.approx(picture.shape[1] - other.centre[0], abs=3)
    assert np.allclose(face.landmarks[[1, 0, 2, 4, 3], 0], picture.shape[1] - other.landmarks[:, 0], atol=3)


@pytest.mark.parametrize("side", [80, 96, 128])
def test_what_fills_a_picture_without_being_a_face_is_none(detector: Detector, cat: np.ndarray, side: int) -> None:
    rng = np.random.default_rng(1)
    noise = cv2.resize(rng.integers(0, 256, (12, 9, 3), dtype=np.uint8), (side * 3 // 4, side))
    closest = cv2.resize(cat[60:220, 90:250], (side, side), interpolation=cv2.INTER_AREA)
    for picture in (noise, closest, np.zeros((side, side, 3), np.uint8), np.full((3, 4 * side, 3), 90, np.uint8)):
        assert detector.detect(np.asarray(picture, np.uint8)) == []
