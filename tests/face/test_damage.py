"""Measures of damage on a real crop, spoilt in one way at a time."""

from __future__ import annotations

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


def test_a_flat_crop_has_measures_all_the_same() -> None:
    flat = measure(np.full((128, 128, 3), 90, np.uint8))
    assert flat == Damage(0.0, 0.0, 0.0, 0.0, pytest.approx(0.0))
