"""What is photographed for a measurement."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from service.bench.errors import BenchError
from service.bench.photos import encode, read_photos
from service.face.decoding.image import ImageLimits, decode
from service.face.registry import Registry


def test_the_default_photographs_are_640x480_and_show_one_face_each(model_dirs: tuple[Path, ...]) -> None:
    registry = Registry.scan(model_dirs)
    detector = registry.detector(registry.folders("detector")[0].manifest.identity)
    for data in read_photos(None):
        photo = decode(data, ImageLimits())
        assert (photo.width, photo.height) == (640, 480)
        assert len(detector.detect(photo.pixels)) == 1


def test_a_folder_is_taken_as_it_is_in_order_of_names(tmp_path: Path) -> None:
    for name, colour in (("b.png", "red"), ("a.jpg", "blue")):
        Image.new("RGB", (40, 30), colour).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no photograph")
    assert read_photos(tmp_path) == ((tmp_path / "a.jpg").read_bytes(), (tmp_path / "b.png").read_bytes())


def test_fewer_than_two_are_refused(tmp_path: Path) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "one.png")
    with pytest.raises(BenchError, match="holds 1 photographs"):
        read_photos(tmp_path)
    with pytest.raises(BenchError, match="holds 0 photographs"):
        read_photos(tmp_path / "missing")


def test_encode_keeps_the_upper_part() -> None:
    tall = Image.new("RGB", (100, 300), "white")
    tall.paste("black", (0, 200, 100, 300))
    with Image.open(io.BytesIO(encode(tall, "PNG", (100, 75)))) as cut:
        assert cut.size == (100, 75)
        assert cut.convert("L").getextrema() == (255, 255)
