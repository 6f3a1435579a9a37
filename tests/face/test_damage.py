"""Measures of damage on a real crop, spoilt in one way at a time."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from service.face.damage import INNER, Damage, measure_damage
from service.face.quality import QualityLimits

LIMITS = QualityLimits()


@pytest.fixture(scope="module")
def crop(astronaut: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The astronaut's face, aligned by hand as the service aligns it."""
    matrix = np.array([[0.88, 0.0, -134.0], [0.0, 0.88, -32.0]])
    return np.asarray(cv2.warpAffine(astronaut, matrix, (128, 128), flags=cv2.INTER_AREA), np.uint8)


def measure(crop: NDArray[np.uint8]) -> Damage:
    luma = np.asarray(cv2.cvtColor(crop[INNER, INNER], cv2.COLOR_RGB2GRAY), np.uint8)
    return measure_damage(crop, luma, float(luma.std()) / 255)


def test_noise_is_measured_in_units_of_the_contrast(crop: NDArray[np.uint8]) -> None:
    rng = np.random.default_rng(0)
    smooth = cv2.GaussianBlur(crop, (0, 0), 1.5)
    noisy = np.clip(np.repeat(rng.normal(0, 12, (128, 128, 1)), 3, axis=2) + smooth, 0, 255).astype(np.uint8)
    contrast = float(cv2.cvtColor(noisy[INNER, INNER], cv2.COLOR_RGB2GRAY).std())
    assert measure(noisy).noise == pytest.approx(12 / contrast, rel=0.15)
    assert measure(smooth).noise < 0.02 < LIMITS.max_noise < measure(noisy).noise


def test_blocks_hold_the_differences_in_few_pixels(crop: NDArray[np.uint8]) -> None:
    small = cv2.resize(crop, (26, 26), interpolation=cv2.INTER_AREA)
    blocks = np.asarray(cv2.resize(small, (128, 128), interpolation=cv2.INTER_NEAREST), np.uint8)
    assert LIMITS.is_pixelated(measure(blocks))
    assert not LIMITS.is_pixelated(measure(crop))
    assert not LIMITS.is_pixelated(measure(np.asarray(cv2.resize(small, (128, 128)), np.uint8)))


@pytest.mark.parametrize("turned", [False, True])
def test_motion_takes_the_detail_of_one_direction(crop: NDArray[np.uint8], turned: bool) -> None:
    kernel = np.zeros((13, 13), np.float32)
    kernel[6] = 1 / 13
    shaken = cv2.filter2D(crop, -1, kernel.T if turned else kernel)
    assert measure(np.asarray(shaken, np.uint8)).direction < LIMITS.min_direction < measure(crop).direction


def test_a_negative_is_cold_and_its_eyes_shine(crop: NDArray[np.uint8]) -> None:
    assert LIMITS.is_negative(measure(255 - crop))
    assert not LIMITS.is_negative(measure(crop))
    assert measure(255 - crop).warmth == pytest.approx(-measure(crop).warmth, abs=1e-3)


def test_motion_that_leaves_some_detail_shows_in_a_soft_picture(crop: NDArray[np.uint8]) -> None:
    kernel = np.zeros((9, 9), np.float32)
    kernel[np.arange(9), np.arange(9)] = 1 / 9
    damage = measure(np.asarray(cv2.filter2D(crop, -1, kernel), np.uint8))
    between = (LIMITS.min_direction + LIMITS.min_soft_direction) / 2
    mild = Damage(0.0, 0.0, between, between, 0.0, 0.0, 0.0, 0.0)
    assert LIMITS.is_shaken(damage, 0.05)
    assert LIMITS.is_shaken(mild, LIMITS.soft - 0.001)
    assert not LIMITS.is_shaken(mild, LIMITS.soft)
    assert not LIMITS.is_shaken(replace(mild, direction_above=LIMITS.min_direction_above), 0.0)
    assert not LIMITS.is_shaken(measure(crop), 0.0)


@pytest.mark.parametrize("shade", [0, 20, 90, 200, 255])
@pytest.mark.parametrize("where", ["left", "right", "eyes", "one eye"])
def test_an_eye_without_detail_is_covered(crop: NDArray[np.uint8], where: str, shade: int) -> None:
    places = {
        "left": np.s_[:, :64],
        "right": np.s_[:, 64:],
        "eyes": np.s_[50:70],
        "one eye": np.s_[48:72, 30:62],
    }
    covered = crop.copy()
    covered[places[where]] = shade
    packed = cv2.imencode(".jpg", covered[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 75])[1]
    sent = np.ascontiguousarray(np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)[..., ::-1])
    assert measure(covered).covered > 0.8
    assert measure(sent).covered > LIMITS.max_covered


def test_mouth_and_hair_may_be_covered_and_pictures_soft_or_dim(crop: NDArray[np.uint8]) -> None:
    masked = crop.copy()
    masked[80:] = (200, 210, 215)
    white = masked.copy()
    white[80:] = 255
    hat = crop.copy()
    hat[:40] = 0
    soft = np.asarray(cv2.GaussianBlur(crop, (0, 0), 2.0), np.uint8)
    dim = np.asarray(crop * 0.3, np.uint8)
    for picture in (crop, masked, white, hat, soft, dim):
        assert measure(picture).covered < LIMITS.max_covered / 2
        assert not LIMITS.is_shaken(measure(picture), 0.0)
        assert measure(picture).burnt < LIMITS.max_burnt / 2


def test_too_much_light_burns_the_skin_out(crop: NDArray[np.uint8]) -> None:
    light = [measure(np.clip(crop * gain, 0, 255).astype(np.uint8)).burnt for gain in (1.0, 1.5, 2.0, 3.0)]
    assert light == sorted(light)
    assert light[-1] > LIMITS.max_burnt > light[0]


def test_a_flat_crop_has_measures_all_the_same() -> None:
    flat = measure(np.full((128, 128, 3), 90, np.uint8))
    assert flat == Damage(0.0, 0.0, 0.0, 0.0, 0.0, pytest.approx(0.0), covered=1.0, burnt=0.0)
