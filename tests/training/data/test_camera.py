import numpy as np
import pytest
from numpy.typing import NDArray

from training.data.camera import add_noise, darken, smear


def test_a_point_is_smeared_along_its_line_and_keeps_its_light() -> None:
    crop = np.zeros((128, 128, 3), np.uint8)
    crop[64, 64] = 250
    smear(crop, 9, 0.0)
    rows, columns = np.nonzero(crop[..., 0])
    assert set(rows) <= {63, 64, 65}
    assert crop[64].sum() > 0.6 * crop.sum()
    assert 8 <= np.ptp(columns) + 1 <= 11
    assert crop[..., 0].sum() == pytest.approx(250, abs=12)


def test_noise_has_the_level_asked_for_and_grows_with_the_light() -> None:
    spreads = []
    for grey in (16, 128, 200):
        crop = np.full((128, 128, 3), grey, np.uint8)
        add_noise(crop, 6.0, 1)
        spreads.append(float(crop.std()))
    assert spreads[1] == pytest.approx(6.0, rel=0.05)
    assert spreads == sorted(spreads)


def test_too_little_light_is_dark_noisy_and_the_same_for_one_seed(faces: NDArray[np.uint8]) -> None:
    little, less, again = faces[0].copy(), faces[0].copy(), faces[0].copy()
    darken(little, 0.1, 3)
    darken(less, 1.0, 3)
    darken(again, 1.0, 3)
    assert faces[0].mean() > little.mean() > less.mean() > 5
    np.testing.assert_array_equal(less, again)
