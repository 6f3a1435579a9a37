"""A benchmark of a few crops, whose people stand for those of every set."""

from __future__ import annotations

import numpy as np
import pytest

from tests.training.conftest import MakeSet
from training.data.crops import CropSet
from training.evaluation.openset import divide
from training.evaluation.protocols import Pairs
from training.papers.budget import BUDGETS
from training.papers.measures.benchmark import Benchmark, Faces
from training.papers.measures.trials import draw


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory, make_set: MakeSet) -> CropSet:
    return make_set(tmp_path_factory.mktemp("people"), each=3)


@pytest.fixture(scope="module")
def benchmark(people: CropSet) -> Benchmark:
    names = list(people.identities)
    person = np.unique(names, return_inverse=True)[1].astype(np.int64)
    left, right = np.triu_indices(len(people), 1)
    pairs = Pairs("pairs", (), left, right, person[left] == person[right], np.zeros(len(left), np.int64))
    crops = np.asarray(people.crops)
    faces = Faces(crops, person, draw(6, BUDGETS["small"].rounds))
    assert people.landmarks is not None
    return Benchmark(pairs, crops, pairs, faces, faces, divide(names), faces, crops, people.landmarks)
