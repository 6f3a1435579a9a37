"""Promised against observed: what breaks is named, what is too little to tell is marked, the exit status says it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from service.face.manifest import CalibratedThreshold, dump_manifest
from service.face.registry import MANIFEST, ModelFolder, Registry
from tests.training.conftest import MakeSet
from training.cli import app
from training.data.crops import Entry, open_set, writing_set
from training.errors import ProtocolInvalid
from training.evaluation.promise.damage import COMMON, RARE
from training.evaluation.promise.promise import Kept, Plan, Promise, find_fit, measure_promise
from training.evaluation.promise.report import describe_promise

RUNNER = CliRunner()


def folder_with(model_dirs: tuple[Path, ...], target: Path, threshold: float | None) -> ModelFolder:
    """A copy of a real embedder, without gate, that promises one false match in ten at this score."""
    source = Registry.scan(model_dirs).folders("embedder")[0]
    shutil.copytree(source.path, target)
    rows = ()
    if threshold is not None:
        rows = (CalibratedThreshold(fmr=0.1, threshold=threshold, impostor_trials=10_000, ci95=(0.08, 0.12)),)
    changes = {"thresholds": rows, "tail": (), "recognisability": None, "score": source.manifest.computed_score}
    manifest = source.manifest.model_copy(update=changes)
    (target / MANIFEST).write_text(dump_manifest(manifest))
    return ModelFolder(manifest, target)


def kept(kind: str, ratio: float, low: float, *, damage: bool = False) -> Kept:
    return Kept(kind, 1e-3, 0.4, "measured", ratio, (low, ratio * 2), 100_000, 0.01, 100, 0.0, 500, damage)


def test_a_kind_is_broken_only_beyond_chance_and_tolerance() -> None:
    found = Promise("m@1.0.0", "ab" * 32, "cosine", (kept("a", 7, 4), kept("b", 9, 6), kept("c", 1, 0.5)), 5.0)
    assert [each.kind for each in found.broken()] == ["b"]
    worst = found.worst(1e-3, damage=False)
    assert worst is not None
    assert worst.kind == "b"
    assert found.middle(1e-3) == pytest.approx((7 * 9 * 1) ** (1 / 3))
    assert "Broken, more than 5 times the rate asked: b at 0.001." in describe_promise(found)


def test_damage_is_told_apart_from_good_pictures() -> None:
    found = Promise("m@1.0.0", "ab" * 32, "cosine", (kept("a", 1, 0.5), kept("a, blurred", 40, 20, damage=True)), 5.0)
    assert found.middle(1e-3) == pytest.approx(1)
    table = describe_promise(found)
    assert "worst 1 (a), geometric mean 1; of damaged pictures worst 40 (a, blurred)." in table


def test_a_model_that_promises_nothing_is_refused(
    model_dirs: tuple[Path, ...], tmp_path: Path, make_set: MakeSet
) -> None:
    folder = folder_with(model_dirs, tmp_path / "models" / "bare", None)
    with pytest.raises(ProtocolInvalid, match="promises nothing"):
        measure_promise(folder.embedder(), [make_set(tmp_path / "six")], Plan((0.1,)))


def test_a_promise_of_which_nothing_can_be_compared_is_not_kept(
    model_dirs: tuple[Path, ...], tmp_path: Path, faces: NDArray[np.uint8]
) -> None:
    with writing_set(tmp_path / "one") as writer:
        for i in range(2):
            writer.add(faces[0] // (1 + i), Entry(f"{i}.png", "ann", "test"))
    folder = folder_with(model_dirs, tmp_path / "model", 0.3)
    with pytest.raises(ProtocolInvalid, match="no kind has two people"):
        measure_promise(folder.embedder(), [open_set(tmp_path / "one")], Plan((0.1,)), damage=False)


def test_the_command_measures_every_damage_and_fails_where_a_promise_breaks(
    model_dirs: tuple[Path, ...], tmp_path: Path, make_set: MakeSet
) -> None:
    crops = make_set(tmp_path / "data" / "six")
    lines = (crops.folder / "index.csv").read_text().replace(",train", ",test")
    (crops.folder / "index.csv").write_text(lines)
    (tmp_path / "models").mkdir()
    strict = folder_with(model_dirs, tmp_path / "strict", 1.5)
    loose = folder_with(model_dirs, tmp_path / "loose", -0.9)

    def run(folder: ModelFolder, *more: str) -> tuple[int, str]:
        roots = [
            "--data",
            str(tmp_path / "data"),
            "--models",
            str(tmp_path / "models"),
            "--runs",
            str(tmp_path / "runs"),
        ]
        result = RUNNER.invoke(app, ["promise", str(folder.path), "six", "--fmr", "0.1", *roots, *more])
        return result.exit_code, result.output

    status, text = run(strict, "--out", str(tmp_path / "out"))
    assert status == 0, text
    assert all(f"six, {name}" in text for name in (*COMMON, *RARE))
    written = json.loads((tmp_path / "out" / "promise.json").read_text())
    assert {kind["ratio"] for kind in written["kinds"]} == {0.0}
    assert written["broken"] == []
    assert list((tmp_path / "out").glob("promise-*.svg"))
    status, text = run(loose, "--no-damage")
    assert status == 1
    assert "Broken" in text
    assert "six, blurred" not in text


def test_the_rate_observed_is_that_of_all_comparisons_between_people(
    model_dirs: tuple[Path, ...], tmp_path: Path, make_set: MakeSet
) -> None:
    crops = make_set(tmp_path / "six", each=6)
    folder = folder_with(model_dirs, tmp_path / "model", 0.3)
    model = folder.embedder()
    (crops.folder / "index.csv").write_text((crops.folder / "index.csv").read_text().replace(",train", ",test"))
    found = measure_promise(model, [open_set(crops.folder)], Plan((0.1,)), damage=False).kept[0]
    fit = find_fit(crops.crops[:])
    assert fit.mean() > 0.9
    templates = model.templates(crops.crops[:][fit])
    scores = templates.vectors @ templates.vectors.T + templates.offsets[:, None] + templates.offsets[None, :]
    names = np.array(crops.identities)[fit]
    assert found.refused == pytest.approx(1 - fit.mean())
    left, right = np.triu_indices(len(names), 1)
    other = names[left] != names[right]
    assert found.impostors == other.sum()
    assert found.ratio * 0.1 == pytest.approx(np.mean(scores[left, right][other] >= 0.3), abs=1e-6)
    assert found.fnmr == pytest.approx(np.mean(scores[left, right][~other] < 0.3), abs=1e-6)
