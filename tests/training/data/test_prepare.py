import gzip
import io
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from service.face.align import CROP, CANONICAL_LANDMARKS, align
from service.face.detection.detect import Detector
from service.face.decoding.image import ImageLimits, decode
from service.face.registry import Registry
from tests.conftest import encode
from tests.training.conftest import ASTRONAUT
from training.errors import PackInvalid, SetInvalid, SetMissing
from training.data.faces import find_landmarks, from_aligned
from training.data.prepare import Preparation, describe, draw_split, prepare
from training.data.sources import Item, open_source


@pytest.fixture(scope="module")
def detector(model_dirs: tuple[Path, ...]) -> Detector:
    registry = Registry.scan(model_dirs)
    return registry.detector(registry.folders("detector")[0].manifest.identity)


@pytest.fixture
def photographs(
    tmp_path: Path, astronaut: NDArray[np.uint8], admiral: NDArray[np.uint8], cat: NDArray[np.uint8]
) -> Path:
    root = tmp_path / "photographs"
    for person, pixels in (("astronaut", astronaut), ("admiral", admiral), ("cat", cat)):
        (root / person).mkdir(parents=True)
        (root / person / "1.jpg").write_bytes(encode(pixels, quality=95))
    (root / "astronaut" / "again.jpg").write_bytes(encode(astronaut, quality=95))
    (root / "admiral" / "broken.jpg").write_bytes(encode(admiral)[:3000])
    return root


def test_photographs_become_crops_and_the_rest_is_reported(
    photographs: Path, tmp_path: Path, detector: Detector, astronaut: NDArray[np.uint8]
) -> None:
    crops = prepare(photographs, tmp_path / "set", Preparation(test=0, validation=0), detector, progress=False)
    assert sorted(zip(crops.files, crops.identities, strict=True)) == [
        ("admiral/1.jpg", "admiral"),
        ("astronaut/1.jpg", "astronaut"),
    ]
    photo = decode((photographs / "astronaut" / "1.jpg").read_bytes(), ImageLimits()).pixels
    expected = align(photo, detector.detect(photo)[0].landmarks)
    found = crops.crops[crops.files.index("astronaut/1.jpg")]
    assert np.array_equal(found, expected), "cut by the served detector and template"
    assert np.abs(found.astype(int) - align(astronaut, ASTRONAUT)).mean() < 20
    assert crops.landmarks is not None
    assert np.abs(crops.landmarks - CANONICAL_LANDMARKS).max() < 8
    dropped = {reason: entry["for_example"] for reason, entry in crops.about["dropped"].items()}
    assert dropped == {
        "unreadable: image_corrupt": ["admiral/broken.jpg"],
        "the same crop again": ["astronaut/again.jpg"],
        "no face found": ["cat/1.jpg"],
    }
    assert "dropped 1: no face found (for example cat/1.jpg)" in describe(crops)
    assert crops.about["detector"] == detector.manifest.sha256


def test_a_small_face_is_dropped(photographs: Path, tmp_path: Path, detector: Detector) -> None:
    with pytest.raises(SetInvalid, match="not one usable face"):
        prepare(photographs, tmp_path / "set", Preparation(smallest=400), detector, progress=False)
    assert not (tmp_path / "set").exists()


def test_splits_are_disjoint_in_identity_and_stay_when_the_set_grows() -> None:
    how = Preparation(validation=0.2, test=0.3)
    items = [Item(f"{i}.jpg", f"p{i % 200}", b"") for i in range(1000)]
    splits: dict[str, set[str]] = {}
    for item in items:
        splits.setdefault(item.identity, set()).add(draw_split(item, how))
    assert all(len(found) == 1 for found in splits.values())
    shares = [sum(found == {name} for found in splits.values()) / 200 for name in ("train", "validation", "test")]
    np.testing.assert_allclose(shares, [0.5, 0.2, 0.3], atol=0.09)
    unknown = [draw_split(Item(f"{i}.jpg", "", b""), how) for i in range(400)]
    assert len(set(unknown)) == 3
    with pytest.raises(SetInvalid, match="shares"):
        Preparation(validation=0.6, test=0.5)


def crops_tar(path: Path, faces: NDArray[np.uint8]) -> None:
    with tarfile.open(path, "w") as tar:

        def add(name: str, data: bytes) -> None:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))

        for i, face in enumerate(faces):
            add(f"./{i}.webp", encode(face, "WEBP", lossless=True))
        add("index.csv", b"file,identity\n" + b"".join(f"{i}.webp,p{i // 2}\n".encode() for i in range(len(faces))))
        add("attributes.csv", b"image_id,Smiling,Hat\n" + b"".join(f"{i}.jpg,{i % 2},1\n".encode() for i in range(4)))


