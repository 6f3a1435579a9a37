"""Published evaluation layouts, read as they are published.

* LFW View 1: `pairsDevTrain.txt`, `pairsDevTest.txt` beside the folders of people; View 2: `pairs.txt` in ten folds
  (Huang et al., 2007).
* `.bin` packs of aligned crops: LFW, CFP-FP, AgeDB-30, CALFW, CPLFW as ArcFace packs them; ten folds in their order.
* IJB-B/C-style templates: `*_face_tid_mid.txt` (image, template, media), `*_template_pair_label.txt`, and where given
  `*_name_5pts_score.txt` with five landmarks for each image.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from service.measures.lfw import LfwListInvalid, LfwPhotograph, parse_lfw_pairs
from service.measures.thresholds import FOLDS
from training.data.sources import read_bin
from training.errors import ProtocolInvalid


@dataclass(frozen=True, slots=True)
class Picture:
    """One image of a protocol: its name, who is on it ('' = unknown), how to get its bytes, landmarks if published."""

    name: str
    person: str
    data: Callable[[], bytes]
    landmarks: NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs of pictures: `left` and `right` are indices into `pictures`, `same` the truth, `fold` the fold's number.

    `aligned`: the pictures are crops, not photographs.
    """

    name: str
    pictures: tuple[Picture, ...]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    same: NDArray[np.bool_]
    fold: NDArray[np.int64]
    aligned: bool = False

    def people(self) -> list[tuple[str, str]] | None:
        """Who is in each pair; None where the pack does not say."""
        if any(not picture.person for picture in self.pictures):
            return None
        return [(self.pictures[a].person, self.pictures[b].person) for a, b in zip(self.left, self.right, strict=True)]


def read_lfw_view2(root: Path, pairs: Path | None = None) -> Pairs:
    """LFW View 2 from `pairs.txt` (default: in `root`).

    Raises:
        ProtocolInvalid: The evaluation set is incomplete or contradicts itself.
    """
    return _read_lfw("lfw-view2", root, pairs or _beside(root, "pairs.txt"), 2)


def read_lfw_view1(root: Path, part: str) -> Pairs:
    """LFW View 1, `part` being Train or Test.

    Raises:
        ProtocolInvalid: The evaluation set is incomplete or contradicts itself.
    """
    return _read_lfw(f"lfw-view1-dev{part.lower()}", root, _beside(root, f"pairsDev{part}.txt"), 1)


def read_pack(path: Path) -> Pairs:
    """A `.bin` pack, in ten folds in its own order.

    Raises:
        PackInvalid: The pack cannot be read.
        ProtocolInvalid: The evaluation set is incomplete or contradicts itself.
    """
    images, same = read_bin(path)
    if len(same) < FOLDS:
        raise ProtocolInvalid(f"{path}: {len(same)} pairs do not make {FOLDS} folds")
    pictures = tuple(Picture(f"{path.stem}/{i:06d}", "", _constant(data)) for i, data in enumerate(images))
    left = np.arange(0, len(images), 2)
    fold = np.concatenate([np.full(len(part), i) for i, part in enumerate(np.array_split(left, FOLDS))])
    return Pairs(path.stem, pictures, left, left + 1, np.array(same), fold, aligned=True)


