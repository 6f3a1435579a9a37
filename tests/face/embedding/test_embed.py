"""Preprocessing and embedding with real networks and real faces."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

from service.face.align import CROP, align
from service.face.embedding.embed import Embedder, normalise
from service.face.embedding.preprocess import to_tensor
from service.face.errors import InferenceFailed, ModelInvalid
from service.face.manifest import InputSpec, Manifest, OutputSpec
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


def graph_of(path: Path, nodes: list[onnx.NodeProto], weights: list[onnx.TensorProto], side: int) -> ModelSession:
    """A graph from pictures to an output `y` that it does not describe."""
    taken = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 3, side, side])
    given = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
    graph = onnx.helper.make_graph(nodes, "g", [taken], [given], weights)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    path.write_bytes(model.SerializeToString())
    return ModelSession(path)


def manifest_of(registry: Registry, side: int, dim: int) -> Manifest:
    plain = registry.folders("embedder")[0].manifest
    output = OutputSpec(dim=dim, normalised=False)
    return plain.model_copy(update={"input": spec(width=side, height=side), "output": output, "recognisability": None})


def test_a_graph_need_not_declare_what_it_gives(registry: Registry, tmp_path: Path) -> None:
    make = onnx.helper.make_node
    undescribed = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in ("a", "b")]
    branches = {
        "then_branch": onnx.helper.make_graph([make("Identity", ["x"], ["a"])], "then", [], undescribed[:1]),
        "else_branch": onnx.helper.make_graph([make("Flatten", ["x"], ["b"])], "else", [], undescribed[1:]),
    }
    nodes = [
        make("ReduceMax", ["x"], ["most"], keepdims=0),
        make("Greater", ["most", "large"], ["so"]),
        make("If", ["so"], ["y"], **branches),
    ]
    large = onnx.helper.make_tensor("large", onnx.TensorProto.FLOAT, [], [1e9])
    session = graph_of(tmp_path / "m.onnx", nodes, [large], side=4)
    assert session.output_shapes == {"y": ()}
    crops = np.random.default_rng(0).integers(0, 256, (2, CROP, CROP, 3), dtype=np.uint8)
    assert Embedder(manifest_of(registry, 4, dim=48), session).embed(crops).shape == (2, 48)


def test_too_few_values_are_no_templates(registry: Registry, tmp_path: Path) -> None:
    """A graph that loses all but the first face of a batch, say."""
    bounds = [onnx.helper.make_tensor(name, onnx.TensorProto.INT64, [1], [at]) for name, at in (("l", 0), ("h", 1))]
    nodes = [onnx.helper.make_node("Slice", ["f", "l", "h"], ["y"]), onnx.helper.make_node("Flatten", ["x"], ["f"])]
    session = graph_of(tmp_path / "m.onnx", nodes[::-1], bounds, side=3)
    crops = np.random.default_rng(0).integers(0, 256, (4, CROP, CROP, 3), dtype=np.uint8)
    embedder = Embedder(manifest_of(registry, 3, dim=27), session)
    assert embedder.embed(crops[:1]).shape == (1, 27)
    with pytest.raises(InferenceFailed, match="27 values for 4 faces"):
        embedder.embed(crops)


def test_a_provider_that_is_not_there_is_not_replaced(registry: Registry) -> None:
    with pytest.raises(ModelInvalid, match="not available"):
        ModelSession(registry.folders("embedder")[0].model_path, Runtime(providers=("CUDAExecutionProvider",)))
