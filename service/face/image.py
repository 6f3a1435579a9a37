"""Bytes to an upright RGB photograph, with every limit checked before a pixel is decoded."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from service.face.errors import ImageCorrupt, ImageTooLarge, ImageTooManyPixels, ImageUnsupported

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
SMALLEST_SIDE = 8
TURNED = (5, 6, 7, 8)  # EXIF orientations that swap width and height

# Both are settings of the whole process, made once and not for each picture: worker threads would see each other's.
Image.MAX_IMAGE_PIXELS = None  # the limits below decide, before a pixel is decoded
warnings.filterwarnings("ignore", module=r"PIL\.")  # of oddities in a file; what cannot be read is an error of ours


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """Bounds on what is decoded: encoded size in bytes and decoded size in pixels."""

    max_bytes: int = 10 * 1024 * 1024
    max_pixels: int = 40_000_000


@dataclass(frozen=True, slots=True)
class Header:
    """What the file says of itself: format name, and width and height in pixels once upright."""

    format: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Photo:
    """A decoded photograph.

    `pixels` is RGB uint8 (H, W, 3), upright and contiguous. `width` and `height` are those of the original;
    `scale` is decoded pixels per original pixel (1.0, or less after a reduced-size decode).
    """

    pixels: NDArray[np.uint8]
    width: int
    height: int
    scale: float


def read_header(data: bytes, limits: ImageLimits) -> Header:
    """Read format and size without decoding.

    Raises: ImageTooLarge, ImageTooManyPixels, ImageUnsupported, ImageCorrupt.
    """
    with _opened(data, limits) as image:
        return _header(image, limits)


def decode(data: bytes, limits: ImageLimits, max_side: int | None = None) -> Photo:
    """Decode an image file to upright RGB.

    Greyscale, palette, alpha (over white), CMYK and 16-bit images all end as RGB uint8; of an animation the
    first frame is taken. With `max_side`, a JPEG is decoded at the smallest DCT scale (1/2, 1/4, 1/8) whose
    longer side is still at least `max_side`, which costs a fraction of a full decode.

    Raises: ImageTooLarge, ImageTooManyPixels, ImageUnsupported, ImageCorrupt.
    """
    with _opened(data, limits) as image:
        header = _header(image, limits)
        if max_side is not None and image.format == "JPEG":
            longer = max(image.size)
            factor = next((f for f in (8, 4, 2) if longer // f >= max_side), 1)
            if factor > 1:
                image.draft("RGB", (image.width // factor, image.height // factor))
        try:
            image.load()
            upright = _to_rgb(image)
            ImageOps.exif_transpose(upright, in_place=True)
        except (OSError, ValueError, SyntaxError, EOFError, IndexError, TypeError, MemoryError) as error:
            raise ImageCorrupt(f"the {header.format} image ends early or is damaged") from error
        pixels = np.ascontiguousarray(np.asarray(upright, dtype=np.uint8))
    return Photo(pixels, header.width, header.height, pixels.shape[1] / header.width)


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """RGB uint8 (H, W, 3) to the bytes of a PNG file, which loses nothing."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@contextmanager
def _opened(data: bytes, limits: ImageLimits) -> Iterator[Image.Image]:
    if len(data) > limits.max_bytes:
        raise ImageTooLarge(f"the image has {len(data)} bytes; the limit is {limits.max_bytes}")
    if not data:
        raise ImageUnsupported("the image is empty")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as error:
        raise ImageUnsupported("not a JPEG, PNG, WebP, BMP, GIF or TIFF image") from error
    except (OSError, ValueError, SyntaxError, EOFError, TypeError, IndexError, OverflowError) as error:
        raise ImageCorrupt("the image header is damaged") from error
    with image:
        yield image


def _header(image: Image.Image, limits: ImageLimits) -> Header:
    width, height = image.size
    if width * height > limits.max_pixels:
        raise ImageTooManyPixels(f"the image has {width}x{height} pixels; the limit is {limits.max_pixels}")
    if min(width, height) < SMALLEST_SIDE:
        raise ImageUnsupported(f"the image has {width}x{height} pixels; each side needs at least {SMALLEST_SIDE}")
    try:
        turned = image.getexif().get(ExifTags.Base.Orientation) in TURNED
    except Exception:
        turned = False
    if turned:
        width, height = height, width
    return Header(str(image.format), width, height)


def _to_rgb(image: Image.Image) -> Image.Image:
    """Convert any Pillow mode to RGB, keeping the EXIF orientation for `exif_transpose`."""
    if image.mode == "RGB":
        return image
    exif = image.getexif()
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image, dtype=np.float64)
        top = 65535.0 if values.max(initial=0) > 255 else 255.0  # 16-bit files come as I;16, I or F
        rgb = Image.fromarray(np.clip(values * (255.0 / top) + 0.5, 0, 255).astype(np.uint8)).convert("RGB")
    elif image.has_transparency_data:
        rgba = image.convert("RGBA")
        rgb = Image.new("RGB", image.size, (255, 255, 255))
        rgb.paste(rgba, mask=rgba.getchannel("A"))
    else:
        rgb = image.convert("RGB")
    rgb.info["exif"] = exif.tobytes()
    return rgb
