import numpy as np
from numpy.typing import NDArray

from training.data.face_mask import paint_mask


def test_nose_tip_mouth_and_chin_are_covered_and_eyes_and_forehead_are_not(faces: NDArray[np.uint8]) -> None:
    for seed in range(20):
        crop = faces[0].copy()
        paint_mask(crop, seed)
        np.testing.assert_array_equal(crop[:56], faces[0][:56])
        changed = np.abs(crop.astype(int) - faces[0]).max(axis=2) > 4
        assert changed[100:112, 52:76].mean() > 0.7, f"the mouth shows, seed {seed}"


def test_one_seed_paints_one_mask(faces: NDArray[np.uint8]) -> None:
    masks = [faces[1].copy() for _ in range(3)]
    for crop, seed in zip(masks, (5, 5, 6), strict=True):
        paint_mask(crop, seed)
    np.testing.assert_array_equal(masks[0], masks[1])
    assert (masks[0] != masks[2]).any()
