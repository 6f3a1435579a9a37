"""Bytes to RGB: every format and mode, orientation, limits, and files that are not what they say."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from service.face.errors import ImageCorrupt, ImageError, ImageTooLarge, ImageTooManyPixels, ImageUnsupported
from service.face.image import ImageLimits, decode, read_header
from tests.conftest import encode

LIMITS = ImageLimits()


def ramp(width: int = 64, height: int = 48) -> np.ndarray:
    """A picture whose four corners differ, so that every wrong turn shows."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 255 // width, y * 255 // height, np.full_like(x, 40)], axis=-1).astype(np.uint8)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "GIF", "WEBP", "JPEG"])
def test_every_format_gives_the_same_picture(kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {"quality": 98, "subsampling": 0} if kind == "JPEG" else {}
    photo = decode(encode(ramp(), kind, **options), LIMITS)
    assert photo.pixels.shape == (48, 64, 3)
    assert photo.pixels.dtype == np.uint8
    assert photo.pixels.flags.c_contiguous
    bound = {"JPEG": 6, "GIF": 40}.get(kind, 0)  # a GIF has 256 colours
    assert np.abs(photo.pixels.astype(int) - ramp()).max() <= bound


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_ends_upright(orientation: int) -> None:
    undo = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }
    exif = Image.Exif()
    exif[274] = orientation
    stored = np.ascontiguousarray(undo[orientation](ramp()))
    data = encode(stored, "PNG", exif=exif.tobytes())
    assert (read_header(data, LIMITS).width, read_header(data, LIMITS).height) == (64, 48)
    assert np.array_equal(decode(data, LIMITS).pixels, ramp())


def saved(image: Image.Image, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def test_grey_16_bit_cmyk_palette_and_alpha_become_rgb() -> None:
    grey = np.linspace(0, 255, 64 * 48).reshape(48, 64).astype(np.uint8)
    assert np.array_equal(decode(saved(Image.fromarray(grey)), LIMITS).pixels, np.stack([grey] * 3, axis=-1))

    deep = decode(saved(Image.fromarray(grey.astype(np.uint16) * 257)), LIMITS).pixels
    assert np.array_equal(deep, np.stack([grey] * 3, axis=-1))

    cmyk = decode(saved(Image.fromarray(ramp()).convert("CMYK"), "TIFF"), LIMITS).pixels
    assert np.abs(cmyk.astype(int) - ramp()).max() <= 2

    palette = Image.fromarray(ramp()).quantize(32)
    assert np.array_equal(decode(saved(palette), LIMITS).pixels, np.asarray(palette.convert("RGB")))

    alpha = np.dstack([ramp(), np.zeros((48, 64), np.uint8)])
    assert (decode(saved(Image.fromarray(alpha, "RGBA")), LIMITS).pixels == 255).all()


def test_an_animation_gives_its_first_frame() -> None:
    frames = [Image.fromarray(np.full((16, 16, 3), level, np.uint8)) for level in (10, 200)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    assert np.abs(decode(buffer.getvalue(), LIMITS).pixels.astype(int) - 10).max() <= 4


@pytest.mark.parametrize(("side", "expected"), [(2000, 1.0), (900, 0.5), (300, 0.25), (50, 0.125)])
def test_a_big_jpeg_is_decoded_at_the_smallest_scale_that_suffices(side: int, expected: float) -> None:
    big = np.asarray(Image.fromarray(ramp()).resize((2000, 1600)))
    photo = decode(encode(big), LIMITS, max_side=side)
    assert photo.scale == pytest.approx(expected)
    assert (photo.width, photo.height) == (2000, 1600)
    assert max(photo.pixels.shape) >= min(side, 2000)


def test_limits_hold_before_decoding() -> None:
    data = encode(ramp(), "PNG")
    with pytest.raises(ImageTooLarge):
        decode(data, ImageLimits(max_bytes=len(data) - 1))
    with pytest.raises(ImageTooManyPixels):
        decode(data, ImageLimits(max_pixels=64 * 48 - 1))
    decode(data, ImageLimits(max_bytes=len(data), max_pixels=64 * 48))


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few hundred bytes that claims width x height pixels."""

    def chunk(tag: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + tag + body + struct.pack(">I", zlib.crc32(tag + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")
    )


def test_files_that_are_not_photographs_say_so() -> None:
    for size in (20_000, 60_000):
        with pytest.raises(ImageTooManyPixels):
            decode(bomb(size, size), LIMITS)
    with pytest.raises(ImageCorrupt):
        decode(bomb(100, 100), LIMITS)
    for junk in (b"", b"hello, world", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%PDF-1.7\n", b"\0" * 1000):
        with pytest.raises(ImageUnsupported):
            decode(junk, LIMITS)
    with pytest.raises(ImageUnsupported):
        decode(encode(ramp(4, 4), "PNG"), LIMITS)


def test_a_polyglot_is_read_as_the_image_it_starts_with() -> None:
    data = encode(ramp(), "PNG") + b"PK\x03\x04<script>alert(1)</script>"
    assert np.array_equal(decode(data, LIMITS).pixels, ramp())


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "GIF", "WEBP", "JPEG"])
@settings(max_examples=40, deadline=None)
@given(share=st.floats(0.02, 0.95), flips=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), max_size=4))
def test_damage_ends_in_a_picture_or_a_typed_error(kind: str, share: float, flips: list[tuple[float, int]]) -> None:
    data = bytearray(encode(ramp(), kind))
    for place, value in flips:
        data[int(place * len(data))] = value
    for damaged in (bytes(data), bytes(data[: int(share * len(data))])):
        try:
            photo = decode(damaged, ImageLimits(max_pixels=1_000_000))
        except ImageError:
            continue
        assert photo.pixels.ndim == 3
