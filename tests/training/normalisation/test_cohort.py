"""A cohort is gathered by kind, keeps no face's template, and brings a kind's false match rate down."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from service.face.embedding.normalisation import NORMALISATION, Normalisation
from service.face.registry import sha256_of
from service.face.session import ModelSession
from tests.training.conftest import MakeSet
from training.data.crops import CropSet
from training.errors import SetInvalid
from training.evaluation.promise.damage import COMMON
from training.normalisation.cohort import USUAL, CohortPlan, find_centres, gather_cohort, nearest_mean
from training.normalisation.graphs import write_normalisation
from training.normalisation.strength import Strength

DIM = 32


class Pixels:
    """Embeds a crop by its pixels, projected at random."""

    dim, digest = DIM, "ab" * 32

    def __init__(self) -> None:
        self._matrix = np.random.default_rng(0).normal(size=(16 * 16 * 3, DIM)).astype(np.float32)

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        small = crops.reshape(len(crops), 16, 8, 16, 8, 3).mean(axis=(2, 4)).reshape(len(crops), -1)
        vectors = (small - small.mean(axis=1, keepdims=True)).astype(np.float32) @ self._matrix
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def kind_of_vectors(count: int, likeness: float, seed: int) -> NDArray[np.float32]:
    """Unit vectors of strangers whose mean score with each other is `likeness`."""
    rng = np.random.default_rng(seed)
    common, own = rng.normal(size=DIM), rng.normal(size=(count, DIM))
    common /= np.linalg.norm(common)
    own -= np.outer(own @ common, common)
    own /= np.linalg.norm(own, axis=1, keepdims=True)
    return (np.sqrt(likeness) * common + np.sqrt(1 - likeness) * own).astype(np.float32)


@pytest.fixture
def six(tmp_path: Path, make_set: MakeSet) -> CropSet:
    return make_set(tmp_path / "six", each=12)


def test_every_kind_and_every_damage_has_its_part(six: CropSet) -> None:
    cohort = gather_cohort(Pixels(), [six], CohortPlan(centres=8, nearest=2, least=2, tight=()), progress=False)
    assert set(cohort.kinds) == {"six: six", *COMMON}
    assert cohort.faces == sum(cohort.kinds.values())
    assert np.allclose(np.linalg.norm(cohort.centres, axis=1), 1, atol=1e-5)
    assert cohort.data == (f"six (digest {six.digest[:12]})",)


def test_no_member_is_anybodys_template(six: CropSet) -> None:
    vectors = Pixels().embed(six.crops[:])
    centres = find_centres(vectors, CohortPlan(centres=100, least=5))
    assert len(centres) <= len(vectors) // 10
    assert not any(np.isclose(centre @ vectors.T, 1, atol=1e-6).any() for centre in centres)


def test_too_few_faces_are_refused(tmp_path: Path, make_set: MakeSet) -> None:
    with pytest.raises(SetInvalid, match="too few"):
        gather_cohort(Pixels(), [make_set(tmp_path / "few", each=1)], CohortPlan(nearest=50), progress=False)


@pytest.mark.parametrize("few", ["tight", "ordinary"])
def test_too_few_strangers_held_out_leave_the_usual_strength(tmp_path: Path, make_set: MakeSet, few: str) -> None:
    sets = [make_set(tmp_path / name, each=12, people=3 if name == few else 6) for name in ("tight", "ordinary")]
    plan = CohortPlan(centres=8, nearest=2, least=2, tight=("tight",))
    assert gather_cohort(Pixels(), sets, plan, progress=False).strength == Strength(USUAL, {})


def test_strangers_of_a_kind_match_at_the_rate_of_all_strangers_again(tmp_path: Path) -> None:
    """The same threshold, once for cosines and once for normalised scores; the people are not those of the cohort."""
    ordinary, alike = kind_of_vectors(900, 0.02, 1), kind_of_vectors(900, 0.5, 2)
    plan = CohortPlan(centres=60, nearest=4, strength=1.2)
    centres = find_centres(np.concatenate([ordinary[:450], alike[:450]]), plan)
    level = float(np.quantile(nearest_mean(ordinary[:450], centres, 4), 0.1))
    write_normalisation(tmp_path / NORMALISATION, centres, 4, 1.2, level)
    digest = sha256_of(tmp_path / NORMALISATION)
    normalisation = Normalisation(ModelSession(tmp_path / NORMALISATION), DIM, digest)

    def impostors(vectors: NDArray[np.float32], offsets: NDArray[np.float32]) -> NDArray[np.float32]:
        scores = vectors @ vectors.T + offsets[:, None] + offsets[None, :]
        return np.asarray(scores[np.triu_indices(len(vectors), 1)], np.float32)

    held, strangers = ordinary[450:], alike[450:]
    zeros = np.zeros(450, np.float32)
    before = float(np.quantile(impostors(held, zeros), 1 - 1e-2))
    after = float(np.quantile(impostors(held, normalisation.offsets(held)), 1 - 1e-2))
    assert np.mean(impostors(strangers, zeros) >= before) > 0.5
    assert np.mean(impostors(strangers, normalisation.offsets(strangers)) >= after) < 0.03
