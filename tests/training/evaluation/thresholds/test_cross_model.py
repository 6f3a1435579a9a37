"""Pair thresholds are written where the service reads them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from service.face.cross_model import PAIRS, read_pairs
from service.face.manifest import CalibratedThreshold
from service.face.registry import Registry
from service.models import Models
from tests.conftest import STARTER
from tests.training.conftest import MakeSet
from training.cli import app
from training.errors import PublishRefused
from training.evaluation.thresholds.calibrate import Calibration
from training.evaluation.thresholds.cross_model import write_pair


def calibration(threshold: float) -> Calibration:
    row = CalibratedThreshold(fmr=0.01, threshold=threshold, impostor_trials=10_000, ci95=(0.008, 0.012))
    return Calibration((row,), (0.1,), (), 10_000, 100, 50)


def test_a_pair_takes_the_place_of_the_same_pair_and_leaves_the_others(tmp_path: Path) -> None:
    first, second = "a" * 64, "b" * 64
    for digest, threshold in ((second, 0.3), (first, 0.4), (second, 0.5)):
        write_pair(tmp_path / PAIRS, digest, calibration(threshold))
    found = read_pairs(tmp_path)
    assert {digest: table.at(0.01).value for digest, table in found.items()} == {first: 0.4, second: 0.5}


def test_what_is_no_list_of_pairs_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / PAIRS).write_text("{}")
    with pytest.raises(PublishRefused, match="not a list of pair thresholds"):
        write_pair(tmp_path / PAIRS, "a" * 64, calibration(0.3))
    assert (tmp_path / PAIRS).read_text() == "{}"


def test_the_bundled_models_of_one_space_are_calibrated_with_each_other() -> None:
    models = Models.load(Registry.scan([STARTER]))
    assert len(models.embedders) > 1
    for probe in models.embedders:
        for reference in models.same_space(probe.manifest)[1:]:
            table, whose = models.calibration(probe, [reference])
            assert whose == "pair"
            assert {1e-2, 1e-3, 1e-4} <= set(table.rates)
            # A student and its fellow are a little worse together than the better one alone, and no other animal.
            assert table.at(1e-3).value == pytest.approx(models.thresholds(probe).at(1e-3).value, abs=0.05)


def test_the_command_writes_a_pair_into_the_model_folder(tmp_path: Path, make_set: MakeSet) -> None:
    known = Registry.scan([STARTER]).find("facet-s")
    shutil.copytree(known.path, tmp_path / "mine")
    (tmp_path / "mine" / PAIRS).unlink()
    make_set(tmp_path / "data" / "six", each=4)
    words = ["calibrate", str(tmp_path / "mine"), "six", "--reference", "facet-s", "--write"]
    folders = ["--data", str(tmp_path / "data"), "--models", str(tmp_path), "--runs", str(tmp_path / "runs")]
    done = CliRunner().invoke(app, [*words, *folders])
    assert done.exit_code == 0, done.output
    assert set(read_pairs(tmp_path / "mine")) == {known.manifest.sha256}
    refused = CliRunner().invoke(app, ["calibrate", "facet-s", *words[2:], *folders])
    assert (refused.exit_code, "publish_refused" in refused.output) == (1, True)
    assert not Path("facet-s").exists()
