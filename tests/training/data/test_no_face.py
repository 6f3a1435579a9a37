import numpy as np
import pytest
from numpy.typing import NDArray

from training.data.no_face import KINDS, blank, enlarge, invert_colours, make_no_face, shuffle, turn_aside, turn_over


@pytest.mark.parametrize("kind", [turn_over, turn_aside, invert_colours, shuffle, enlarge, blank])
def test_every_kind_is_a_crop_that_is_no_longer_the_face(kind: object, faces: NDArray[np.uint8]) -> None:
    assert kind in KINDS
    made = kind(faces[0], np.random.default_rng(0))  # type: ignore[operator]
    assert (made.shape, made.dtype) == (faces[0].shape, np.uint8)
    eyes = np.s_[52:70, 40:90]
    assert np.abs(made[eyes].astype(int) - faces[0][eyes]).mean() > 20


def test_a_face_turned_over_twice_is_itself_and_a_shuffle_keeps_every_pixel(faces: NDArray[np.uint8]) -> None:
    rng = np.random.default_rng(3)
    np.testing.assert_array_equal(turn_over(faces[0], rng)[::-1].sum(axis=1), faces[0].sum(axis=1))
    mixed = shuffle(faces[0], rng)
    np.testing.assert_array_equal(np.sort(mixed.reshape(-1, 3), axis=0), np.sort(faces[0].reshape(-1, 3), axis=0))


def test_one_seed_makes_one_crop(faces: NDArray[np.uint8]) -> None:
    first, again = (make_no_face(faces[1], np.random.default_rng(9)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