def test_a_tar_of_aligned_crops_with_labels(tmp_path: Path, faces: NDArray[np.uint8]) -> None:
    crops_tar(tmp_path / "six.tar", faces)
    crops = prepare(
        tmp_path / "six.tar", tmp_path / "set", Preparation(aligned=True, test=0, validation=0), None, progress=False
    )
    np.testing.assert_array_equal(crops.crops, faces)
    assert crops.identities == ("p0", "p0", "p1", "p1", "p2", "p2")
    assert crops.attribute_names == ("Smiling", "Hat")
    assert crops.attributes is not None
    assert crops.attributes.tolist() == [[0, 1], [1, 1], [0, 1], [1, 1], [-1, -1], [-1, -1]]


def test_a_tar_that_was_cut_off_is_refused(tmp_path: Path, faces: NDArray[np.uint8]) -> None:
    crops_tar(tmp_path / "six.tar", faces)
    packed = gzip.compress((tmp_path / "six.tar").read_bytes())
    (tmp_path / "six.tar.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(PackInvalid, match="not a readable tar"):
        open_source(tmp_path / "six.tar.gz")


def test_of_one_person_so_many_are_kept_at_most(tmp_path: Path, faces: NDArray[np.uint8]) -> None:
    crops_tar(tmp_path / "six.tar", faces)
    how = Preparation(aligned=True, test=0, validation=0, most=1)
    crops = prepare(tmp_path / "six.tar", tmp_path / "set", how, None, progress=False)
    assert crops.files == ("0.webp", "2.webp", "4.webp")
    assert crops.about["dropped"] == {
        "more than 1 of one person": {"count": 3, "for_example": ["1.webp", "3.webp", "5.webp"]}
    }
    with pytest.raises(SetInvalid, match="at least one"):
        Preparation(most=0)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [("id,Smiling,Hat\n1.png,1\n", "1 needs 2 values"), ("id,Hat\n1.png,2\n", "1 needs 1"), ("id,Hat\n1,x\n", "'x'")],
)
def test_attributes_that_do_not_fit_are_named(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "1.png").write_bytes(b"any")
    (tmp_path / "attributes.csv").write_text(text)
    with pytest.raises(PackInvalid, match=complaint):
        open_source(tmp_path)
    (tmp_path / "attributes.csv").write_text("")
    assert open_source(tmp_path).attribute_names == ()


def record(label: float, number: int, data: bytes, extra: tuple[float, ...] = ()) -> bytes:
    head = struct.pack("<IfQQ", len(extra), label, number, 0) + struct.pack(f"<{len(extra)}f", *extra)
    body = head + data
    return struct.pack("<II", 0xCED7230A, len(body)) + body + b"\0" * (-len(body) % 4)


def test_records_as_insightface_packs_them(tmp_path: Path, faces: NDArray[np.uint8]) -> None:
    path = tmp_path / "train.rec"
    images = [encode(face[8:120, 8:120], "PNG") for face in faces]
    content = record(0, 0, b"", (7.0, 9.0)) + b"".join(record(i // 3, i + 1, data) for i, data in enumerate(images))
    path.write_bytes(content)
    items = list(open_source(path).items)
    assert [item.identity for item in items] == ["0", "0", "0", "1", "1", "1"]
    assert [item.data for item in items] == images
    crops = prepare(path, tmp_path / "set", Preparation(aligned=True), None, progress=False)
    np.testing.assert_array_equal(crops.crops[:, 8:120, 8:120], faces[:, 8:120, 8:120])
    path.write_bytes(content[:-40])
    with pytest.raises(PackInvalid, match="ends within a record"):
        list(open_source(path).items)
    path.write_bytes(b"not a record file")
    with pytest.raises(PackInvalid, match="RecordIO"):
        list(open_source(path).items)


def test_aligned_crops_get_landmarks_on_request(
    faces: NDArray[np.uint8], detector: Detector, cat: NDArray[np.uint8]
) -> None:
    found = find_landmarks(faces[0], detector)
    assert found is not None
    assert np.abs(found - CANONICAL_LANDMARKS).max() < CROP / 16
    assert find_landmarks(np.ascontiguousarray(cat[100:228, 100:228]), detector) is None
    with pytest.raises(ValueError, match="100x100"):
        from_aligned(np.zeros((100, 100, 3), np.uint8))


def test_sources_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(SetMissing, match="does not exist"):
        open_source(tmp_path / "nothing")
    with pytest.raises(SetMissing, match="holds no picture"):
        open_source(tmp_path)
    (tmp_path / "a.tar").write_bytes(b"not a tar")
    with pytest.raises(PackInvalid, match="not a readable tar"):
        open_source(tmp_path / "a.tar")
    (tmp_path / "a.doc").write_bytes(b"x")
    with pytest.raises(PackInvalid, match="neither"):
        open_source(tmp_path / "a.doc")
    with pytest.raises(SetInvalid, match="need a detector"):
        prepare(tmp_path, tmp_path / "set", Preparation(), None)
