"""Crops that faces fill, counted by whether their faces are found."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from service.face.align import align
from service.face.detection.detect import Detector
from service.face.registry import Registry
from training.cli import app
from training.tasks.detection.close_ups import most_turned, report_close_ups


@pytest.fixture(scope="module")
def detector(model_dirs: tuple[Path, ...]) -> Detector:
    registry = Registry.scan(model_dirs)
    return registry.detector(registry.folders("detector")[0].manifest.identity)


@pytest.fixture(scope="module")
def crops(
    tmp_path_factory: pytest.TempPathFactory, detector: Detector, astronaut: np.ndarray, admiral: np.ndarray
) -> Path:
    """Two faces, the admiral's nose further off the middle of the eyes, and a grey picture."""
    folder = tmp_path_factory.mktemp("crops")
    for name, photo in {"astronaut": astronaut, "admiral": admiral}.items():
        crop = align(photo, detector.detect(photo)[0].landmarks)
        cv2.imwrite(str(folder / f"{name}.png"), np.ascontiguousarray(crop[..., ::-1]))
    cv2.imwrite(str(folder / "nobody.png"), np.full((128, 128, 3), 90, np.uint8))
    return folder


def test_crops_are_counted_as_they_are_and_cut_to_the_face(detector: Detector, crops: Path) -> None:
    whole, tight = report_close_ups(detector, sorted(crops.iterdir()), 0.85)
    assert (whole.cut, whole.pictures, whole.missed, whole.doubtful) == ("whole", 3, 1, 0)
    assert (tight.cut, tight.pictures, tight.missed) == ("tight", 3, 1)
    everybody, _ = report_close_ups(detector, [crops / "admiral.png"], 1.0)
    assert everybody.doubtful == 1


def test_who_looks_away_comes_before_who_looks_ahead_and_nobody_does_not_come(detector: Detector, crops: Path) -> None:
    files = sorted(crops.iterdir())
    assert most_turned(detector.finder.session, files, 9) == [crops / "admiral.png", crops / "astronaut.png"]
    assert most_turned(detector.finder.session, files, 1) == [crops / "admiral.png"]


def test_the_command_prints_a_line_for_each_cut(crops: Path, tmp_path: Path) -> None:
    models = str(tmp_path / "none")
    shown = CliRunner().invoke(app, ["detector-close-ups", str(crops), "--every", "2", "--models", models])
    assert shown.exit_code == 0, shown.output
    assert shown.output.count(f"{crops.name}: ") == 2
    assert "of 2," in shown.output
