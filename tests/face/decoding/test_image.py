"""Bytes to RGB: every format and mode, orientation, limits, and files that are not what they say."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from service.bench.images import measure_images, png, tiled_tiff
from service.face.decoding.cost import counted_pixels
from service.face.decoding.image import START_OF_SCAN, ImageLimits, decode
from service.face.errors import ImageCorrupt, ImageError, ImageTooLarge, ImageTooManyPixels, ImageUnsupported
from tests.conftest import SHARED, encode

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
    photo = decode(data, LIMITS)
    assert (photo.width, photo.height) == (64, 48)
    assert np.array_equal(photo.pixels, ramp())


def saved(image: Image.Image, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize("exif", [b"MM", b"MM\0\x2a", b"MM\0\x2a\0\0", b"II\x2a\0\xff\xff\xff\xff", b"no EXIF at all"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_damaged_exif_block_leaves_the_picture_as_it_is(kind: str, exif: bytes) -> None:
    plain = encode(ramp(), kind)
    data = encode(ramp(), kind, exif=b"Exif\0\0" + exif)
    photo = decode(data, LIMITS)
    assert np.array_equal(photo.pixels, decode(plain, LIMITS).pixels)
    assert (photo.width, photo.height) == (64, 48)


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


@pytest.mark.parametrize("brand", [b"heic", b"mif1", b"avif"])
def test_kinds_whose_headers_cannot_be_held_to_are_named(brand: bytes) -> None:
    box = struct.pack(">I4s4sI4s", 20, b"ftyp", brand, 0, brand)
    with pytest.raises(ImageUnsupported, match="HEIC and AVIF are not read: send it as JPEG"):
        decode(box + bytes(200), LIMITS)


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


def saved_as(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def levels() -> np.ndarray:
    """Every level of grey from 0 to 255, and white at the end of its range."""
    return np.tile(np.arange(256, dtype=np.uint8), (16, 1))


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_is_read_by_the_range_that_was_recorded(kind: str, bits: int) -> None:
    white = 2**bits - 1
    stored = np.round(levels().astype(np.float64) / 255 * white).astype(np.uint16)
    pixels = decode(saved(Image.fromarray(stored), kind), LIMITS).pixels
    assert np.abs(pixels.astype(int) - levels()[:, :, np.newaxis]).max() <= 1


@pytest.mark.parametrize("white", [1.0, 255.0, 1023.0, 65535.0, 100_000.0])
def test_floats_are_read_by_their_range(white: float) -> None:
    stored = levels().astype(np.float32) / 255 * np.float32(white)
    pixels = decode(saved_as(Image.fromarray(stored), "TIFF"), LIMITS).pixels
    assert np.abs(pixels.astype(int) - levels()[:, :, np.newaxis]).max() <= 1


def test_floats_that_are_no_numbers_or_beyond_white_do_no_harm() -> None:
    stored = levels().astype(np.float32) / 255
    stored[0, :4] = (np.nan, np.inf, -np.inf, 1.2)
    pixels = decode(saved_as(Image.fromarray(stored), "TIFF"), LIMITS).pixels
    assert pixels[0, :4, 0].tolist() == [0, 255, 0, 255]
    assert np.abs(pixels[1:].astype(int) - levels()[1:, :, np.newaxis]).max() <= 1


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
@pytest.mark.parametrize("interlaced", [False, True])
def test_16_bit_colour_is_read_by_the_range_that_was_recorded(bits: int, interlaced: bool) -> None:
    stored = np.round(ramp().astype(np.float64) / 255 * (2**bits - 1)).astype(np.uint16)
    stored[0, 0] = 2**bits - 1
    pixels = decode(png(stored, interlaced), LIMITS).pixels
    assert (pixels[0, 0] == 255).all()
    assert np.abs(pixels.astype(int) - ramp())[1:].max() <= 1


@pytest.mark.parametrize("bits", [12, 16])
def test_16_bit_alpha_is_read_by_its_range_too(bits: int) -> None:
    white = 2**bits - 1
    stored = np.dstack([np.round(ramp().astype(np.float64) / 255 * white / 4), np.full((48, 64), white)])
    opaque = decode(tiff(stored.astype(np.uint16), extrasamples=["unassalpha"]), LIMITS).pixels
    colours = decode(tiff(stored[:, :, :3].astype(np.uint16)), LIMITS).pixels
    assert np.array_equal(opaque, colours)
    stored[:, :32, 3] = 0
    assert (decode(tiff(stored.astype(np.uint16), extrasamples=["unassalpha"]), LIMITS).pixels[:, :32] == 255).all()


def tiff(samples: np.ndarray, **options: object) -> bytes:
    """RGB as a TIFF, of types that Pillow does not write."""
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, samples, photometric="rgb", **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.uint32])
def test_a_tiff_of_samples_that_are_not_read_is_said_to_be_one(kind: type[np.generic]) -> None:
    with pytest.raises(ImageUnsupported, match="samples are of a kind that is not read"):
        decode(tiff(ramp().astype(kind)), LIMITS)


def test_colours_that_lie_apart_are_read_rightly_or_not_at_all() -> None:
    apart = np.moveaxis(ramp(), -1, 0)
    assert np.array_equal(decode(tiff(apart, planarconfig="separate"), LIMITS).pixels, ramp())
    with pytest.raises(ImageUnsupported, match="samples are of a kind that is not read"):
        decode(tiff(apart.astype(np.uint16) * 257, planarconfig="separate"), LIMITS)


@pytest.mark.data
@pytest.mark.parametrize("name", ["float-0-1.tif", "ten-bit-in-16.png"])
def test_pictures_of_other_depths_are_no_longer_black(name: str) -> None:
    pixels = decode((SHARED / "data" / "hard" / name).read_bytes(), LIMITS).pixels
    assert pixels.max() == 255
    assert 40 < pixels.mean() < 215


def test_a_turned_tiff_has_the_size_that_it_has_when_upright() -> None:
    data = saved_as(Image.fromarray(np.rot90(ramp(), 1).copy()), "TIFF", tiffinfo={274: 6})
    photo = decode(data, LIMITS)
    assert np.array_equal(photo.pixels, ramp())
    assert (photo.width, photo.height, photo.scale) == (64, 48, 1.0)


@pytest.mark.parametrize("side", [4096, 26_704])
def test_tiles_that_reach_beyond_the_image_count_as_what_they_are(side: int) -> None:
    data = tiled_tiff(100, 100, side)
    with Image.open(io.BytesIO(data)) as image:
        assert counted_pixels(image) > side * side / 10
    with pytest.raises(ImageTooManyPixels):
        decode(data, ImageLimits(max_pixels=1_000_000))


def test_tiles_of_common_size_are_read() -> None:
    assert not decode(tiled_tiff(300, 200, 256, samples=3), LIMITS).pixels.any()
    assert not decode(tiled_tiff(300, 200, 64), LIMITS).pixels.any()


def fax(rows: int) -> bytes:
    """A TIFF of 8 pixels a row in the coding of faxes, whose rows are noise."""
    noise = np.random.default_rng(3).integers(0, 256, 2 * rows, dtype=np.uint8).tobytes()
    tags = {256: 8, 257: rows, 258: 1, 259: 3, 262: 0, 273: 8 + 2 + 9 * 12 + 4, 277: 1, 278: rows, 279: len(noise)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + bytes(4) + noise


def test_a_damaged_picture_writes_nothing_into_the_log(capfd: pytest.CaptureFixture[str]) -> None:
    assert decode(fax(1000), LIMITS).pixels.shape == (1000, 8, 3)
    assert capfd.readouterr() == ("", "")


def test_a_jpeg_of_more_scans_than_an_encoder_makes_is_refused() -> None:
    data = encode(ramp(), progressive=True)
    begin = data.rindex(START_OF_SCAN)
    many = data[:begin] + data[begin:-2] * 200 + data[-2:]
    decode(data, LIMITS)
    with pytest.raises(ImageUnsupported):
        decode(many, LIMITS)


def test_what_a_camera_appends_to_a_jpeg_is_no_scan() -> None:
    """The film of a motion photograph holds any two bytes by chance."""
    plain = encode(ramp(), "JPEG")
    film = np.random.default_rng(5).integers(0, 256, 8_000_000, dtype=np.uint8).tobytes()
    assert film.count(START_OF_SCAN) > 100
    assert np.array_equal(decode(plain + film, LIMITS).pixels, decode(plain, LIMITS).pixels)


@pytest.mark.parametrize(
    "header", [b"\xff\xda\0\x06\0", b"\xff\xda\0\x12\x06", b"\xff\xda\0\x08\x02", b"\xff\xda\x01\x08\x01"]
)
def test_a_scan_of_another_shape_ends_the_decoding(header: bytes) -> None:
    """So that counting those of the right shape counts all that cost something."""
    data = encode(ramp(), progressive=True)
    second = data.index(START_OF_SCAN, data.index(START_OF_SCAN) + 2)
    with pytest.raises(ImageCorrupt):
        decode(data[:second] + header + bytes(300) + data[second:], LIMITS)


def test_the_largest_images_take_no_more_than_what_is_counted() -> None:
    """8 million pixels of the kinds that took 20 to 25 bytes a pixel, in a process of its own."""
    kinds = ["TIFF, 16 bits, grey", "TIFF, 32-bit floats", "PNG, interlaced", "WebP, lossless"]
    for found in measure_images(8_000_000, kinds):
        assert found.measured <= found.counted + 2, found
