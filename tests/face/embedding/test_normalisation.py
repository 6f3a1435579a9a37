"""Score normalisation: offsets from a cohort's graph, kept with a model by its digest, and never a NaN."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit

from service.face.embedding.normalisation import NORMALISATION, Normalisation, as_probes, as_references
from service.face.embedding.recognisability import RECOGNISABILITY, Recognisability
from service.face.errors import InferenceFailed, ModelDigestMismatch, ModelInvalid
from service.face.manifest import NormalisationSpec, RecognisabilitySpec, dump_manifest
from service.face.registry import MANIFEST, ModelFolder, Registry, sha256_of
from service.face.score import cosine, normalised
from service.face.session import ModelSession
from service.models import Models
from training.normalisation.graphs import write_normalisation, write_perceptron

DIM = 256


def unit(count: int, seed: int = 0, dim: int = DIM) -> NDArray[np.float32]:
    vectors = np.random.default_rng(seed).normal(size=(count, dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def centres() -> NDArray[np.float32]:
    return unit(40, 7)


@pytest.fixture
def normalisation(tmp_path: Path, centres: NDArray[np.float32]) -> Normalisation:
    write_normalisation(tmp_path / NORMALISATION, centres, nearest=3, strength=1.2, ordinary=0.1)
    return Normalisation(ModelSession(tmp_path / NORMALISATION), DIM, sha256_of(tmp_path / NORMALISATION))


def test_the_graph_is_the_formula(normalisation: Normalisation, centres: NDArray[np.float32]) -> None:
    vectors = unit(50)
    nearest = np.sort(vectors @ centres.T, axis=1)[:, -3:].mean(axis=1)
    expected = -0.6 * np.maximum(0, nearest - 0.1)
    assert np.abs(normalisation.offsets(vectors) - expected).max() < 1e-3
    assert (expected < 0).any()
    assert (expected == 0).any()
    assert normalisation.offsets(vectors[:0]).shape == (0,)


def test_members_of_the_cohort_are_lowered_and_others_keep_their_score(normalisation: Normalisation) -> None:
    centres = unit(40, 7)
    assert normalisation.offsets(centres).max() < -0.1


def test_one_inner_product_gives_the_normalised_score() -> None:
    a, b = unit(5, 1), unit(6, 2)
    o, p = np.linspace(-0.2, 0, 5).astype(np.float32), np.linspace(-0.1, 0, 6).astype(np.float32)
    scores = as_probes(a, o) @ as_references(b, p).T
    for i in range(5):
        for j in range(6):
            assert scores[i, j] == pytest.approx(normalised(a[i], b[j], o[i], p[j]), abs=1e-6)


def test_no_score_is_not_a_number() -> None:
    good = unit(1)[0]
    with pytest.raises(InferenceFailed, match="no finite score"):
        cosine(good, np.full(DIM, np.nan, np.float32))
    with pytest.raises(InferenceFailed, match="no finite score"):
        normalised(good, good, float("nan"), 0.0)


def test_what_is_not_finite_is_an_error_and_no_offset(normalisation: Normalisation) -> None:
    with pytest.raises(InferenceFailed):
        normalisation.offsets(np.full((1, DIM), np.nan, np.float32))


def test_a_graph_of_another_dimension_does_not_load(tmp_path: Path) -> None:
    write_normalisation(tmp_path / "n.onnx", unit(40, 7, 128), nearest=3, strength=1.0, ordinary=0.1)
    with pytest.raises(ModelInvalid, match="vectors are"):
        Normalisation(ModelSession(tmp_path / "n.onnx"), DIM, "ab" * 32)
    write_perceptron(tmp_path / "r.onnx", [(np.zeros((1, 128), np.float32), np.zeros(1, np.float32))])
    with pytest.raises(ModelInvalid, match="vectors are"):
        Recognisability(ModelSession(tmp_path / "r.onnx"), DIM)


def test_a_perceptron_is_what_it_says(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(8, DIM)).astype(np.float32), rng.normal(size=(1, 8)).astype(np.float32)
    bias = rng.normal(size=8).astype(np.float32)
    write_perceptron(tmp_path / "r.onnx", [(first, bias), (second, np.zeros(1, np.float32))])
    raw = unit(9) * 20
    expected = expit((np.maximum(raw @ first.T + bias, 0) @ second.T)[:, 0])
    assert Recognisability(ModelSession(tmp_path / "r.onnx"), DIM).of(raw) == pytest.approx(expected, abs=1e-5)


@pytest.fixture
def equipped(silent_dirs: tuple[Path, ...], tmp_path: Path, centres: NDArray[np.float32]) -> ModelFolder:
    """A copy of a real embedder with a normalisation and a gate."""
    source = Registry.scan(silent_dirs).folders("embedder")[0]
    target = tmp_path / "models" / "copy"
    shutil.copytree(source.path, target)
    assert source.manifest.output is not None
    dim = source.manifest.output.dim
    write_normalisation(target / NORMALISATION, unit(40, 7, dim), nearest=3, strength=1.2, ordinary=-1.0)
    write_perceptron(target / RECOGNISABILITY, [(np.zeros((1, dim), np.float32), np.array([2.0], np.float32))])
    changes = {
        "normalisation": NormalisationSpec(
            sha256=sha256_of(target / NORMALISATION), nearest=3, strength=1.2, cohort=40, data=("noise",)
        ),
        "recognisability": RecognisabilitySpec(sha256=sha256_of(target / RECOGNISABILITY), cut=0.4),
        "thresholds": (),
        "tail": (),
    }
    manifest = source.manifest.model_copy(update=changes)
    (target / MANIFEST).write_text(dump_manifest(manifest))
    return Registry.scan([target.parent]).folders("embedder")[0]


def test_templates_come_with_their_offsets_and_recognisability(equipped: ModelFolder) -> None:
    embedder = equipped.embedder()
    crops = np.random.default_rng(0).integers(0, 256, (3, 128, 128, 3), dtype=np.uint8)
    templates = embedder.templates(crops)
    assert np.array_equal(templates.vectors, embedder.embed(crops))
    assert np.array_equal(templates.offsets, embedder.offsets(templates.vectors))
    assert (templates.offsets < 0).all()
    assert templates.recognisability == pytest.approx(np.full(3, 1 / (1 + np.exp(-2))), abs=1e-6)


def test_a_model_without_them_is_served_as_it_was(model_dirs: tuple[Path, ...], tmp_path: Path) -> None:
    source = Registry.scan(model_dirs).folders("embedder")[0]
    target = tmp_path / "models" / "copy"
    shutil.copytree(source.path, target)
    bare = source.manifest.model_copy(
        update={"normalisation": None, "recognisability": None, "thresholds": (), "tail": (), "score": "cosine"}
    )
    (target / MANIFEST).write_text(dump_manifest(bare))
    crops = np.zeros((1, 128, 128, 3), np.uint8)
    templates = Registry.scan([target.parent]).embedder(bare.identity).templates(crops)
    assert templates.offsets.tolist() == [0.0]
    assert templates.recognisability is None or bare.output is None or bare.output.confidence is not None


@pytest.mark.parametrize("file", [NORMALISATION, RECOGNISABILITY])
def test_a_companion_that_was_changed_or_is_missing_does_not_load(equipped: ModelFolder, file: str) -> None:
    (equipped.path / file).write_bytes((equipped.path / file).read_bytes() + b"\0")
    with pytest.raises(ModelDigestMismatch, match=file):
        equipped.embedder()
    (equipped.path / file).unlink()
    with pytest.raises(ModelInvalid, match=f"{file} is missing"):
        equipped.embedder()


def test_a_companion_that_gives_no_number_is_noticed_at_the_start(
    equipped: ModelFolder, model_dirs: tuple[Path, ...]
) -> None:
    """A service whose every decision fails is not ready."""
    assert equipped.manifest.output is not None
    nothing = np.full((1, equipped.manifest.output.dim), np.nan, np.float32)
    write_perceptron(equipped.path / RECOGNISABILITY, [(nothing, np.zeros(1, np.float32))])
    spec = RecognisabilitySpec(sha256=sha256_of(equipped.path / RECOGNISABILITY), cut=0.4)
    broken = ModelFolder(equipped.manifest.model_copy(update={"recognisability": spec}), equipped.path)
    registry = Registry.scan(model_dirs)
    detector = registry.detector(registry.folders("detector")[0].manifest.identity)
    with pytest.raises(InferenceFailed, match="no finite recognisability"):
        Models(detector, [broken.embedder()]).exercise()
