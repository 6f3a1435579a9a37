"""Quality reasons on a real face made worse in one way at a time."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from service.face.decoding.image import ImageLimits
from service.face.detection.search import Seek
from service.face.quality import QualityLimits, Reason
from service.face.registry import Registry
from service.pipeline import Perception
from service.runtime.timing import Stages
from tests.conftest import encode


@pytest.fixture(scope="module")
def perception(model_dirs: tuple[Path, ...]) -> Perception:
    registry = Registry.scan(model_dirs)
    detector = registry.detector(registry.folders("detector")[0].manifest.identity)
    return Perception(detector, ImageLimits(), QualityLimits())


def reasons(perception: Perception, pixels: np.ndarray) -> set[Reason]:
    scene = perception.look(encode(pixels, "PNG"), Stages())
    return set(scene.prominent().quality.reasons)


def test_good_portraits_are_fit(perception: Perception, astronaut: np.ndarray, admiral: np.ndarray) -> None:
    assert reasons(perception, astronaut) == set()
    assert reasons(perception, admiral) == set()


def test_each_fault_gives_its_reason(perception: Perception, astronaut: np.ndarray) -> None:
    smaller = cv2.resize(astronaut, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    assert Reason.TOO_SMALL in reasons(perception, smaller)
    assert reasons(perception, cv2.GaussianBlur(astronaut, (0, 0), 4.5)) == {Reason.TOO_BLURRED}
    assert Reason.TOO_DARK in reasons(perception, (astronaut * 0.15).astype(np.uint8))
    assert Reason.TOO_BRIGHT in reasons(perception, np.minimum(astronaut * 0.3 + 200, 255).astype(np.uint8))
    assert Reason.CUT_BY_BORDER in reasons(perception, np.ascontiguousarray(astronaut[:, 222:]))


def test_damage_that_no_threshold_mends_has_its_reasons(perception: Perception, astronaut: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    noisy = np.clip(astronaut * 0.5 + rng.normal(0, 14, astronaut.shape), 0, 255).astype(np.uint8)
    assert reasons(perception, noisy) == {Reason.NOISY}
    kernel = np.zeros((15, 15), np.float32)
    kernel[7] = 1 / 15
    assert Reason.MOTION_BLURRED in reasons(perception, cv2.filter2D(astronaut, -1, kernel))
    assert reasons(perception, cv2.cvtColor(cv2.cvtColor(astronaut, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)) == set()


def test_covered_eyes_have_their_reason_and_a_covered_mouth_has_none(
    perception: Perception, astronaut: np.ndarray
) -> None:
    """Painted on the photograph, where the detector finds the eyes and the mouth."""
    face = perception.look(encode(astronaut, "PNG"), Stages()).prominent().detection
    (left, right), (mouth_left, mouth_right) = face.landmarks[:2], face.landmarks[3:]
    reach = float(np.hypot(*(right - left))) / 3

    def paint(first: np.ndarray, second: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
        ends = [tuple(int(value) for value in point) for point in (first, second)]
        return np.asarray(cv2.line(astronaut.copy(), *ends, colour, int(2 * reach)), np.uint8)

    assert Reason.OCCLUDED in reasons(perception, paint(left, right, (15, 15, 20)))
    assert Reason.OCCLUDED not in reasons(perception, paint(mouth_left, mouth_right, (200, 210, 215)))


def test_sharpness_falls_with_blur_and_not_with_light(perception: Perception, astronaut: np.ndarray) -> None:
    def sharpness(pixels: np.ndarray) -> float:
        return perception.look(encode(pixels, "PNG"), Stages()).prominent().quality.sharpness

    blurred = [sharpness(cv2.GaussianBlur(astronaut, (0, 0), sigma)) for sigma in (0.7, 1.5, 3.0)]
    assert sharpness(astronaut) > blurred[0] > blurred[1] > blurred[2]
    assert sharpness((astronaut * 0.5).astype(np.uint8)) == pytest.approx(sharpness(astronaut), rel=0.15)


def test_a_large_photograph_keeps_the_detail_of_a_small_face(perception: Perception, astronaut: np.ndarray) -> None:
    """Detected on a reduced decode, the face is still cut from all its pixels, and measured in them."""
    canvas = np.full((3000, 4000, 3), 100, np.uint8)
    canvas[1200:1712, 1700:2212] = astronaut
    small = perception.look(encode(astronaut, quality=95), Stages()).prominent()
    large = perception.look(encode(canvas, quality=95), Stages()).prominent()
    assert large.quality.eye_distance == pytest.approx(small.quality.eye_distance, rel=0.08)
    assert large.quality.sharpness == pytest.approx(small.quality.sharpness, rel=0.2)
    assert np.allclose(large.detection.box[:2], np.add(small.detection.box[:2], (1700, 1200)), atol=12)


def test_the_largest_central_face_is_the_prominent_one(perception: Perception, astronaut: np.ndarray) -> None:
    half = cv2.resize(astronaut, None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA)
    canvas = np.full((700, 1000, 3), 100, np.uint8)
    canvas[100:612, 240:752] = astronaut
    canvas[0 : half.shape[0], 0 : half.shape[1]] = half
    scene = perception.look(encode(canvas), Stages())
    assert len(scene.faces) == 2
    assert scene.prominent().detection.box[0] > 300


def test_a_doubtful_face_says_so_and_is_no_rival(perception: Perception, astronaut: np.ndarray) -> None:
    """A face that the detector is not sure of keeps its reason, and does not make a portrait one of several people."""
    beside = np.hstack([astronaut, cv2.GaussianBlur(astronaut, (0, 0), 7)])
    scene = perception.look(encode(beside, "PNG"), Stages(), Seek.ALL)
    sure, doubtful = sorted(scene.faces, key=lambda face: face.detection.score, reverse=True)
    limit = QualityLimits().min_detection_score
    assert doubtful.detection.score < limit < sure.detection.score
    assert Reason.DOUBTFUL in doubtful.quality.reasons
    assert Reason.DOUBTFUL not in sure.quality.reasons
    assert (scene.total, scene.rivals) == (2, 0 if scene.faces[0] is sure else 1)
