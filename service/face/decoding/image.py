"""Bytes to an upright RGB photograph, with every limit checked before a pixel is decoded."""

from __future__ import annotations

import ctypes
import io
import struct
import warnings
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError, _imaging

from service.face.decoding.cost import counted_pixels, has_16_bit_colour, has_deep_planes, raw_mode_of
from service.face.decoding.pixels import is_dim, rgb_of, upright
from service.face.errors import ImageCorrupt, ImageTooLarge, ImageTooManyPixels, ImageUnsupported

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"avif", b"avis")
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
OTHER_TIFF = (
    "the TIFF image is damaged, or its samples are of a kind that is not read: save it with 8 bits a sample, or as PNG"
)
SMALLEST_SIDE = 8
TURNED = (5, 6, 7, 8)  # EXIF orientations that swap width and height
START_OF_SCAN = b"\xff\xda"
COMPONENTS = (1, 2, 3, 4)  # of a scan
MAX_SCANS = 100  # of a JPEG; each goes over all pixels, and encoders make about ten


def _silence_libtiff() -> None:
    """Let libtiff write nothing to standard error, where each row of a damaged fax would be a line of the log.

    Pillow tells what cannot be read without it, and has no word for this itself: the symbols are those of the library
    that it was built with.
    """
    with suppress(AttributeError, OSError):
        library = ctypes.CDLL(_imaging.__file__)
        for setter in (library.TIFFSetErrorHandler, library.TIFFSetWarningHandler):
            setter.argtypes, setter.restype = [ctypes.c_void_p], ctypes.c_void_p
            setter(None)


# These are settings of the whole process, made once and not for each picture: worker threads would see each other's.
Image.MAX_IMAGE_PIXELS = None  # the limits below decide, before a pixel is decoded
warnings.filterwarnings("ignore", module=r"PIL\.")  # of oddities in a file; what cannot be read is an error of ours
_silence_libtiff()


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """Bounds on what is decoded: encoded size in bytes, and decoded size in plain pixels (see `cost`)."""

    max_bytes: int = 10 * 1024 * 1024
    max_pixels: int = 40_000_000


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


def decode(data: bytes, limits: ImageLimits, max_side: int | None = None) -> Photo:
    """Decode an image file to upright RGB.

    Greyscale, palette, alpha (over white), CMYK and 16-bit images all end as RGB uint8; of an animation the
    first frame is taken. With `max_side`, a JPEG is decoded at the smallest DCT scale (1/2, 1/4, 1/8) whose
    longer side is still at least `max_side`, which costs a fraction of a full decode.

    Raises: ImageTooLarge, ImageTooManyPixels, ImageUnsupported, ImageCorrupt.
    """
    pixels, (width, height), orientation = _read(data, limits, max_side)
    pixels = upright(pixels, orientation)
    if orientation in TURNED:
        width, height = height, width
    return Photo(pixels, width, height, pixels.shape[1] / width)


def count_scans(data: bytes) -> int:
    """In how many scans a JPEG comes, at most.

    The marker alone stands by chance once in 64 KiB of what cameras append, as the film of a motion photograph. A scan
    says how long its header is and how many components it has; where these disagree, the decoder ends.
    """
    return sum(data.count(START_OF_SCAN + bytes((0, 6 + 2 * parts, parts))) for parts in COMPONENTS)


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """RGB uint8 (H, W, 3) to the bytes of a PNG file, which loses nothing."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def _open(data: bytes, limits: ImageLimits) -> Image.Image:
    """Open an image within the limits; nothing of it is decoded."""
    if len(data) > limits.max_bytes:
        raise ImageTooLarge(f"the image has {len(data)} bytes; the limit is {limits.max_bytes}")
    if not data:
        raise ImageUnsupported("the image is empty")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as error:
        what = "HEIC and AVIF are not read: send it as" if _is_heif(data) else "not a"
        known = f"{what} JPEG, PNG, WebP, BMP, GIF or TIFF image"
        raise ImageUnsupported(OTHER_TIFF if data.startswith(TIFF) else known) from error
    except (OSError, ValueError, SyntaxError, EOFError, TypeError, IndexError, OverflowError) as error:
        raise ImageCorrupt("the image header is damaged") from error
    width, height = image.size
    if min(width, height) < SMALLEST_SIDE:
        raise ImageUnsupported(f"the image has {width}x{height} pixels; each side needs at least {SMALLEST_SIDE}")
    scans = count_scans(data) if image.format in ("JPEG", "MPO") else 1
    if scans > MAX_SCANS:
        raise ImageUnsupported(f"the JPEG comes in {scans} scans; the limit is {MAX_SCANS}")
    try:
        counted, misread = counted_pixels(image, scans), has_deep_planes(image)
    except (ValueError, TypeError, OverflowError) as error:
        raise ImageCorrupt("the image header is damaged") from error
    if misread:
        raise ImageUnsupported(OTHER_TIFF)
    if counted > limits.max_pixels:
        raise ImageTooManyPixels(
            f"the image has {width}x{height} pixels, and decoding takes the memory of {counted} plain ones; the limit "
            f"is {limits.max_pixels}"
        )
    return image


def _is_heif(data: bytes) -> bool:
    """Whether a file is of the family of HEIC and AVIF (ISO/IEC 23008-12).

    They are not decoded: the size in the header of such a file is not that of the stream within, for which the decoder
    takes memory before the two are compared, so no limit on pixels would hold.
    """
    return data[4:8] == b"ftyp" and data[8:12] in HEIF_BRANDS


def _read(data: bytes, limits: ImageLimits, max_side: int | None) -> tuple[NDArray[np.uint8], tuple[int, int], int]:
    """RGB pixels as they lie in the file, its full width and height, and the EXIF orientation that is left to undo."""
    with _open(data, limits) as image:
        size = image.size
        if max_side is not None and image.format == "JPEG":
            factor = next((f for f in (8, 4, 2) if max(size) // f >= max_side), 1)
            if factor > 1:
                image.draft("RGB", (image.width // factor, image.height // factor))
        try:
            deep = has_16_bit_colour(image)
            image.load()
            lower = _lower_bytes(data) if deep and is_dim(image) else None
            return rgb_of(image, lower), size, _orientation(image)
        except (OSError, ValueError, SyntaxError, EOFError, IndexError, TypeError, MemoryError) as error:
            raise ImageCorrupt(f"the {image.format} image ends early or is damaged") from error


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation that is left to undo: 1, upright, where there is none or none that can be read."""
    if image.format == "TIFF":
        return 1  # Pillow turns it, and gives its size as it will be then
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except (OSError, ValueError, SyntaxError, EOFError, LookupError, TypeError, OverflowError, struct.error):
        return 1  # damaged notes beside a picture are no damage to it


def _lower_bytes(data: bytes) -> Image.Image:
    """The image again, with the lower bytes of its 16-bit samples where Pillow otherwise reads the upper ones."""
    image = Image.open(io.BytesIO(data), formats=FORMATS)
    raw = raw_mode_of(image)
    other = raw[:-1] + ("L" if raw.endswith("B") else "B")
    image.tile = [
        tile._replace(args=(other, *tile.args[1:]) if isinstance(tile.args, tuple) else other) for tile in image.tile
    ]
    image.load()
    return image
