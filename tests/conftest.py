"""Fixtures every part of the suite may use, and what tests need beyond the repository and its packages."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib.cbook
import numpy as np
import onnx
import pytest
import skimage.data
from hypothesis import settings
from numpy.typing import NDArray
from PIL import Image

from service.face.manifest import dump_manifest
from service.face.model_import import add_model, read_spec
from service.face.registry import MANIFEST, MODEL, Registry, sha256_of

if TYPE_CHECKING:
    from tests.api.server import Server

ROOT = Path(__file__).parents[1]
SHARED = Path(os.environ.get("SHARED", ROOT.parent / "shared")).resolve()
STARTER = ROOT / "service" / "starter"

settings.register_profile("any machine", deadline=None)  # a busy one is slow, and that is no failure
settings.load_profile("any machine")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test, in words, that needs what is not there."""
    if item.get_closest_marker("data") is not None and not SHARED.is_dir():
        pytest.skip(f"needs the research data in {SHARED}")
    needs = [str(need) for marker in item.iter_markers("needs") for need in marker.args]
    missing = [need for need in dict.fromkeys(needs) if not _is_there(need)]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")


def _is_there(need: str) -> bool:
    """Whether a program is on the path; `root` is the right to do everything."""
    return os.geteuid() == 0 if need == "root" else shutil.which(need) is not None


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
def silent_dirs(model_dirs: tuple[Path, ...], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    """A real embedder whose graph tells no confidence, as most people's do not."""
    source = Registry.scan(model_dirs).folders("embedder")[0]
    target = tmp_path_factory.mktemp("silent") / "embedder"
    shutil.copytree(source.path, target)
    graph, output = onnx.load(target / MODEL), source.manifest.output
    assert output is not None
    del graph.graph.output[1:]
    onnx.save(graph, target / MODEL)
    changes = {
        "sha256": sha256_of(target / MODEL),
        "output": output.model_copy(update={"confidence": None}),
        "recognisability": None,
    }
    (target / MANIFEST).write_text(dump_manifest(source.manifest.model_copy(update=changes)))
    return (target.parent,)


@pytest.fixture(scope="session")
def model_dirs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    """Directories of real models: the bundled ones, or the research models beside the checkout."""
    if any(STARTER.glob("*/manifest.json")):
        return (STARTER,)
    directory = tmp_path_factory.mktemp("models")
    add_model(SHARED / "models" / "yunet_n_dynamic.onnx", read_spec("yunet"), directory)
    add_model(SHARED / "models" / "omz_face_reid_retail_0095.onnx", read_spec("omz-0095"), directory)
    return (directory,)


@pytest.fixture(scope="session")
def shared_server(model_dirs: tuple[Path, ...], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One `facet serve` for all tests that ask it from outside; each uses collections of its own."""
    from tests.api.server import serving  # noqa: PLC0415 - few tests need it

    with serving(tmp_path_factory.mktemp("shared") / "data", model_dirs) as server:
        yield server
