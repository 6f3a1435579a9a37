"""What bad light, a moving camera and a sparing encoder do to a picture of which the teacher sees the good version."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from training.data.degradations import blur, compress, relight

Image = NDArray[np.uint8]


def spoil(image: Image, rng: np.random.Generator) -> Image:
    """One kind of damage to a BGR uint8 (H, W, 3) image: over-exposed, dark and noisy, blurred, or compressed."""
    name = str(rng.choice(list(DAMAGES), p=SHARES))
    return DAMAGES[name](image, rng)


def _overexpose(image: Image, rng: np.random.Generator) -> Image:
    """Gain beyond what the sensor holds; sometimes with the haze of stray light."""
    gain, haze = rng.uniform(1.3, 2.2), rng.uniform(0, 40) * (rng.random() < 0.5)
    return _scaled(image, gain, haze)


def _darken(image: Image, rng: np.random.Generator) -> Image:
    """A fraction of the light, and the noise that then shows."""
    dark = _scaled(image, rng.uniform(0.15, 0.6), 0.0)
    noise = rng.normal(0, rng.uniform(0.5, 5), image.shape[:2]).astype(np.float32)
    return np.asarray(np.clip(dark + noise[..., None], 0, 255), np.uint8)


def _blur(image: Image, rng: np.random.Generator) -> Image:
    return blur(image, float(rng.uniform(0.5, 1.6)))


def _compress(image: Image, rng: np.random.Generator) -> Image:
    return compress(image, int(rng.integers(12, 50)))


def _scaled(image: Image, gain: float, lift: float) -> Image:
    return relight(image, np.arange(256) * gain + lift)


DAMAGES: dict[str, Callable[[Image, np.random.Generator], Image]] = {
    "over-exposed": _overexpose,
    "dark": _darken,
    "blurred": _blur,
    "compressed": _compress,
}
#: How often each is drawn.
SHARES = (0.4, 0.25, 0.15, 0.2)
