import pickle
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.conftest import encode
from training.errors import PackInvalid, ProtocolInvalid
from training.evaluation.protocols import find_templates, pool_templates, read_lfw_view1, read_lfw_view2, read_pack


@pytest.fixture
def lfw(tmp_path: Path) -> Path:
    for person, count in (("Ada_One", 3), ("Bo_Two", 2), ("Cy", 1)):
        (tmp_path / person).mkdir()
        for i in range(1, count + 1):
            (tmp_path / person / f"{person}_{i:04d}.jpg").write_bytes(f"{person} {i}".encode())
    return tmp_path


def test_view2_in_folds(lfw: Path) -> None:
    lines = ["2\t1", "Ada_One\t1\t2", "Ada_One\t1\tBo_Two\t1", "Bo_Two\t1\t2", "Cy\t1\tAda_One\t3"]
    (lfw / "pairs.txt").write_text("\n".join(lines) + "\n")
    pairs = read_lfw_view2(lfw)
    names = [picture.name for picture in pairs.pictures]
    assert [(names[a], names[b]) for a, b in zip(pairs.left, pairs.right, strict=True)] == [
        ("Ada_One_0001.jpg", "Ada_One_0002.jpg"),
        ("Ada_One_0001.jpg", "Bo_Two_0001.jpg"),
        ("Bo_Two_0001.jpg", "Bo_Two_0002.jpg"),
        ("Cy_0001.jpg", "Ada_One_0003.jpg"),
    ]
    assert pairs.same.tolist() == [True, False, True, False]
    assert pairs.fold.tolist() == [0, 0, 1, 1]
    assert len(names) == len(set(names)) == 6, "a picture is embedded once"
    assert pairs.people() == [("Ada_One",) * 2, ("Ada_One", "Bo_Two"), ("Bo_Two",) * 2, ("Cy", "Ada_One")]
    assert pairs.pictures[0].data() == b"Ada_One 1"


def test_view1(lfw: Path) -> None:
    (lfw / "pairsDevTest.txt").write_text("1\nAda_One 1 3\nBo_Two 2 Cy 1\n")
    pairs = read_lfw_view1(lfw, "Test")
    assert pairs.name == "lfw-view1-devtest"
    assert pairs.same.tolist() == [True, False]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("2 1\nAda_One 1 2\n", "1 pairs, its first line announces 4"),
        ("1 1\nAda_One 1 2\nAda_One x Cy 1\n", "cannot read the pair"),
        ("1 1\nAda_One 1 2\nAda_One 1 Cy 7\n", "Cy_0007.jpg is in the list of pairs and does not exist"),
        ("1\nAda_One 1 2\n", "folds and pairs"),
        ("", "empty"),
    ],
)
def test_view2_that_is_incomplete(lfw: Path, text: str, complaint: str) -> None:
    (lfw / "pairs.txt").write_text(text)
    with pytest.raises(ProtocolInvalid, match=complaint):
        read_lfw_view2(lfw)


def test_no_list_of_pairs(lfw: Path) -> None:
    with pytest.raises(ProtocolInvalid, match=r"pairs\.txt"):
        read_lfw_view2(lfw)


def test_packs(tmp_path: Path, faces: NDArray[np.uint8]) -> None:
    images = [encode(faces[i % 6][8:120, 8:120], "PNG") for i in range(24)]
    path = tmp_path / "cfp_fp.bin"
    path.write_bytes(pickle.dumps((images, [i % 2 == 0 for i in range(12)])))
    pack = read_pack(path)
    assert pack.aligned
    assert (pack.left.tolist(), pack.right.tolist()) == (list(range(0, 24, 2)), list(range(1, 24, 2)))
    assert pack.same.tolist() == [True, False] * 6
    assert np.bincount(pack.fold).tolist() == [2, 2] + [1] * 8
    assert pack.pictures[3].data() == images[3]
    assert pack.people() is None
    # arrays of bytes, as some packs hold them
    path.write_bytes(pickle.dumps(([np.frombuffer(i, np.uint8) for i in images], np.ones(12, bool).tolist())))
    assert read_pack(path).pictures[3].data() == images[3]


class Harm:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("harm done",))


def test_a_pack_cannot_run_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(pickle.dumps(([Harm()] * 2, [True])))
    with pytest.raises(PackInvalid, match="print"):
        read_pack(path)
    assert "harm" not in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"nonsense", pickle.dumps([1, 2, 3]), pickle.dumps(([b"a"], [True]))])
def test_packs_that_are_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.bin").write_bytes(content)
    with pytest.raises(PackInvalid):
        read_pack(tmp_path / "x.bin")


def test_templates(tmp_path: Path) -> None:
    (tmp_path / "meta").mkdir()
    (tmp_path / "loose_crop").mkdir()
    for i in range(1, 5):
        (tmp_path / "loose_crop" / f"{i}.jpg").write_bytes(b"x")
    (tmp_path / "meta" / "ijbx_face_tid_mid.txt").write_text("1.jpg 10 1\n2.jpg 10 1\n3.jpg 10 2\n4.jpg 20 3\n")
    (tmp_path / "meta" / "ijbx_template_pair_label.txt").write_text("10 20 0\n10 10 1\n")
    points = " ".join(str(i) for i in range(10))
    (tmp_path / "meta" / "ijbx_name_5pts_score.txt").write_text("".join(f"{i}.jpg {points} 0.9\n" for i in range(1, 5)))
    found = find_templates(tmp_path)
    assert found.same.tolist() == [False, True]
    assert found.pictures[0].landmarks is not None
    assert found.pictures[0].landmarks.tolist() == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]
    vectors = np.array([[1, 0], [0, 1], [0, 1], [1, 0]], np.float32)
    pooled = pool_templates(vectors, found.template, found.medium)
    # media weigh alike: the mean of (1/2, 1/2) and (0, 1)
    np.testing.assert_allclose(pooled[10], np.array([0.25, 0.75]) / np.hypot(0.25, 0.75), atol=1e-6)
    (tmp_path / "meta" / "ijbx_template_pair_label.txt").write_text("10 30 0\n")
    with pytest.raises(ProtocolInvalid, match="template 30"):
        find_templates(tmp_path)
