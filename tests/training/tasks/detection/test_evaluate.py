from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from service.face.detection.detection import Detection
from service.face.registry import Registry
from service.face.session import ModelSession
from training.tasks.detection.evaluate import (
    Question,
    Share,
    close_views,
    compare,
    find_faces,
    landmark_error,
    time_ratio,
    views,
)
from training.tasks.detection.export import export_detector
from training.tasks.detection.networks.student import OBJ

from .conftest import small_student

Pixels = NDArray[np.uint8]


@pytest.fixture(scope="module")
def detector(model_dirs: tuple[Path, ...]) -> ModelSession:
    """A detector that finds faces: the bundled one."""
    return ModelSession(Registry.scan(model_dirs).folders("detector")[0].model_path)


@pytest.fixture(scope="module")
def pictures(astronaut: Pixels, admiral: Pixels, cat: Pixels) -> list[Pixels]:
    return [np.ascontiguousarray(picture[..., ::-1]) for picture in (astronaut, admiral, cat)]


def fixed_detector(path: Path, logit: float) -> ModelSession:
    """A detector that gives every cell the same score, whatever it sees."""
    student = small_student()
    with torch.no_grad():
        for head in student.heads:
            head.weight.zero_()
            head.bias[:] = 0.0
            head.bias[0] = head.bias[OBJ] = logit
    export_detector(student, path)
    return ModelSession(path)


def test_a_detector_is_its_own_equal(detector: ModelSession, pictures: list[Pixels]) -> None:
    report = compare(detector, detector, pictures, Question(operating_score=0.8))
    assert report.images == 3
    assert report.recall.value == 1.0
    assert report.recall.trials == 2  # two portraits, and a cat
    assert report.student_alarms == 0
    assert report.landmark_errors == [0.0, 0.0]
    assert 2 <= len(report.jitters) <= 4
    assert 0 < max(report.jitters) < 0.5
    assert any("100.00%" in line for line in report.lines())
    assert report.summary()["images"] == 3


def test_a_blind_one_finds_nothing(detector: ModelSession, pictures: list[Pixels], tmp_path: Path) -> None:
    report = compare(fixed_detector(tmp_path / "blind.onnx", -9.0), detector, pictures)
    assert report.recall == Share(0, 2)
    assert report.student_alarms == 0
    assert report.landmark_errors == []
    assert sum(share.trials for share in report.found.values()) == 2


def test_one_that_sees_faces_everywhere_raises_alarms(
    detector: ModelSession, pictures: list[Pixels], tmp_path: Path
) -> None:
    eager = fixed_detector(tmp_path / "eager.onnx", 9.0)
    report = compare(eager, detector, pictures[2:], Question())
    assert report.student_alarms == len(find_faces(eager, pictures[2], 0.6)) > 50


def test_landmark_error_counts_in_eye_distances() -> None:
    points = np.array([[10, 10], [30, 10], [20, 20], [12, 30], [28, 30]], np.float32)
    face = Detection((0, 0, 40, 40), 0.9, points)
    moved = Detection((0, 0, 40, 40), 0.9, points + np.array([3, 4], np.float32))
    assert landmark_error(moved, face) == pytest.approx(5 / 20)
    one = points.copy()
    one[3, 0] += 10
    assert landmark_error(Detection((0, 0, 40, 40), 0.9, one), face) == pytest.approx(10 / 20 / 5)


def test_faces_fill_close_views(detector: ModelSession, pictures: list[Pixels], tmp_path: Path) -> None:
    for number, picture in enumerate(pictures):
        cv2.imwrite(str(tmp_path / f"{number}.png"), picture)
    files = sorted(tmp_path.glob("*.png"))
    close = list(close_views(detector, files[:1], 160))
    assert close[0].shape == (160, 160, 3)
    face = max(find_faces(detector, close[0], 0.5), key=lambda face: face.area)
    assert 120 < face.box[3] < 200
    assert [view.shape for view in views(files[:1], 0.5)] == [(256, 256, 3)]


def test_speed_is_a_ratio_of_two_medians(random_session: ModelSession) -> None:
    found = time_ratio(random_session, random_session, rounds=5)
    assert found["ratio"] == pytest.approx(found["student_ms"] / found["teacher_ms"])
    assert found["student_ms"] > 0
