"""The ensemble is measured once, as one network, and taken from what is kept."""

import json
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from service.face.registry import Registry
from tests.conftest import STARTER
from training.papers.budget import BUDGETS
from training.papers.measures.benchmark import RECOGNITION, Benchmark
from training.papers.measures.ensemble import Joined, count_weights, measure_ensemble
from training.recipe import Roots

SMALL = BUDGETS["small"]


class Fixed:
    """Gives the same unit vector for every crop."""

    def __init__(self, *values: float) -> None:
        self._vector = np.float32(values)
        self.dim, self.digest = len(values), str(values)

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.tile(self._vector, (len(crops), 1))


def test_the_cosine_of_several_is_the_mean_of_theirs() -> None:
    crops = np.zeros((1, 128, 128, 3), np.uint8)
    one = Joined([Fixed(1, 0), Fixed(0.6, 0.8, 0)]).embed(crops)
    other = Joined([Fixed(0, 1), Fixed(0.8, 0.6, 0)]).embed(crops)
    np.testing.assert_allclose(np.linalg.norm(one, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose((one * other).sum(), (0 + 0.96) / 2, atol=1e-6)


def test_trained_numbers_are_counted_and_shapes_are_not(tmp_path: Path) -> None:
    values = [np.zeros((2, 3), np.float32), np.zeros(5, np.float16), np.zeros(7, np.int64)]
    tensors = [numpy_helper.from_array(array, f"t{i}") for i, array in enumerate(values)]
    output = helper.make_tensor_value_info("t0", TensorProto.FLOAT, [2, 3])
    onnx.save(helper.make_model(helper.make_graph([], "g", [], [output], tensors)), tmp_path / "model.onnx")
    assert count_weights(tmp_path / "model.onnx") == 11


def test_teachers_of_a_row_are_measured_and_kept(tmp_path: Path, benchmark: Benchmark) -> None:
    roots, kept = Roots(tmp_path, tmp_path / "models", tmp_path / "runs"), tmp_path / "kept.json"
    first = measure_ensemble(SMALL, roots, benchmark, kept, row="teacher")
    assert first is not None
    assert first.members == ("facet-m",)
    assert set(first.measures) == set(RECOGNITION)
    folder = Registry.scan([STARTER]).find("facet-m")
    assert first.parameters == count_weights(folder.model_path) > 1e6
    assert list(first.graphs.values()) == [folder.model_path]
    written = roots.runs / "ensemble.json"
    record = json.loads(written.read_text()) | {"parameters": 7}
    written.write_text(json.dumps(record))
    again = measure_ensemble(SMALL, roots, None, kept, row="teacher")  # type: ignore[arg-type]
    assert again is not None
    assert again.parameters == 7, "it is not measured twice"
    written.replace(kept)
    taken = measure_ensemble(SMALL, roots, None, kept, row="teacher")  # type: ignore[arg-type]
    assert taken is not None
    assert taken.parameters == 7


def test_without_its_models_there_is_what_is_kept_or_nothing(tmp_path: Path) -> None:
    roots, kept = Roots(tmp_path, tmp_path / "models", tmp_path / "runs"), tmp_path / "kept.json"
    assert measure_ensemble(SMALL, roots, None, kept) is None  # type: ignore[arg-type]
    record = {"members": ["omz-0095", "sface"], "rounds": SMALL.rounds, "parameters": 9, "measures": {"x": [0.5]}}
    kept.write_text(json.dumps(record))
    taken = measure_ensemble(SMALL, roots, None, kept)  # type: ignore[arg-type]
    assert taken is not None
    assert (taken.parameters, taken.graphs) == (9, {})
