"""The detector on real photographs, and its decoding against OpenCV's."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from service.face.detection.detect import Detector
from service.face.detection.detection import STRIDES, decode, overlap, suppress
from service.face.detection.search import Seek
from service.face.errors import InferenceFailed
from service.face.registry import Registry


@pytest.fixture(scope="module")
def detector(model_dirs: tuple[Path, ...]) -> Detector:
    registry = Registry.scan(model_dirs)
    return registry.detector(registry.folders("detector")[0].manifest.identity)


def iou(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    return float(overlap(np.array(a), np.array([b]))[0])


FACE = {"astronaut": (178, 65, 91, 111), "admiral": (199, 108, 155, 196)}


@pytest.mark.parametrize("name", FACE)
def test_the_face_of_a_portrait_is_found(
    name: str, detector: Detector, astronaut: np.ndarray, admiral: np.ndarray
) -> None:
    faces = detector.detect({"astronaut": astronaut, "admiral": admiral}[name])
    assert len(faces) == 1
    assert iou(faces[0].box, FACE[name]) > 0.6
    left, right, nose, mouth_left, mouth_right = faces[0].landmarks
    assert left[0] < nose[0] < right[0]
    assert max(left[1], right[1]) < nose[1] < min(mouth_left[1], mouth_right[1])
    assert mouth_left[0] < mouth_right[0]


def test_a_cat_is_nobody(detector: Detector, cat: np.ndarray) -> None:
    assert detector.detect(cat) == []


@pytest.mark.parametrize("height", [24, 32, 48, 96, 200, 400, 900])
def test_faces_of_every_size_are_found_in_their_place(detector: Detector, astronaut: np.ndarray, height: int) -> None:
    scale = height / FACE["astronaut"][3]
    small = cv2.resize(
        astronaut, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    )
    canvas = np.full((max(480, small.shape[0]), max(640, small.shape[1]), 3), 96, np.uint8)
    canvas[: small.shape[0], : small.shape[1]] = small
    faces = detector.detect(canvas)
    assert len(faces) == 1
    assert iou(faces[0].box, tuple(v * scale for v in FACE["astronaut"])) > 0.5


@pytest.mark.parametrize("side", [112, 320, 1200])
@pytest.mark.parametrize("margin", [0.0, 0.1])
def test_a_face_that_fills_the_frame_is_found(
    detector: Detector, astronaut: np.ndarray, side: int, margin: float
) -> None:
    x, y, w, h = FACE["astronaut"]
    cut = astronaut[int(y - margin * h) : int(y + h * (1 + margin)), int(x - margin * w) : int(x + w * (1 + margin))]
    faces = detector.detect(cv2.resize(cut, (side, round(side * 1.22)), interpolation=cv2.INTER_CUBIC))
    assert len(faces) == 1
    assert faces[0].area > 0.5 * side * side


def test_a_small_face_in_a_large_photograph_is_found(detector: Detector, astronaut: np.ndarray) -> None:
    small = cv2.resize(astronaut, None, fx=0.28, fy=0.28, interpolation=cv2.INTER_AREA)
    canvas = np.full((1200, 1600, 3), 96, np.uint8)
    canvas[700 : 700 + small.shape[0], 900 : 900 + small.shape[1]] = small
    assert len(detector.detect(canvas)) == 1
    assert len(detector.detect(canvas, Seek.ALL)) == 1


def test_decoding_agrees_with_opencv(model_dirs: tuple[Path, ...], astronaut: np.ndarray) -> None:
    """OpenCV's FaceDetectorYN reads the same file and must find the same numbers."""
    registry = Registry.scan(model_dirs)
    folder = registry.folders("detector")[0]
    ours = registry.detector(folder.manifest.identity).finder.see(astronaut, 0.5)
    reference = cv2.FaceDetectorYN.create(str(folder.model_path), "", (512, 512), 0.5, 0.3)
    _, theirs = reference.detect(cv2.cvtColor(astronaut, cv2.COLOR_RGB2BGR))
    assert len(ours) == len(theirs) > 0
    theirs = theirs[np.argsort(-theirs[:, 2] * theirs[:, 3])]
    for face, row in zip(ours, theirs, strict=True):
        assert np.allclose(face.box, row[:4], atol=0.05)
        assert np.allclose(face.landmarks.ravel(), row[4:14], atol=0.05)
        assert face.score == pytest.approx(float(row[14]), abs=1e-3)


def heads(height: int, width: int) -> dict[str, np.ndarray]:
    outputs = {}
    for stride in STRIDES:
        cells = (height // stride) * (width // stride)
        for head, size in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
            outputs[f"{head}_{stride}"] = np.zeros((1, cells, size), np.float32)
    return outputs


def test_one_cell_decodes_by_the_formula() -> None:
    outputs = heads(64, 96)
    cell = 2 * 6 + 3  # stride 16: row 2, column 3 of 6
    outputs["cls_16"][0, cell] = 0.81
    outputs["obj_16"][0, cell] = 1.7  # clipped to 1
    outputs["bbox_16"][0, cell] = [0.5, 0.25, np.log(2), np.log(3)]
    outputs["kps_16"][0, cell] = np.arange(10) / 10
    (face,) = decode(outputs, 64, 96, 0.5)
    assert face.score == pytest.approx(0.9)
    assert face.box == pytest.approx((3.5 * 16 - 16, 2.25 * 16 - 24, 32, 48))
    assert np.allclose(face.landmarks, (np.arange(10).reshape(5, 2) / 10 + [3, 2]) * 16)
    assert decode(outputs, 64, 96, 0.91) == []


@pytest.mark.parametrize("head", ["cls", "obj", "bbox", "kps"])
def test_a_network_that_gives_no_number_is_an_error_and_no_empty_photograph(head: str) -> None:
    outputs = heads(64, 64)
    outputs["cls_8"][0, 9] = outputs["obj_8"][0, 9] = 1.0
    assert len(decode(outputs, 64, 64, 0.5)) == 1
    outputs[f"{head}_8"][0, 9] = np.nan
    with pytest.raises(InferenceFailed):
        decode(outputs, 64, 64, 0.5)


def test_suppression_keeps_the_best_of_what_overlaps() -> None:
    outputs = heads(64, 64)
    for cell, score in ((9, 0.9), (10, 0.8), (36, 0.7)):
        outputs["cls_8"][0, cell] = outputs["obj_8"][0, cell] = score
        outputs["bbox_8"][0, cell, 2:] = np.log(3)
    kept = suppress(decode(outputs, 64, 64, 0.5), 0.3)
    assert [round(face.score, 2) for face in kept] == [0.9, 0.7]
