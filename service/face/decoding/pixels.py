"""Pixels of any mode to RGB, strip by strip, so that no second copy of the whole picture is ever held."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

STRIP_PIXELS = 1 << 18
WHOLE_PIXELS = 1 << 21
"""Up to here a second copy of an RGB picture costs less memory than strips cost time."""
DEPTHS = (8, 10, 12, 14, 16)
"""Bits that a sample is recorded with, whatever the file stores it in."""
FLOAT_WHITE = 2.0
"""Floats below this are of the range 0 to 1: highlights may exceed 1 a little, and no other range ends near."""

Convert = Callable[[Image.Image], NDArray[np.uint8]]


def rgb_of(image: Image.Image, low: Image.Image | None = None) -> NDArray[np.uint8]:
    """The pixels of a decoded image as RGB uint8 (H, W, 3), contiguous; alpha lies over white.

    `low` has the lower bytes of an image of 16 bits a channel, where `image` has the upper ones.
    """
    width, height = image.size
    if image.mode == "RGB" and low is None and width * height <= WHOLE_PIXELS:
        return np.asarray(image, dtype=np.uint8)
    convert = _converter(image)
    scales = None if low is None else _scales_of(image)
    pixels = np.empty((height, width, 3), dtype=np.uint8)
    step = max(1, STRIP_PIXELS // width)
    for top in range(0, height, step):
        box = (0, top, width, min(top + step, height))
        strip = image.crop(box)
        if low is not None and scales is not None:
            strip = _joined(strip, low.crop(box), scales)
        pixels[top : box[3]] = convert(strip)
    return pixels


def is_dim(image: Image.Image) -> bool:
    """Whether the upper bytes of an image of 16 bits a channel leave two bits or more unused."""
    return _brightest(image) < 1 << (14 - 8)


def upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Undo an EXIF orientation (1 to 8; anything else is taken for upright)."""
    match orientation:
        case 2:
            turned = pixels[:, ::-1]
        case 3:
            turned = pixels[::-1, ::-1]
        case 4:
            turned = pixels[::-1]
        case 5:
            turned = pixels.transpose(1, 0, 2)
        case 6:
            turned = np.rot90(pixels, -1)
        case 7:
            turned = pixels[::-1, ::-1].transpose(1, 0, 2)
        case 8:
            turned = np.rot90(pixels, 1)
        case _:
            turned = pixels
    return np.ascontiguousarray(turned)


def _converter(image: Image.Image) -> Convert:
    if image.mode.startswith("I") or image.mode == "F":
        white = _white_of(image)
        return lambda strip: _grey(strip, white)
    if image.mode != "RGB" and image.has_transparency_data:
        return _over_white
    if image.mode == "RGB":
        return lambda strip: np.asarray(strip, dtype=np.uint8)
    return lambda strip: np.asarray(strip.convert("RGB"), dtype=np.uint8)


def _white_of(image: Image.Image) -> float:
    """The value that stands for white, by the brightest pixel."""
    if image.mode != "F":
        return _white(_brightest(image))
    width, height = image.size
    step = max(1, STRIP_PIXELS // width)
    brightest = 0.0
    for top in range(0, height, step):
        values = np.asarray(image.crop((0, top, width, min(top + step, height))))
        brightest = max(brightest, float(values.max(initial=0.0, where=np.isfinite(values))))
    return 1.0 if brightest < FLOAT_WHITE else _white(brightest)


def _white(brightest: float) -> float:
    """The end of the smallest range that holds the brightest value."""
    return next((float(2**bits - 1) for bits in DEPTHS if brightest <= 2**bits - 1), brightest)


def _brightest(image: Image.Image) -> float:
    extrema = image.getextrema()
    bands = extrema if isinstance(extrema[0], tuple) else (extrema,)
    colours = bands[:3] if image.mode == "RGBA" else bands
    return max(float(band[1]) for band in colours)


def _grey(strip: Image.Image, white: float) -> NDArray[np.uint8]:
    values = np.asarray(strip).astype(np.float32)
    np.nan_to_num(values, copy=False, nan=0.0, posinf=white, neginf=0.0)
    values *= np.float32(255.0 / white)
    values += np.float32(0.5)
    return np.clip(values, 0, 255).astype(np.uint8)[:, :, np.newaxis]


def _over_white(strip: Image.Image) -> NDArray[np.uint8]:
    rgba = strip.convert("RGBA")
    rgb = Image.new("RGB", strip.size, (255, 255, 255))
    rgb.paste(rgba, mask=rgba.getchannel("A"))
    return np.asarray(rgb, dtype=np.uint8)


def _scales_of(image: Image.Image) -> NDArray[np.float32]:
    """By what 16 bits become 8, for each band of the upper bytes: colours have one range, and alpha one of its own."""
    whites = [_white(_brightest(image) * 256.0 + 255.0)] * len(image.getbands())
    if image.mode == "RGBA":
        whites[3] = _white(_brightest(image.getchannel("A")) * 256.0 + 255.0)
    return np.array([255.0 / white for white in whites], np.float32)


def _joined(high: Image.Image, low: Image.Image, scales: NDArray[np.float32]) -> Image.Image:
    """Upper and lower bytes to 8 bits, each band by its scale."""
    values = np.asarray(high).astype(np.float32) * 256 + np.asarray(low)
    return Image.fromarray(np.clip(values * scales + 0.5, 0, 255).astype(np.uint8), high.mode)
