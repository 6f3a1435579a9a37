"""The main job by one command, at a very small size: crops in, a served student beside its teacher out."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from service.face.cross_model import PAIRS
from service.face.manifest import Licence
from service.face.registry import Registry
from tests.training.conftest import STUDENT, VARIED, MakeRecipe, MakeSet
from training.backbones.weights import read_student
from training.cli import app
from training.data.augment import augment
from training.data.crops import open_set
from training.data.prepare import Preparation, prepare
from training.engine.fit import fit
from training.export import distil
from training.export.beginning import find_beginning
from training.export.export import export
from training.export.publish import Publication, publish
from training.recipe import STARTER, Roots
from training.tasks.embedding import EMBEDDING

LICENCE = Licence(id="MIT", url=None, commercial_use=True, note="")


def publish_tiny(roots: Roots, make_recipe: MakeRecipe, name: str, dim: int) -> None:
    """A model with its weights, hardly trained, whose embedding has `dim` values."""
    recipe = make_recipe(name=name, student=STUDENT | {"dim": dim})
    run = fit(recipe, EMBEDDING, roots, accelerator="cpu", progress=False)
    export(run, [open_set(roots.data / "six")], ("fp32",), amount=16)
    publish(
        run, Publication(name, "1.0.0", LICENCE, "a test", f"{name}, very small.", "Knows six people."), roots.models
    )


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory, make_set: MakeSet, make_recipe: MakeRecipe) -> Roots:
    root = tmp_path_factory.mktemp("distil")
    roots = Roots(root / "data", root / "models", root / "runs")
    roots.models.mkdir()
    make_set(roots.data / "six", each=8)
    publish_tiny(roots, make_recipe, "teacher", 24)
    publish_tiny(roots, make_recipe, "small", 16)
    return roots


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory, faces: NDArray[np.uint8]) -> Path:
    """Crops of six people, a folder each."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(1)
    for person, face in enumerate(faces):
        (folder / f"person-{person}").mkdir()
        crops, _ = augment(np.repeat(face[None], 24, axis=0), VARIED, rng)
        for i, crop in enumerate(crops):
            cv2.imwrite(str(folder / f"person-{person}" / f"{i}.png"), crop[..., ::-1])
    return folder


def command(roots: Roots, photos: Path, *more: str) -> tuple[int, str]:
    folders = {"FACET_TRAIN_DATA": roots.data, "FACET_TRAIN_MODELS": roots.models, "FACET_TRAIN_RUNS": roots.runs}
    words = ["distil", str(photos), "--teacher", "teacher", "--student", "small", "--into", str(roots.models)]
    words += ["--aligned", "--test", "0.4", "--epochs", "2", *more]
    result = CliRunner().invoke(app, words, env={name: str(path) for name, path in folders.items()})
    return result.exit_code, result.output


def test_photographs_become_a_student_that_is_compared_with_its_teacher(
    roots: Roots, photos: Path, faces: NDArray[np.uint8]
) -> None:
    status, printed = command(roots, photos)
    assert status == 0, printed
    assert printed.strip().endswith(str(roots.models / "small-teacher-1.0.0"))
    registry = Registry.scan([roots.models])
    folder, teacher = registry.find("small-teacher"), registry.find("teacher")
    manifest = folder.manifest
    assert manifest.space == teacher.manifest.space
    assert manifest.output is not None
    assert (manifest.output.dim, manifest.output.confidence) == (24, "confidence")
    assert manifest.licence.commercial_use is None, "the photographs' terms are not known here"
    assert manifest.thresholds[0].fmr == 0.1
    assert json.loads((folder.path / PAIRS).read_text())[0]["reference"] == teacher.manifest.sha256
    trained = open_set(roots.data / "small-teacher")
    held = open_set(roots.data / "small-teacher-held-out")
    told = {trained.identities[i] for i in trained.rows("train")}
    assert not told & set(held.identities)
    protocols = {row.protocol for row in manifest.results}
    assert {"small-teacher-held-out", "small-teacher-held-out, enrolled with teacher@1.0.0"} <= protocols
    likeness = next(row.value for row in manifest.results if row.metric == "mean cosine with its teacher")
    crops = np.ascontiguousarray(held.crops)
    cosines = (registry.embedder("small-teacher").embed(crops) * registry.embedder("teacher").embed(crops)).sum(axis=1)
    assert likeness == pytest.approx(float(cosines.mean()), abs=1e-3)
    for part in ("## Thresholds", "small@1.0.0 turned to teacher@1.0.0", "weights.npz"):
        assert part in folder.card()


def test_called_again_it_goes_on_and_trains_nothing_twice(
    roots: Roots, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    splits: list[object] = []

    def stop(*_arguments: object, **options: object) -> None:
        splits.append(options["split"])
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(distil, "export", stop)
        status, _ = command(roots, photos, "--name", "again")
    assert status != 0
    assert splits == ["train"], "nobody who is held out has a part in the ranges of 8 bits"
    assert not (roots.models / "again-1.0.0").exists()
    checkpoint = roots.runs / "again" / "checkpoint.pt"
    before = checkpoint.stat().st_mtime_ns
    status, printed = command(roots, photos, "--name", "again")
    assert status == 0, printed
    assert checkpoint.stat().st_mtime_ns == before
    shutil.rmtree(roots.models / "again-1.0.0")


def test_other_words_under_the_same_name_do_not_go_on(roots: Roots, photos: Path, tmp_path: Path) -> None:
    words = ["--name", "known"]
    how = Preparation(aligned=True, validation=0.0, test=0.4)
    prepare(photos, roots.data / "known", how, None, progress=False)
    status, printed = command(roots, photos, *words, "--test", "0.3")
    assert (status, "prepared with other words (shares)" in printed) == (1, True)
    status, printed = command(roots, tmp_path, *words)
    assert (status, "prepared with other words (made_from)" in printed) == (1, True)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--version", "1.0"], "'1.0' is no version of a model"),
        (["--name", "My Model"], "'My Model' is no name of a model"),
        (["--name", "alone", "--test", "0"], "holds 0 pictures back for testing"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_would_end_in_nothing_is_refused_before_the_training(
    roots: Roots, photos: Path, words: list[str], complaint: str
) -> None:
    before = sorted(roots.runs.iterdir())
    status, printed = command(roots, photos, *words)
    assert (status, complaint in printed) == (1, True)
    assert sorted(roots.runs.iterdir()) == before


def test_the_bundled_students_can_be_begun_from() -> None:
    """Beside their graphs or kept: the documents' first command must work in a fresh checkout."""
    for name, form in (("facet-s", "int8"), ("facet-m", "fp32")):
        begun = find_beginning(name, Registry.scan([STARTER]))
        network, pixels = read_student(begun.folder)
        assert (network.dim, begun.form) == (256, form)
        assert network.width == pixels.width
        assert begun.licence.id == "Apache-2.0"


def test_a_student_without_weights_is_refused(roots: Roots, photos: Path, tmp_path: Path) -> None:
    bare = tmp_path / "models"
    shutil.copytree(roots.models, bare)
    (bare / "small-1.0.0" / "weights.npz").unlink()
    status, printed = command(Roots(roots.data, bare, roots.runs), photos, "--name", "bare")
    assert status == 1
    assert "only a model with its weights is begun from" in printed
