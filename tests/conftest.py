"""Fixtures every part of the suite may use: public-domain photographs and model folders."""

from __future__ import annotations

import io
from pathlib import Path

import matplotlib.cbook
import numpy as np
import pytest
import skimage.data
from numpy.typing import NDArray
from PIL import Image

from service.face.model_import import add_model, read_spec

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"
STARTER = ROOT / "service" / "starter"


def encode(pixels: NDArray[np.uint8], kind: str = "JPEG", **options: object) -> bytes:
    """RGB uint8 (H, W, 3) to the bytes of an image file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


@pytest.fixture(scope="session")
def astronaut() -> NDArray[np.uint8]:
    """NASA's portrait of an astronaut, public domain: RGB (512, 512, 3), one face."""
    return np.asarray(skimage.data.astronaut(), dtype=np.uint8)


@pytest.fixture(scope="session")
def admiral() -> NDArray[np.uint8]:
    """The U.S. Navy's portrait of an admiral, public domain: RGB (606, 512, 3), one face."""
    with Image.open(matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)) as image:
        return np.asarray(image.convert("RGB"), dtype=np.uint8)


@pytest.fixture(scope="session")
def cat() -> NDArray[np.uint8]:
    """A cat: RGB, no human face."""
    return np.asarray(skimage.data.chelsea(), dtype=np.uint8)


@pytest.fixture(scope="session")
def model_dirs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    """Directories of real models: the bundled ones, or the research models beside the checkout."""
    if any(STARTER.glob("*/manifest.json")):
        return (STARTER,)
    directory = tmp_path_factory.mktemp("models")
    add_model(SHARED / "models" / "yunet_n_dynamic.onnx", read_spec("yunet"), directory)
    add_model(SHARED / "models" / "omz_face_reid_retail_0095.onnx", read_spec("omz-0095"), directory)
    return (directory,)
