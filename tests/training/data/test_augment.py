import numpy as np
import pytest
from numpy.typing import NDArray

from service.face.align import CANONICAL_LANDMARKS
from training.data.augment import Augment, augment, draw_warps, move_points

ALL = Augment(
    flip=0.5,
    shift=6,
    scale=0.1,
    rotate=10,
    light=0.3,
    colour=0.1,
    low_resolution=0.5,
    blur=0.5,
    jpeg=0.5,
    occlusion=0.5,
    grey=0.3,
    motion=0.5,
    noise=0.5,
    dark=0.5,
    mask=0.5,
    roll=0.5,
)


def test_no_strength_leaves_every_pixel(faces: NDArray[np.uint8]) -> None:
    out, warps = augment(faces, Augment(), np.random.default_rng(0))
    np.testing.assert_array_equal(out, faces)
    np.testing.assert_array_equal(warps, np.tile(np.eye(2, 3), (len(faces), 1, 1)))


def test_the_same_seed_gives_the_same_crops_and_leaves_the_originals(faces: NDArray[np.uint8]) -> None:
    before = faces.copy()
    first, _ = augment(faces, ALL, np.random.default_rng(3))
    second, _ = augment(faces, ALL, np.random.default_rng(3))
    other, _ = augment(faces, ALL, np.random.default_rng(4))
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()
    np.testing.assert_array_equal(faces, before)


def test_a_certain_flip_mirrors_exactly(faces: NDArray[np.uint8]) -> None:
    out, warps = augment(faces, Augment(flip=1.0), np.random.default_rng(0))
    np.testing.assert_array_equal(out, faces[:, :, ::-1])
    moved = move_points(np.tile(CANONICAL_LANDMARKS, (len(faces), 1, 1)), warps)
    mirrored = CANONICAL_LANDMARKS[[1, 0, 2, 4, 3]] * [-1, 1] + [127, 0]
    np.testing.assert_allclose(moved[0], mirrored, atol=1e-4)


def test_landmarks_follow_the_pixels() -> None:
    spec = Augment(shift=6, scale=0.1, rotate=15)
    points = CANONICAL_LANDMARKS.round()
    crop = np.zeros((1, 128, 128, 3), np.uint8)
    for x, y in points.astype(int):
        crop[0, y - 1 : y + 2, x - 1 : x + 2] = 255
    for seed in range(5):
        out, warps = augment(crop, spec, np.random.default_rng(seed))
        for x, y in move_points(points[None], warps)[0]:
            rows, columns = np.mgrid[0:128, 0:128]
            near = out[0, :, :, 0] * (np.hypot(rows - y, columns - x) < 5)
            centre = (near * columns).sum() / near.sum(), (near * rows).sum() / near.sum()
            np.testing.assert_allclose(centre, (x, y), atol=0.5)


def test_warps_stay_within_their_strengths() -> None:
    spec = Augment(shift=4, scale=0.1, rotate=5)
    warps = draw_warps(2000, spec, np.random.default_rng(0))
    centre = np.full(2, 63.5)
    moved = warps[:, :, :2] @ centre + warps[:, :, 2] - centre
    assert np.abs(moved).max() <= 4
    assert np.abs(moved).max() > 3.9
    factors = np.sqrt(np.linalg.det(warps[:, :, :2]))
    assert 0.9 <= factors.min() < factors.max() <= 1.1


@pytest.mark.parametrize(
    ("spec", "check"),
    [
        (Augment(grey=1.0), lambda new, old: (new[..., 0] == new[..., 2]).all()),
        (
            Augment(blur=1.0, sigma=4.0),
            lambda new, old: (
                np.abs(np.diff(new.astype(int), axis=1)).mean() < np.abs(np.diff(old.astype(int), axis=1)).mean()
            ),
        ),
        (Augment(low_resolution=1.0, smallest=16), lambda new, old: 0 < np.abs(new.astype(int) - old).mean() < 30),
        (Augment(jpeg=1.0, quality=20), lambda new, old: 0 < np.abs(new.astype(int) - old).mean() < 10),
        (Augment(occlusion=1.0, largest=0.5), lambda new, old: 0 < (new != old).any(axis=-1).mean() <= 0.26),
        (Augment(light=0.5), lambda new, old: abs(float(new.mean()) - float(old.mean())) > 0.5),
    ],
    ids=["grey", "blur", "low resolution", "jpeg", "occlusion", "light"],
)
def test_each_change_does_what_it_says(faces: NDArray[np.uint8], spec: Augment, check: object) -> None:
    assert callable(check)
    out, _ = augment(faces, spec, np.random.default_rng(1))
    for new, old in zip(out, faces, strict=True):
        assert check(new, old)


def test_jpeg_keeps_colours_in_their_channels() -> None:
    red = np.zeros((1, 128, 128, 3), np.uint8)
    red[..., 0] = 200
    out, _ = augment(red, Augment(jpeg=1.0), np.random.default_rng(0))
    assert np.abs(out.astype(int) - red).max() <= 3


def test_a_share_of_the_crops_is_rolled_further() -> None:
    spec = Augment(rotate=3, roll=0.25, rolled=30)
    matrices = draw_warps(4000, spec, np.random.default_rng(0))
    angles = np.abs(np.rad2deg(np.arctan2(matrices[:, 1, 0], matrices[:, 0, 0])))
    assert angles.max() > 25
    assert 0.25 * 0.85 < (angles > 3).mean() / 0.9 < 0.25 * 1.15
