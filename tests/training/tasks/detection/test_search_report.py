"""The report on the served search, over a world of two portraits and a cat."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from service.face.detection.detect import Detector
from service.face.detection.search import Seek
from service.face.registry import Registry
from training.tasks.detection.search_report import compare_fast, portraits_by_person, report_angles, report_scenes


@pytest.fixture(scope="module")
def registry(model_dirs: tuple[Path, ...]) -> Registry:
    return Registry.scan(model_dirs)


@pytest.fixture(scope="module")
def detector(registry: Registry) -> Detector:
    return registry.detector(registry.folders("detector")[0].manifest.identity)


@pytest.fixture(scope="module")
def files(
    tmp_path_factory: pytest.TempPathFactory, astronaut: np.ndarray, admiral: np.ndarray, cat: np.ndarray
) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("world")
    made = {}
    for name, pixels in {"one/a": astronaut, "one/b": astronaut[:, ::-1], "two/a": admiral, "none/cat": cat}.items():
        made[name] = root / f"{name}.png"
        made[name].parent.mkdir(exist_ok=True)
        cv2.imwrite(str(made[name]), np.ascontiguousarray(pixels[..., ::-1]))
    return made


def test_scenes_are_counted_by_whether_they_show_people(
    registry: Registry, detector: Detector, files: dict[str, Path]
) -> None:
    """The detector is its own teacher; an astronaut said to be nobody is an alarm."""
    scenes = [files["one/a"], files["two/a"], files["none/cat"]]
    honest = report_scenes(detector, detector.finder.session, scenes, frozenset({"cat.png"}), 0.85)
    for seek in Seek:
        assert (honest.recall[seek].hits, honest.recall[seek].trials) == (2, 2)
        assert (honest.alarms[seek].hits, honest.alarms[seek].trials) == (0, 1)
    assert sum(share.trials for share in honest.precision.values()) == 2
    assert all(share.hits == share.trials for share in honest.precision.values())
    wrong = report_scenes(detector, detector.finder.session, [files["one/b"]], frozenset({"b.png"}), 0.85)
    assert wrong.alarms[Seek.ALL].hits == wrong.sure_alarms[Seek.ALL].hits == 1
    assert sum(share.hits for share in wrong.precision.values()) == 0
    assert any("recall" in line for line in honest.lines())


def test_people_match_themselves_at_every_angle(
    registry: Registry, detector: Detector, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.tasks.detection.search_report.ANGLES", (0, 90, 180))
    embedder = registry.embedder(registry.folders("embedder")[0].manifest.identity)
    portraits = portraits_by_person([files["one/a"], files["one/b"], files["two/a"]])
    assert portraits == [files["one/a"], files["two/a"]]
    for report in report_angles(detector, embedder, portraits, 0.5):
        assert (report.own.hits, report.own.trials) == (2, 2)
        assert (report.strangers.hits, report.strangers.trials) == (0, 1)
    cosines = compare_fast(detector, embedder, [*portraits, files["none/cat"]])
    assert cosines.shape == (3,)
    assert cosines.min() > 0.99


def test_where_nobody_is_found_nobody_matches(
    registry: Registry, detector: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.tasks.detection.search_report.ANGLES", (0,))
    embedder = registry.embedder(registry.folders("embedder")[0].manifest.identity)
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((96, 96, 3), 90, np.uint8))
    (report,) = report_angles(detector, embedder, [tmp_path / "grey.png"], 0.5)
    assert (report.own.hits, report.own.trials, report.strangers.trials) == (0, 1, 0)
