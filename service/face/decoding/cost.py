"""How much memory decoding an image takes, known from its header alone.

Three things are held at most: what the decoder needs for itself, Pillow's picture in the file's own mode, and the RGB
picture that is made of it, strip by strip. The decoder has ended when the RGB picture is begun. `facet bench images`
measures what is claimed here.
"""

from __future__ import annotations

import math
from typing import Any

from PIL import Image

PLAIN = 10
"""Bytes that a counted pixel stands for: the limit on pixels is a limit on this many bytes each."""

RESULT = 3  # bytes of an RGB pixel
JOINING = 1  # byte a pixel, while upper and lower bytes of 16 bits are joined
NARROW = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2}  # Pillow takes four for a pixel of any other mode
COEFFICIENT = 2  # bytes; of each component of each pixel, where a JPEG comes in several scans
WEBP_CANVASES = 12  # two of the animation and one that is handed over, four bytes each
TILE_WIDTH, TILE_LENGTH, BITS_PER_SAMPLE, SAMPLES_PER_PIXEL, ORIENTATION = 322, 323, 258, 277, 274  # TIFF 6.0


def counted_pixels(image: Image.Image, scans: int = 1) -> int:
    """The size of an opened image that is not yet decoded, in plain pixels; at least its width times its height.

    Args:
        image: as `Image.open` gives it.
        scans: in how many scans a JPEG comes.
    """
    width, height = image.size
    area = width * height
    held = NARROW.get(image.mode, 4)
    after = held + RESULT + (held + JOINING if has_16_bit_colour(image) else 0)
    return max(area, math.ceil(max(area * held + _of_decoder(image, scans), area * after) / PLAIN))


def has_16_bit_colour(image: Image.Image) -> bool:
    """Whether an image that is not yet decoded has several channels of 16 bits, of which Pillow keeps 8."""
    return image.mode in ("RGB", "RGBA", "CMYK") and raw_mode_of(image).endswith((";16B", ";16L", ";16N"))


def raw_mode_of(image: Image.Image) -> str:
    """How the samples lie in the file, in Pillow's words; empty where it does not say or has decoded it already."""
    tiles: Any = getattr(image, "tile", None)
    args = tiles[0].args if tiles else ""
    raw = args[0] if isinstance(args, tuple) and args else args
    return raw if isinstance(raw, str) else ""


def has_deep_planes(image: Image.Image) -> bool:
    """Whether a TIFF has its colours apart in more than 8 bits, of which Pillow takes each byte for a sample."""
    if image.format != "TIFF" or len(image.getbands()) == 1 or len(raw_mode_of(image)) != 1:
        return False
    tags: Any = image.tag_v2  # type: ignore[attr-defined]
    return _deepest(tags) > 8


def _of_decoder(image: Image.Image, scans: int) -> int:
    """Bytes that the decoder itself needs."""
    width, height = image.size
    match image.format:
        case "JPEG" | "MPO" if scans > 1 or "progressive" in image.info:
            return width * height * COEFFICIENT * len(image.getbands())
        case "WEBP":
            return width * height * WEBP_CANVASES
        case "TIFF":
            tags: Any = image.tag_v2  # type: ignore[attr-defined]
            turned = width * height * NARROW.get(image.mode, 4) if tags.get(ORIENTATION, 1) != 1 else 0
            return _of_tiff(tags, width, height) + turned
        case _:
            return 0


def _of_tiff(tags: Any, width: int, height: int) -> int:
    """Bytes of a TIFF's strips or tiles. A strip may be the whole image; tiles may reach far beyond it."""
    deepest = _deepest(tags)
    samples = int(tags.get(SAMPLES_PER_PIXEL, 1))
    if deepest <= 8:
        samples = max(samples, 4)  # the JPEG in a TIFF is handed over as four
    across, down = int(tags.get(TILE_WIDTH, 0)), int(tags.get(TILE_LENGTH, 0))
    if across and down:
        width, height = math.ceil(width / across) * across, math.ceil(height / down) * down
    return math.ceil(width * height * samples * deepest / 8)


def _deepest(tags: Any) -> int:
    """Bits of a TIFF's deepest sample."""
    return max(int(bits) for bits in tags.get(BITS_PER_SAMPLE, (8,)))
