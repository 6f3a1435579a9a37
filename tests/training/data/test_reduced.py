"""Crops near the size of a small input give what whole crops give, but for the order of rounding."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from service.face.manifest import InputSpec
from service.face.embedding.preprocess import to_tensor
from tests.training.conftest import INPUT, MakeSet
from training.data.augment import Augment, augment, draw_warps
from training.data.crops import CropSet
from training.data.reduced import ReducedCrops, draw_light
from training.data.samples import CropSource, DataSpec, gather
from training.errors import RecipeInvalid

MOVED = Augment(flip=0.5, shift=5, scale=0.1, rotate=12)
STILL = np.tile(np.float64([[1, 0, 0], [0, 1, 0]]), (24, 1, 1))
SHAPES = [
    {"width": 32, "height": 32},
    {"width": 16, "height": 16, "colour": "BGR", "region": (8, 0, 104, 112)},
    {"width": 47, "height": 55},
    {"width": 96, "height": 96, "colour": "BGR", "region": (8, 0, 104, 112)},
]


@pytest.fixture(scope="module")
def six(tmp_path_factory: pytest.TempPathFactory, make_set: MakeSet) -> CropSet:
    return make_set(tmp_path_factory.mktemp("reduced") / "six", each=4)


def reduced(six: CropSet, change: dict[str, object]) -> tuple[ReducedCrops, InputSpec]:
    pixels = InputSpec.model_validate(INPUT | change)
    return ReducedCrops(lambda i: np.asarray(six.crops[i]), len(six), pixels), pixels


def grey_levels(given: NDArray[np.float32], wanted: NDArray[np.float32]) -> float:
    return float(np.abs(given - wanted).mean() * 127.5)


@pytest.mark.parametrize("change", SHAPES, ids=lambda change: str(change["width"]))
def test_a_still_face_is_what_serving_sees(six: CropSet, change: dict[str, object]) -> None:
    crops, pixels = reduced(six, change)
    given = crops.look(np.arange(24), STILL, None)
    wanted = to_tensor(np.asarray(six.crops), pixels)
    assert given.dtype == np.float32
    assert given.shape == wanted.shape
    assert grey_levels(given, wanted) < 2.5
    bias = (given - wanted).mean() * 127.5
    assert abs(bias) < 0.5


@pytest.mark.parametrize("change", SHAPES, ids=lambda change: str(change["width"]))
def test_a_moved_face_is_where_a_whole_crop_would_be(six: CropSet, change: dict[str, object]) -> None:
    crops, pixels = reduced(six, change)
    moved, warps = augment(np.asarray(six.crops), MOVED, np.random.default_rng(3))
    near = grey_levels(crops.look(np.arange(24), warps, None), to_tensor(moved, pixels))
    still = grey_levels(crops.look(np.arange(24), STILL, None), to_tensor(moved, pixels))
    assert near < 3.5
    assert still > 3 * near, "the warp matters"


def test_light_is_the_tone_curve_of_each_channel(six: CropSet) -> None:
    crops, pixels = reduced(six, {"colour": "BGR"})
    plain = crops.look(np.arange(24), STILL, None)
    light = np.tile(np.arange(256, dtype=np.uint8), (24, 3, 1))
    np.testing.assert_array_equal(crops.look(np.arange(24), STILL, light), plain)
    light[:, 0] = 255  # red, the last channel of a BGR input
    lit = crops.look(np.arange(24), STILL, light)
    np.testing.assert_array_equal(lit[:, :2], plain[:, :2])
    np.testing.assert_allclose(lit[:, 2], (255 - pixels.mean[2]) * pixels.scale[2], rtol=1e-6)


def test_light_is_drawn_within_its_strength() -> None:
    none = draw_light(3, Augment(), np.random.default_rng(0))
    np.testing.assert_array_equal(none, np.tile(np.arange(256), (3, 3, 1)))
    drawn = draw_light(200, Augment(light=0.2), np.random.default_rng(0)).astype(int)
    np.testing.assert_array_equal(drawn[:, 0], drawn[:, 2])
    assert (np.diff(drawn, axis=2) >= 0).all()
    assert 0.75 < drawn[:, 0, 128].mean() / 128 < 1.25
    assert drawn[:, 0, 128].std() > 5


def test_a_batch_of_reduced_crops_is_a_function_of_its_seed(six: CropSet) -> None:
    pool = gather((six,), DataSpec(sets={"six": 1.0}))
    pixels = InputSpec.model_validate(INPUT)
    views = {"t": pixels.model_copy(update={"width": 64, "height": 64})}
    spec = MOVED.model_copy(update={"light": 0.2})
    made = CropSource(pool, pixels, spec, reduced=True, views=views, points=True)
    one, same, other = (made.batch(np.arange(10), np.random.default_rng(s)) for s in (1, 1, 2))
    assert set(one) == {"x", "view.t", "label", "points"}
    assert one["view.t"].shape == (10, 3, 64, 64)
    for name in one:
        np.testing.assert_array_equal(one[name], same[name])
    assert (one["x"] != other["x"]).any()
    # student and teacher see one face: the teacher's view, halved, is the student's
    halved = one["view.t"].reshape(10, 3, 32, 2, 32, 2).mean((3, 5))
    assert grey_levels(halved, one["x"]) < 3
    # and points go where the whole crop's would
    whole = CropSource(pool, pixels, spec, points=True).batch(np.arange(10), np.random.default_rng(1))
    np.testing.assert_array_equal(one["points"], whole["points"])


def test_what_damages_a_crop_needs_all_of_it(six: CropSet) -> None:
    pool = gather((six,), DataSpec(sets={"six": 1.0}))
    with pytest.raises(RecipeInvalid, match="blur"):
        CropSource(pool, InputSpec.model_validate(INPUT), Augment(blur=0.1), reduced=True)


def test_warps_are_those_of_whole_crops() -> None:
    warps = augment(np.zeros((5, 128, 128, 3), np.uint8), MOVED, np.random.default_rng(9))[1]
    np.testing.assert_array_equal(warps, draw_warps(5, MOVED, np.random.default_rng(9)))
