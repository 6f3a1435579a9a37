"""Preprocessing and embedding with real networks and real faces."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from service.face.align import CROP, align
from service.face.embedding.embed import Embedder, normalise
from service.face.embedding.preprocess import to_tensor
from service.face.errors import InferenceFailed, ModelInvalid
from service.face.manifest import InputSpec
from service.face.registry import Registry
from service.face.session import ModelSession, Runtime


def spec(**changes: object) -> InputSpec:
    fields: dict[str, object] = {
        "width": 112, "height": 112, "colour": "RGB", "mean": (127.5,) * 3, "scale": (1 / 127.5,) * 3,
        "layout": "NCHW", "template": "arcface-112", "region": (0, 0, 112, 112), "resample": "linear",
    }  # fmt: skip
    return InputSpec.model_validate(fields | changes)


@pytest.fixture(scope="module")
def registry(model_dirs: tuple[Path, ...]) -> Registry:
    return Registry.scan(model_dirs)


@pytest.fixture(scope="module")
def embedders(registry: Registry) -> list[Embedder]:
    return [registry.embedder(folder.manifest.identity) for folder in registry.folders("embedder")]


@pytest.fixture(scope="module")
def crops(registry: Registry, astronaut: np.ndarray, admiral: np.ndarray) -> np.ndarray:
    """Four crops: two of one person (the second darker and smaller), two of another."""
    detector = registry.detector(registry.folders("detector")[0].manifest.identity)
    found = []
    for photo in (astronaut, admiral):
        dim = cv2.resize((photo * 0.6).astype(np.uint8), None, fx=0.7, fy=0.7, interpolation=cv2.INTER_AREA)
        found += [align(p, detector.detect(p)[0].landmarks) for p in (photo, dim)]
    return np.stack(found)


def test_the_tensor_is_the_formula() -> None:
    crop = np.random.default_rng(0).integers(0, 256, (2, CROP, CROP, 3), dtype=np.uint8)
    tensor = to_tensor(crop, spec())
    expected = (crop[:, 8:120, 8:120].astype(np.float32).transpose(0, 3, 1, 2) - np.float32(127.5)) * np.float32(
        1 / 127.5
    )
    assert tensor.dtype == np.float32
    assert np.array_equal(tensor, expected)
    swapped = to_tensor(crop, spec(colour="BGR", mean=(0, 0, 0), scale=(1, 1, 1)))
    assert np.array_equal(swapped, crop[:, 8:120, 8:120, ::-1].transpose(0, 3, 1, 2))


def test_the_region_is_cut_and_stretched() -> None:
    crop = np.zeros((1, CROP, CROP, 3), np.uint8)
    crop[:, :, 16:112] = 255  # columns 8..104 of the template
    narrow = to_tensor(crop, spec(region=(8, 0, 104, 112), width=64, height=80, mean=(0, 0, 0), scale=(1, 1, 1)))
    assert narrow.shape == (1, 3, 80, 64)
    assert (narrow == 255).all()


@pytest.mark.parametrize("bad", [np.zeros((1, 112, 112, 3), np.uint8), np.zeros((1, CROP, CROP, 3), np.float32)])
def test_other_crops_are_refused(bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected uint8 crops"):
        to_tensor(bad, spec())


def test_one_person_scores_above_two(embedders: list[Embedder], crops: np.ndarray) -> None:
    for embedder in embedders:
        vectors = embedder.embed(crops)
        assert vectors.shape == (4, embedder.dim)
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
        scores = vectors @ vectors.T
        assert min(scores[0, 1], scores[2, 3]) > 0.6
        assert scores[:2, 2:].max() < 0.35


def test_a_crop_embeds_alike_alone_and_in_a_batch(embedders: list[Embedder], crops: np.ndarray) -> None:
    for embedder in embedders:
        alone = np.concatenate([embedder.embed(crop[None]) for crop in crops])
        assert np.abs(embedder.embed(crops) - alone).max() < 1e-4


def test_vectors_without_direction_are_refused() -> None:
    for bad in (np.zeros((1, 4)), np.full((1, 4), np.nan), np.array([[np.inf, 0, 0, 0]])):
        with pytest.raises(InferenceFailed):
            normalise(bad.astype(np.float32))


def test_a_manifest_that_contradicts_its_graph_does_not_load(registry: Registry) -> None:
    folder = registry.folders("embedder")[0]
    session = ModelSession(folder.model_path)
    good = folder.manifest
    assert good.output is not None
    wrong_size = good.model_copy(update={"input": good.input.model_copy(update={"width": 48})})
    wrong_dim = good.model_copy(update={"output": good.output.model_copy(update={"dim": 77})})
    for manifest in (wrong_size, wrong_dim):
        with pytest.raises(ModelInvalid):
            Embedder(manifest, session)


def test_a_provider_that_is_not_there_is_not_replaced(registry: Registry) -> None:
    with pytest.raises(ModelInvalid, match="not available"):
        ModelSession(registry.folders("embedder")[0].model_path, Runtime(providers=("CUDAExecutionProvider",)))
