import numpy as np
from numpy.typing import NDArray

from training.tasks.detection.corruptions import spoil


def test_a_spoiled_picture_is_another_picture_of_the_same_thing(astronaut: NDArray[np.uint8]) -> None:
    """Every kind of damage changes pixels, none moves them, and a generator's state decides which."""
    brightness = set()
    for seed in range(24):
        spoiled = spoil(astronaut, np.random.default_rng(seed))
        assert spoiled.shape == astronaut.shape
        assert spoiled.dtype == np.uint8
        assert np.abs(spoiled.astype(int) - astronaut).mean() > 1
        assert np.corrcoef(spoiled.ravel(), astronaut.ravel())[0, 1] > 0.7
        brightness.add(np.sign(round(float(spoiled.mean() / astronaut.mean() - 1), 1)))
        np.testing.assert_array_equal(spoiled, spoil(astronaut, np.random.default_rng(seed)))
    assert brightness == {-1.0, 0.0, 1.0}
