"""Kinds by UTKFace's names; damage that is damage."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from training.evaluation.promise.damage import COMMON, RARE, Damage, spoil
from training.evaluation.promise.kinds import kinds_of


def test_age_comes_before_ancestry_and_others_have_no_kind() -> None:
    files = [
        "2_0_3_20170110.webp",
        "12_1_0_2017.webp",
        "17_1_2_2017.webp",
        "a/30_0_2_2017.webp",
        "30_1_4_2017.webp",
        "x.png",
    ]
    assert kinds_of(files).tolist() == [
        "babies, 0 to 3",
        "children, 4 to 12",
        "teenagers, 13 to 17",
        "Asian men",
        "",
        "",
    ]


@pytest.mark.parametrize(("name", "damage"), [*COMMON.items(), *RARE.items()])
def test_damage_changes_a_face_more_the_stronger_it_is(name: str, damage: Damage, faces: NDArray[np.uint8]) -> None:
    before = faces.copy()
    mild = spoil(faces, damage, np.random.default_rng(0), 0.0)
    strong = spoil(faces, damage, np.random.default_rng(0), 1.0)
    assert np.array_equal(faces, before)
    assert mild.shape == strong.shape == faces.shape
    assert mild.dtype == np.uint8
    change = [float(np.abs(spoilt.astype(int) - faces).mean()) for spoilt in (mild, strong)]
    assert change[0] > 0.5
    assert change[1] >= change[0] * 0.9, name
