"""The photographs that are sent: the user's own, or two in the public domain."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from service.bench.errors import BenchError

SIZE = (640, 480)
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"})


def read_photos(folder: Path | None) -> tuple[bytes, ...]:
    """Encoded photographs, at least two: the files of `folder` as they are, or two portraits as 640x480 JPEG.

    Raises: BenchError.
    """
    if folder is None:
        return _portraits()
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES) if folder.is_dir() else []
    if len(files) < 2:
        raise BenchError(f"{folder} holds {len(files)} photographs; at least two are needed")
    return tuple(path.read_bytes() for path in files)


def encode(picture: Image.Image, kind: str = "JPEG", size: tuple[int, int] = SIZE) -> bytes:
    """A picture cut to the shape of `size` (width, height), keeping its upper part, and encoded."""
    buffer = io.BytesIO()
    fitted = ImageOps.fit(picture.convert("RGB"), size, Image.Resampling.LANCZOS, centering=(0.5, 0.0))
    fitted.save(buffer, kind, quality=90)
    return buffer.getvalue()


def _portraits() -> tuple[bytes, ...]:
    """NASA's portrait of an astronaut and the U.S. Navy's of an admiral, both in the public domain."""
    try:
        import matplotlib.cbook  # noqa: PLC0415 - the service itself goes without them
        import skimage.data  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise BenchError(
            "the default photographs come with scikit-image and matplotlib: name a folder with --photos, "
            "or `pip install scikit-image matplotlib`"
        ) from error
    astronaut = skimage.data.astronaut()  # type: ignore[no-untyped-call]
    with Image.open(matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)) as admiral:
        return encode(Image.fromarray(np.asarray(astronaut, dtype=np.uint8))), encode(admiral)
