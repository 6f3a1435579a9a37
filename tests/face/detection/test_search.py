"""The search from coarse to fine: what is found at which size, which way up, and what is left out."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from service.face.align import align
from service.face.detection.detect import Detector
from service.face.detection.detection import Detection, overlap
from service.face.detection.network import DetectorNetwork
from service.face.detection.search import Seek
from service.face.quality import QualityLimits
from service.face.registry import Registry
from service.face.score import cosine
from tests.conftest import SHARED

HARD = SHARED / "data" / "hard"
SAME_PERSON, STRANGERS = 0.6, 0.3  # far on either side of every model's threshold


@pytest.fixture(scope="module")
def registry(model_dirs: tuple[Path, ...]) -> Registry:
    return Registry.scan(model_dirs)


@pytest.fixture(scope="module")
def detector(registry: Registry) -> Detector:
    return registry.detector(registry.folders("detector")[0].manifest.identity)


def turned(pixels: NDArray[np.uint8], degrees: float) -> NDArray[np.uint8]:
    """The picture turned clockwise about its middle."""
    height, width = pixels.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), -degrees, 1.0)
    return np.asarray(cv2.warpAffine(pixels, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE), np.uint8)


def smaller(pixels: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)


def test_a_head_is_held_upright_at_every_angle(
    registry: Registry, detector: Detector, astronaut: np.ndarray, admiral: np.ndarray
) -> None:
    embedder = registry.embedder(registry.folders("embedder")[0].manifest.identity)
    portraits = {"astronaut": astronaut[:400, 30:430], "admiral": admiral[:420, 66:486]}

    def template(pixels: NDArray[np.uint8]) -> tuple[Detection, NDArray[np.float32]]:
        face = detector.detect(pixels)[0]
        return face, embedder.embed(align(pixels, face.landmarks)[None])[0]

    upright = {name: template(pixels) for name, pixels in portraits.items()}
    for degrees in range(0, 360, 30):
        seen = {name: template(turned(pixels, degrees)) for name, pixels in portraits.items()}
        for name, (face, vector) in seen.items():
            away = (face.roll - upright[name][0].roll - degrees + 180) % 360 - 180
            assert abs(away) < 15, (name, degrees, away)
            assert cosine(vector, upright[name][1]) > SAME_PERSON, (name, degrees)
        assert cosine(seen["astronaut"][1], seen["admiral"][1]) < STRANGERS, degrees


def test_a_portrait_is_found_in_a_small_view(
    detector: Detector, astronaut: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The larger views of it are not looked at, however large it is."""
    seen: list[int] = []
    see = DetectorNetwork.see

    def watch(self: DetectorNetwork, view: NDArray[np.uint8], min_score: float) -> list[Detection]:
        seen.append(max(view.shape[:2]))
        return see(self, view, min_score)

    monkeypatch.setattr(DetectorNetwork, "see", watch)
    large = cv2.resize(astronaut, (1536, 1536), interpolation=cv2.INTER_CUBIC)
    assert len(detector.detect(large, Seek.PROMINENT)) == 1
    assert max(seen) < 300
    detector.detect(large, Seek.ALL)
    assert max(seen) > 700


def test_one_network_finds_and_another_places(registry: Registry, admiral: np.ndarray) -> None:
    """Scores are the finding network's, landmarks those that the placing one gives by itself."""
    folder = registry.folders("detector")[0]
    both = folder.detector()
    assert both.placer is not both.finder
    alone = [Detector(folder.manifest, network.session) for network in (both.finder, both.placer)]
    (face,), (found,), (placed,) = (each.detect(admiral) for each in (both, *alone))
    eyes = np.linalg.norm(placed.landmarks[1] - placed.landmarks[0])
    away = [np.linalg.norm(face.landmarks - other.landmarks, axis=1).mean() / eyes for other in (found, placed)]
    assert face.score == pytest.approx(found.score, abs=0.02)
    assert away[1] < away[0]
    assert away[1] < 0.03


def test_a_second_face_counts_from_a_fifth_of_the_first(detector: Detector, astronaut: np.ndarray) -> None:
    """Asked whether a face is the only one, a search sees all that are not much smaller."""
    for scale in (0.5, 0.7, 1.0):
        canvas = np.full((700, 1200, 3), 100, np.uint8)
        canvas[100:612, 100:612] = astronaut
        beside = smaller(astronaut, scale)
        canvas[20 : 20 + beside.shape[0], 650 : 650 + beside.shape[1]] = beside
        assert len(detector.detect(canvas, Seek.SINGLE)) == 2, scale


def test_the_subject_is_the_same_however_it_is_sought(detector: Detector, astronaut: np.ndarray) -> None:
    canvas = np.full((900, 1600, 3), 100, np.uint8)
    centre, corner = smaller(astronaut, 0.35), smaller(astronaut, 0.5)
    canvas[300 : 300 + centre.shape[0], 700 : 700 + centre.shape[1]] = centre
    canvas[: corner.shape[0], : corner.shape[1]] = corner
    first = [detector.detect(canvas, seek)[0] for seek in Seek]
    assert all(700 < face.centre[0] < 900 for face in first)
    assert np.ptp([face.landmarks for face in first], axis=0).max() < 0.5


@pytest.mark.parametrize(("width", "height"), [(6000, 700), (700, 6000), (4200, 3000)])
def test_small_faces_are_found_in_photographs_of_any_size(
    detector: Detector, astronaut: np.ndarray, width: int, height: int
) -> None:
    """Faces of 40 pixels, when all are asked for."""
    canvas = np.full((height, width, 3), 96, np.uint8)
    small = smaller(astronaut, 40 / 111)
    places = [(x, y) for x in range(20, width - 200, 1300) for y in range(20, height - 200, 1300)]
    for x, y in places:
        canvas[y : y + small.shape[0], x : x + small.shape[1]] = small
    faces = detector.detect(canvas, Seek.ALL)
    assert len(faces) == len(places)
    for x, y in places:
        expected = np.array([x + 178 * 0.36, y + 65 * 0.36, 91 * 0.36, 111 * 0.36])
        assert max(overlap(expected, np.array([face.box for face in faces]))) > 0.5


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "seek", "count", "roll"),
    [
        ("upside-down-1.jpg", Seek.PROMINENT, 1, 180),
        ("upside-down-2.jpg", Seek.PROMINENT, 1, 180),
        ("sideways.jpg", Seek.PROMINENT, 1, -90),
        ("portrait-phantom.jpg", Seek.SINGLE, 1, 0),
        ("panorama.jpg", Seek.ALL, 8, 0),
        ("hundred-faces.jpg", Seek.ALL, 100, 0),
    ],
)
def test_what_was_found_wrong_once(detector: Detector, name: str, seek: Seek, count: int, roll: float) -> None:
    faces = detector.detect(np.asarray(cv2.imread(str(HARD / name))[..., ::-1], np.uint8), seek)
    assert sum(face.score >= QualityLimits().min_detection_score for face in faces) == count
    assert all(abs((face.roll - roll + 180) % 360 - 180) < 30 for face in faces)
