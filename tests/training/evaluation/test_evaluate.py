"""Published protocols, decided by the scores that are served."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from service.face.embedding.normalisation import NORMALISATION
from service.face.registry import Registry
from training.evaluation.evaluate import Bench, evaluate_templates
from training.evaluation.protocols import Pairs, Picture, Templates
from training.evaluation.vectors import Model


class Given(Bench):
    """A bench whose vectors are given."""

    def __init__(self, vectors: NDArray[np.float32]) -> None:
        super().__init__(None)
        self._given = vectors

    def vectors(
        self, protocol: Pairs | Templates, model: Model, aligned: bool = False
    ) -> tuple[NDArray[np.float32], tuple[str, ...]]:
        return self._given, ()


def test_pooled_templates_have_offsets_of_their_own(model_dirs: tuple[Path, ...]) -> None:
    folder = Registry.scan(model_dirs).find("facet-s")
    embedder = folder.embedder()
    weights = {
        each.name: onnx.numpy_helper.to_array(each) for each in onnx.load(folder.path / NORMALISATION).graph.initializer
    }
    # strangers who lie where the cohort lies
    vectors = np.ascontiguousarray(weights["centres"].T[:6], np.float32)
    pictures = tuple(Picture(f"{i}.jpg", "", lambda: b"") for i in range(6))
    numbers = np.array([10, 10, 20, 20, 30, 30])
    left, right, same = np.array([10, 10, 20]), np.array([20, 30, 30]), np.array([True, False, False])
    protocol = Templates("ijb", pictures, numbers, np.arange(6), left, right, same)
    model = Model("facet-s", embedder, embedder.space, embedder.manifest)
    report = evaluate_templates(Given(vectors), protocol, model)
    pooled = vectors.reshape(3, 2, -1).mean(axis=1)
    pooled /= np.linalg.norm(pooled, axis=1, keepdims=True)
    offsets = embedder.offsets(pooled)
    assert offsets.any(), "this model normalises its scores"
    scores = pooled @ pooled.T + offsets[:, None] + offsets[None, :]
    np.testing.assert_allclose(report.genuine, scores[[0], [1]], atol=1e-5)
    np.testing.assert_allclose(report.impostor, scores[[0, 1], [2, 2]], atol=1e-5)
