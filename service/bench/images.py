"""Memory that decoding takes, by kind of image: measured, and as counted by the limit on pixels."""

from __future__ import annotations

import io
import multiprocessing
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.bench.errors import BenchError
from service.face.decoding.cost import PLAIN, counted_pixels
from service.face.decoding.image import ImageLimits, count_scans, decode

UNLIMITED = ImageLimits(max_bytes=1 << 40, max_pixels=1 << 40)
WIDTH = 4000
ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
"""First row and column, and the steps between rows and columns, of each pass of an interlaced PNG."""


@dataclass(frozen=True, slots=True)
class Decoding:
    """One kind of image: bytes of the file, bytes a pixel measured while it was decoded, and those counted."""

    kind: str
    file: int
    measured: float
    counted: float


def _saved(mode: str, kind: str, **options: object) -> Callable[[Image.Image], bytes]:
    def save(picture: Image.Image) -> bytes:
        buffer = io.BytesIO()
        picture.convert(mode).save(buffer, kind, **options)
        return buffer.getvalue()

    return save


def png(samples: NDArray[np.uint8] | NDArray[np.uint16], interlaced: bool = False) -> bytes:
    """An RGB PNG (H, W, 3) of 8 or 16 bits a channel, which Pillow does not write with 16 bits or interlaced."""
    height, width = samples.shape[:2]
    packer, parts = zlib.compressobj(1), []
    big_endian = samples.astype(samples.dtype.newbyteorder(">"))
    for row, column, down, across in ADAM7 if interlaced else ((0, 0, 1, 1),):
        some = np.ascontiguousarray(big_endian[row::down, column::across])
        lines = some.view(np.uint8).reshape(some.shape[0], -1)
        parts.append(packer.compress(np.pad(lines, ((0, 0), (1, 0))).tobytes()))
    parts.append(packer.flush())
    head = struct.pack(">IIBBBBB", width, height, samples.dtype.itemsize * 8, 2, 0, 0, interlaced)
    chunks = ((b"IHDR", head), (b"IDAT", b"".join(parts)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


def tiled_tiff(width: int, height: int, tile: int, samples: int = 1, bits: int = 8) -> bytes:
    """A black TIFF of square deflated tiles, which may be larger than the image."""
    count = -(-width // tile) * -(-height // tile)
    packer = zlib.compressobj(9)
    row = bytes(tile * samples * bits // 8)
    packed = b"".join([packer.compress(row) for _ in range(tile)]) + packer.flush()
    tags = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, samples, bits),
        (259, 3, 1, 8),
        (262, 3, 1, 2 if samples == 3 else 1),
        (277, 3, 1, samples),
        (322, 4, 1, tile),
        (323, 4, 1, tile),
        (324, 4, count, 0),
        (325, 4, count, 0),
    ]
    begin = 8
    tables = begin + len(packed)
    depth, offsets = tables, tables + 8
    sizes = offsets + 4 * count
    values = {  # where a value takes more than four bytes, its place
        258: depth if samples > 2 else bits,
        324: offsets if count > 1 else begin,
        325: sizes if count > 1 else len(packed),
    }
    directory = sizes + 4 * count
    body = packed + struct.pack("<4H", *[bits] * 4) + struct.pack(f"<{count}I", *[begin] * count)
    body += struct.pack(f"<{count}I", *[len(packed)] * count) + struct.pack("<H", len(tags))
    body += b"".join(struct.pack("<HHII", tag, kind, n, values.get(tag, value)) for tag, kind, n, value in tags)
    return struct.pack("<2sHI", b"II", 42, directory) + body + struct.pack("<I", 0)


def _tiff(make: Callable[[Image.Image], Image.Image]) -> Callable[[Image.Image], bytes]:
    def save(picture: Image.Image) -> bytes:
        buffer = io.BytesIO()
        make(picture).save(buffer, "TIFF", compression="tiff_adobe_deflate", tiffinfo={278: picture.height})
        return buffer.getvalue()

    return save


def _sixteen_bit(picture: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257)


def _floating(picture: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(picture.convert("L")).astype(np.float32) / 255)


KINDS: dict[str, Callable[[Image.Image], bytes]] = {
    "JPEG": _saved("RGB", "JPEG", subsampling=0),
    "JPEG, progressive": _saved("RGB", "JPEG", subsampling=0, progressive=True),
    "JPEG, CMYK, progressive": _saved("CMYK", "JPEG", subsampling=0, progressive=True),
    "JPEG, grey": _saved("L", "JPEG"),
    "PNG": _saved("RGB", "PNG", compress_level=1),
    "PNG, alpha": _saved("RGBA", "PNG", compress_level=1),
    "PNG, palette": _saved("P", "PNG", compress_level=1),
    "PNG, interlaced": lambda picture: png(np.asarray(picture), interlaced=True),
    "PNG, 16 bits, grey": lambda picture: _saved("I;16", "PNG", compress_level=1)(_sixteen_bit(picture)),
    "PNG, 10 of 16 bits, colour": lambda picture: png(np.asarray(picture).astype(np.uint16) * 4),
    "WebP": _saved("RGB", "WEBP", method=0),
    "WebP, lossless": _saved("RGB", "WEBP", method=0, lossless=True),
    "WebP, alpha": _saved("RGBA", "WEBP", method=0),
    "BMP": _saved("RGB", "BMP"),
    "GIF": _saved("P", "GIF"),
    "TIFF": _saved("RGB", "TIFF"),
    "TIFF, one strip": _tiff(lambda picture: picture),
    "TIFF, one strip, alpha": _tiff(lambda picture: picture.convert("RGBA")),
    "TIFF, one strip, CMYK": _tiff(lambda picture: picture.convert("CMYK")),
    "TIFF, 16 bits, grey": _tiff(_sixteen_bit),
    "TIFF, 32-bit floats": _tiff(_floating),
    "TIFF, tiles of 4096": lambda picture: tiled_tiff(*picture.size, 4096, samples=3),
}


def measure_images(pixels: int, kinds: Iterable[str] = tuple(KINDS)) -> Iterator[Decoding]:
    """Decode one image of each kind, of `pixels` pixels, each in a process of its own."""
    across, down = np.arange(WIDTH, dtype=np.uint32), np.arange(pixels // WIDTH, dtype=np.uint32)
    grey = (np.add.outer(down % 251, across % 241) // 2).astype(np.uint8)
    picture = Image.fromarray(np.stack([grey, grey[:, ::-1], grey], axis=-1))
    area = picture.width * picture.height
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn, max_tasks_per_child=1) as processes:
        for kind in kinds:
            data = KINDS[kind](picture)
            with Image.open(io.BytesIO(data)) as opened:
                counted = counted_pixels(opened, count_scans(data)) * PLAIN
            yield Decoding(kind, len(data), processes.submit(peak_of, data).result() / area, counted / area)


def peak_of(data: bytes) -> int:
    """Bytes by which this process grows at most while it decodes an image. Needs Linux. Raises: BenchError."""
    decode(png(np.zeros((16, 16, 3), np.uint8)), UNLIMITED)  # what is loaded once is not counted
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts again
    except OSError as error:
        raise BenchError("the peak of a process cannot be measured here") from error
    before = _status("VmRSS")
    decode(data, UNLIMITED)
    return _status("VmHWM") - before


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))
