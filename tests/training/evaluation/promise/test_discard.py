"""Error against discard: the curve of a model's own cut, whom cuts turn away, and what cannot be measured."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from service.face.manifest import CalibratedThreshold, dump_manifest
from service.face.registry import MANIFEST, ModelFolder, Registry
from tests.training.conftest import MakeSet
from training.cli import app
from training.data.crops import CropSet, open_set
from training.errors import ProtocolInvalid
from training.evaluation.promise.damage import COMMON, RARE
from training.evaluation.promise.discard import DiscardCurve, DiscardPlan, describe_discard, measure_discard
from training.evaluation.promise.promise import look

PLAN = DiscardPlan(fmr=0.1, damaged=4, shares=(0.0, 0.1, 0.5))
RUNNER = CliRunner()


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory, make_set: MakeSet) -> CropSet:
    """Three pictures each of six people, held out for testing."""
    made = make_set(tmp_path_factory.mktemp("data") / "six", each=3)
    index = made.folder / "index.csv"
    index.write_text(index.read_text().replace(",train", ",test"))
    return open_set(made.folder)


@pytest.fixture(scope="module")
def gated(tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    """The bundled embedder, deciding at a score that some of the damaged pictures reach."""
    return changed(tmp_path_factory.mktemp("models"), {})


def changed(target: Path, changes: dict[str, object]) -> ModelFolder:
    """A folder of a bundled embedder, its manifest changed."""
    starter = Path(__file__).resolve().parents[4] / "service" / "starter"
    source = next(f for f in Registry.scan([starter]).folders("embedder") if f.manifest.name == "facet-s")
    for file in source.path.iterdir():
        (target / file.name).symlink_to(file)
    rows = (CalibratedThreshold(fmr=0.1, threshold=0.6, impostor_trials=10_000, ci95=(0.08, 0.12)),)
    manifest = source.manifest.model_copy(update={"thresholds": rows, "tail": ()} | changes)
    (target / MANIFEST).unlink()
    (target / MANIFEST).write_text(dump_manifest(manifest))
    return ModelFolder(manifest, target)


@pytest.fixture(scope="module")
def curve(crops: CropSet, gated: ModelFolder) -> DiscardCurve:
    return measure_discard(gated.embedder(), [crops], PLAN)


def test_every_damage_of_some_pictures_is_compared_with_the_good_ones(curve: DiscardCurve) -> None:
    good, damaged = 6 * 3, 4 * len({**COMMON, **RARE}) * 2  # three pairs a person; each damaged one has two mates
    assert curve.points[0].comparisons == good + damaged
    assert curve.points[0].share == 0


def test_the_least_recognisable_are_missed_most(curve: DiscardCurve) -> None:
    rates = [point.rate for point in curve.points]
    assert None not in rates
    assert rates == sorted(rates, reverse=True)  # type: ignore[type-var]
    assert rates[0] != rates[-1]


def test_the_cut_served_leaves_out_what_the_model_calls_unrecognisable(
    curve: DiscardCurve, crops: CropSet, gated: ModelFolder
) -> None:
    told = look(gated.embedder(), crops.crops[:]).recognisability
    assert gated.manifest.recognisability is not None
    assert told is not None
    assert curve.cut == gated.manifest.recognisability.cut
    assert curve.kinds == {
        "six": tuple(float(np.mean(told < cut)) for cut in (*(point.cut for point in curve.points), curve.cut))
    }
    assert 0.05 < curve.served.share < 0.5  # upside down, rolled, negative
    assert curve.served.comparisons < curve.points[0].comparisons


def test_the_table_names_the_cut_served(curve: DiscardCurve) -> None:
    table = describe_discard(curve)
    assert f"{curve.cut:.3f}, served" in table
    assert "| six |" in table
    assert len(table.splitlines()) == 2 + len(PLAN.shares) + 1 + 1 + 3


def test_a_model_without_a_gate_is_refused(tmp_path: Path, crops: CropSet) -> None:
    bare = changed(tmp_path, {"recognisability": None})
    with pytest.raises(ProtocolInvalid, match="no gate"):
        measure_discard(bare.embedder(), [crops], PLAN)


def test_people_with_one_picture_each_are_refused(tmp_path: Path, make_set: MakeSet, gated: ModelFolder) -> None:
    single = make_set(tmp_path / "single", each=1)
    index = single.folder / "index.csv"
    index.write_text(index.read_text().replace(",train", ",test"))
    with pytest.raises(ProtocolInvalid, match="no two pictures of one person"):
        measure_discard(gated.embedder(), [open_set(single.folder)], PLAN)


def test_the_command_prints_the_tables_and_writes_the_plots(tmp_path: Path, crops: CropSet, gated: ModelFolder) -> None:
    (tmp_path / "models").mkdir()
    roots = ["--data", str(crops.folder.parent), "--models", str(tmp_path / "models"), "--runs", str(tmp_path)]
    out = ["--out", str(tmp_path / "out"), "--damaged", "1", "--fmr", "0.1"]
    result = RUNNER.invoke(app, ["discard", str(gated.path), "six", *out, *roots])
    assert result.exit_code == 0, result.output
    assert "served" in result.output
    written = json.loads((tmp_path / "out" / "discard.json").read_text())
    assert written["model"] == gated.manifest.identity
    assert len(written["points"]) == len(DiscardPlan().shares)
    assert {path.suffix for path in (tmp_path / "out").glob("discard-*")} == {".png", ".svg"}