@dataclass(frozen=True, slots=True)
class Templates:
    """IJB-style: each picture belongs to a template and a medium; templates are compared in pairs."""

    name: str
    pictures: tuple[Picture, ...]
    template: NDArray[np.int64]
    medium: NDArray[np.int64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    same: NDArray[np.bool_]


def read_templates(members: Path, pairs: Path, images: Path, landmarks: Path | None = None) -> Templates:
    """Read the lists of an IJB-style protocol.

    Raises:
        ProtocolInvalid: The evaluation set is incomplete or contradicts itself.
    """
    rows = [line.split() for line in _lines(members)]
    if any(len(row) != 3 for row in rows):
        raise ProtocolInvalid(f"{members}: every line gives image, template and medium")
    points = _points(landmarks) if landmarks is not None else {}
    pictures = []
    for name, _, _ in rows:
        path = images / name
        if not path.is_file():
            raise ProtocolInvalid(f"{path} is listed in {members.name} and does not exist")
        pictures.append(Picture(name, "", path.read_bytes, points.get(name)))
    compared = np.loadtxt(pairs, dtype=np.int64, ndmin=2)
    if compared.shape[1] != 3:
        raise ProtocolInvalid(f"{pairs}: every line gives two templates and 0 or 1")
    template = np.array([int(row[1]) for row in rows])
    if unknown := set(compared[:, :2].ravel()) - set(template):
        raise ProtocolInvalid(f"{pairs}: template {min(unknown)} has no image in {members.name}")
    medium = np.array([int(row[2]) for row in rows])
    return Templates(pairs.stem, tuple(pictures), template, medium, compared[:, 0], compared[:, 1], compared[:, 2] > 0)


def find_templates(root: Path) -> Templates:
    """The lists of an IJB folder in the usual layout: `meta/` with the lists, `loose_crop/` with the pictures.

    Raises:
        ProtocolInvalid: The evaluation set is incomplete or contradicts itself.
    """
    meta = root / "meta" if (root / "meta").is_dir() else root
    lists: dict[str, list[Path]] = {}
    for kind in ("face_tid_mid", "template_pair_label", "name_5pts_score"):
        lists[kind] = sorted(meta.glob(f"*{kind}.txt"))
        if not lists[kind] and kind != "name_5pts_score":
            raise ProtocolInvalid(f"{meta} holds no *_{kind}.txt")
    images = root / "loose_crop" if (root / "loose_crop").is_dir() else root
    points = lists["name_5pts_score"]
    return read_templates(
        lists["face_tid_mid"][0], lists["template_pair_label"][0], images, points[0] if points else None
    )


def pool_templates(
    vectors: NDArray[np.float32], template: NDArray[np.int64], medium: NDArray[np.int64]
) -> dict[int, NDArray[np.float32]]:
    """One unit vector per template: the mean of its media, each the mean of its pictures (unit vectors (N, D))."""
    pooled: dict[int, NDArray[np.float32]] = {}
    for name in np.unique(template):
        mine = np.flatnonzero(template == name)
        media = [vectors[mine[medium[mine] == m]].mean(axis=0) for m in np.unique(medium[mine])]
        mean = np.mean(media, axis=0)
        pooled[int(name)] = np.asarray(mean / np.linalg.norm(mean), dtype=np.float32)
    return pooled


def _read_lfw(name: str, root: Path, path: Path, view: Literal[1, 2]) -> Pairs:
    try:
        listed = parse_lfw_pairs("\n".join(_lines(path)), view)
    except LfwListInvalid as error:
        raise ProtocolInvalid(f"{path}: {error}") from error
    number: dict[LfwPhotograph, int] = {}
    places = [[number.setdefault(photograph, len(number)) for photograph in pair] for pair in listed.pairs]
    left, right = np.array(places, dtype=np.int64).T
    folds = listed.folds if listed.folds is not None else np.zeros(len(left), dtype=np.int64)
    return Pairs(name, tuple(_lfw_picture(root, each) for each in number), left, right, listed.genuine, folds)


def _lfw_picture(root: Path, photograph: LfwPhotograph) -> Picture:
    for suffix in (".jpg", ".png", ".jpeg"):
        path = root / f"{photograph.stem}{suffix}"
        if path.is_file():
            return Picture(path.name, photograph.person, path.read_bytes)
    raise ProtocolInvalid(f"{root / photograph.stem}.jpg is in the list of pairs and does not exist")


def _points(path: Path) -> dict[str, NDArray[np.float32]]:
    points = {}
    for line in _lines(path):
        cells = line.split()
        if len(cells) < 11:
            raise ProtocolInvalid(f"{path}: every line gives an image and ten coordinates")
        points[cells[0]] = np.array(cells[1:11], dtype=np.float32).reshape(5, 2)
    return points


def _beside(root: Path, name: str) -> Path:
    for folder in (root, root.parent):
        if (folder / name).is_file():
            return folder / name
    raise ProtocolInvalid(f"no {name} in {root} or beside it")


def _lines(path: Path) -> list[str]:
    try:
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise ProtocolInvalid(f"{path}: {error}") from error
    if not lines:
        raise ProtocolInvalid(f"{path} is empty")
    return lines


def _constant(data: bytes) -> Callable[[], bytes]:
    return lambda: data
