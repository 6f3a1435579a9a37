from pathlib import Path

import numpy as np
import pytest
import torch

from service.face.detection.detection import decode
from service.face.session import ModelSession
from training.errors import ExportFailed
from training.tasks.detection.export import NAMES, export_detector
from training.tasks.detection.networks.student import BOX, KPS, OBJ, STRIDES, DetectorStudent
from training.tasks.detection.teacher import DenseTeacher

from .conftest import small_student

POINTS = np.array([[-0.4, -0.3], [0.5, -0.2], [0.1, 0.2], [-0.3, 0.6], [0.4, 0.7]])


def test_the_full_student_is_small_and_takes_any_size(tmp_path: Path) -> None:
    path = tmp_path / "detector.onnx"
    export_detector(DetectorStudent(), path)
    assert path.stat().st_size <= 400_000
    session = ModelSession(path)
    assert set(session.outputs) == set(NAMES)
    for height, width in ((32, 64), (480, 640)):
        found = session.run(np.zeros((1, 3, height, width), np.float32))
        for stride in STRIDES:
            cells = height // stride * (width // stride)
            assert found[f"cls_{stride}"].shape == found[f"obj_{stride}"].shape == (1, cells, 1)
            assert found[f"bbox_{stride}"].shape == (1, cells, 4)
            assert found[f"kps_{stride}"].shape == (1, cells, 10)
            assert (found[f"obj_{stride}"] >= 0).all()
            assert (found[f"obj_{stride}"] <= 1).all()


def test_what_a_cell_says_is_what_the_service_decodes(tmp_path: Path) -> None:
    """Heads that answer the same in every cell: one face per cell, at places and sizes known in advance."""
    student = small_student()
    dx, dy, log_w, log_h = 0.25, -0.5, 0.8, 1.1
    with torch.no_grad():
        for head in student.heads:
            head.weight.zero_()
            head.bias[0], head.bias[OBJ] = 2.0, 3.0
            head.bias[BOX] = torch.tensor([dx, dy, log_w, log_h])
            head.bias[KPS] = torch.from_numpy(POINTS.reshape(-1)).float()
    path = tmp_path / "constant.onnx"
    export_detector(student, path)
    height, width = 64, 96
    faces = decode(ModelSession(path).run(np.zeros((1, 3, height, width), np.float32)), height, width, 0.5)
    expected = []
    for s in STRIDES:
        for row in range(height // s):
            for column in range(width // s):
                w, h = np.exp(log_w) * s, np.exp(log_h) * s
                box = [(column + dx) * s - w / 2, (row + dy) * s - h / 2, w, h]
                expected.append((box, (POINTS + np.array([column, row])) * s))
    assert len(faces) == len(expected)
    score = np.sqrt(1 / (1 + np.exp(-2.0)) / (1 + np.exp(-3.0)))
    for face, (box, points) in zip(faces, expected, strict=True):
        assert face.score == pytest.approx(score, abs=1e-6)
        np.testing.assert_allclose(face.box, box, atol=1e-4)
        np.testing.assert_allclose(face.landmarks, points, atol=1e-4)


def test_the_graph_as_teacher_says_what_the_network_says(tmp_path: Path) -> None:
    """Rows round trip: torch -> graph -> dense teacher -> rows, in the same order, probabilities for logits."""
    student = small_student(seed=5)
    with torch.no_grad():
        for head in student.heads:
            head.weight.normal_(std=0.5)
    path = tmp_path / "graph.onnx"
    export_detector(student, path)
    tiles = np.random.default_rng(0).integers(0, 256, (1, 96, 128, 3), np.uint8)
    rows = DenseTeacher(ModelSession(path)).rows(tiles)
    with torch.no_grad():
        own = student.eval()(torch.from_numpy(tiles.transpose(0, 3, 1, 2).astype(np.float32)))
    own[..., :2] = own[..., :2].sigmoid()
    np.testing.assert_allclose(rows, own.numpy(), atol=2e-4)


def test_a_graph_that_disagrees_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.tasks.detection.export.TOLERANCE", -1.0)
    with pytest.raises(ExportFailed, match="differs"):
        export_detector(small_student(), tmp_path / "graph.onnx")
    assert not list(tmp_path.iterdir())
