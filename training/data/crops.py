"""Prepared sets: canonical crops on disk, with who is on them.

A prepared set is a folder::

    crops.npy        uint8 (N, 128, 128, 3), RGB, canonical crops (service.face.align)
    index.csv        file, identity ('' = unknown), split (train | validation | test), one line per crop
    attributes.npy   optional: int8 (N, A) of 0, 1, or -1 for unknown; the names stand in set.json
    landmarks.npy    optional: float32 (N, 5, 2), five points in crop pixels
    set.json         what it was made from, the digest, and the report of what was dropped

Crops are memory mapped: several runs share one copy in the page cache.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from service.face.align import CROP
from training.atomic_folder import whole_folder
from training.errors import SetInvalid, SetMissing

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class CropSet:
    """One prepared set. Arrays are parallel; `identities` holds '' where nobody knows."""

    name: str
    folder: Path
    digest: str
    crops: NDArray[np.uint8]
    files: tuple[str, ...]
    identities: tuple[str, ...]
    splits: NDArray[np.str_]
    attribute_names: tuple[str, ...]
    attributes: NDArray[np.int8] | None
    landmarks: NDArray[np.float32] | None
    about: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.files)

    def rows(self, split: Split | Literal["all"]) -> NDArray[np.int64]:
        """Indices of the crops in a split."""
        chosen = np.ones(len(self), bool) if split == "all" else self.splits == split
        return np.flatnonzero(chosen).astype(np.int64)


def open_set(folder: Path) -> CropSet:
    """Open a prepared set.

    Raises:
        SetMissing: There is no such set or file.
        SetInvalid: A set is damaged or does not hold what is needed.
    """
    if not (folder / "set.json").is_file():
        raise SetMissing(f"{folder} is not a prepared set: run `facet-train prepare` into it first")
    try:
        about = json.loads((folder / "set.json").read_text(encoding="utf-8"))
        crops = np.load(folder / "crops.npy", mmap_mode="r")
        with (folder / "index.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        attributes = _optional(folder / "attributes.npy")
        landmarks = _optional(folder / "landmarks.npy")
        files = tuple(row["file"] for row in rows)
        identities = tuple(row["identity"] for row in rows)
        splits = np.array([row["split"] for row in rows], dtype=np.str_)
        digest, names = str(about["digest"]), tuple(about["attributes"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SetInvalid(f"{folder}: {error}; prepare the set again") from error
    if crops.dtype != np.uint8 or crops.shape != (len(files), CROP, CROP, 3):
        raise SetInvalid(f"{folder}: crops.npy is {crops.dtype} {crops.shape}, index.csv has {len(files)} lines")
    for label, array in (("attributes", attributes), ("landmarks", landmarks)):
        if array is not None and len(array) != len(files):
            raise SetInvalid(f"{folder}: {label}.npy has {len(array)} rows, index.csv {len(files)} lines")
    return CropSet(folder.name, folder, digest, crops, files, identities, splits, names, attributes, landmarks, about)


def open_sets(data: Path, names: Sequence[str]) -> tuple[CropSet, ...]:
    """Open several prepared sets under one folder.

    Raises:
        SetMissing: There is no such set or file.
        SetInvalid: A set is damaged or does not hold what is needed.
    """
    return tuple(open_set(data / name) for name in names)


@dataclass(frozen=True, slots=True)
class Entry:
    """One crop on its way into a set."""

    file: str
    identity: str
    split: Split
    landmarks: NDArray[np.float32] | None = None
    attributes: tuple[int, ...] | None = None


class SetWriter:
    """Collects crops for a set that is being written; see `writing_set`."""

    def __init__(self, draft: Path, attribute_names: Sequence[str]) -> None:
        self._draft = draft
        self._names = tuple(attribute_names)
        self._entries: list[Entry] = []
        self._hash = hashlib.sha256()
        self._file = (draft / "crops.npy").open("w+b")
        self._header(0)
        self.about: dict[str, Any] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, crop: NDArray[np.uint8], entry: Entry) -> None:
        """Append one crop, RGB uint8 (128, 128, 3)."""
        if crop.shape != (CROP, CROP, 3) or crop.dtype != np.uint8:
            raise ValueError(f"expected a uint8 crop ({CROP}, {CROP}, 3), got {crop.dtype} {crop.shape}")
        pixels = np.ascontiguousarray(crop).tobytes()
        self._hash.update(pixels)
        self._file.write(pixels)
        self._entries.append(entry)

    def finish(self) -> None:
        """Write what stands beside the pixels.

        Raises:
            SetInvalid: There is not a single crop.
        """
        if not self._entries:
            raise SetInvalid("not one usable face: look at the report of what was dropped")
        self._header(len(self._entries))
        self._file.close()
        index = io.StringIO()
        lines = csv.writer(index, lineterminator="\n")
        lines.writerow(["file", "identity", "split"])
        lines.writerows([e.file, e.identity, e.split] for e in self._entries)
        (self._draft / "index.csv").write_text(index.getvalue(), encoding="utf-8")
        self._hash.update(index.getvalue().encode())
        if self._names:
            unknown = (-1,) * len(self._names)
            table = np.array([e.attributes or unknown for e in self._entries], dtype=np.int8)
            np.save(self._draft / "attributes.npy", table)
        landmarks = [e.landmarks for e in self._entries if e.landmarks is not None]
        if len(landmarks) == len(self._entries):
            np.save(self._draft / "landmarks.npy", np.stack(landmarks).astype(np.float32))
        about = {
            "schema": 1,
            "digest": self._hash.hexdigest(),
            "crops": len(self._entries),
            "identities": len({e.identity for e in self._entries} - {""}),
            "splits": {split: sum(e.split == split for e in self._entries) for split in SPLITS},
            "attributes": list(self._names),
            **self.about,
        }
        (self._draft / "set.json").write_text(json.dumps(about, indent=2, ensure_ascii=False) + "\n", "utf-8")

    def close(self) -> None:
        """Let go of the file; harmless after `finish`."""
        self._file.close()

    def _header(self, count: int) -> None:
        # numpy pads its headers so that the first axis may grow: the later one has the same length
        self._file.seek(0)
        shape = (count, CROP, CROP, 3)
        np.lib.format.write_array_header_1_0(self._file, {"descr": "|u1", "fortran_order": False, "shape": shape})


@contextmanager
def writing_set(folder: Path, attribute_names: Sequence[str] = ()) -> Iterator[SetWriter]:
    """Write a prepared set crop by crop; the folder appears only when all went well.

    Raises:
        SetInvalid: Nothing was added.
        FolderTaken: The folder holds something else than a prepared set.
    """
    with whole_folder(folder, "set.json") as draft:
        writer = SetWriter(draft, attribute_names)
        try:
            yield writer
            writer.finish()
        finally:
            writer.close()


def _optional(path: Path) -> NDArray[Any] | None:
    return np.load(path, mmap_mode="r") if path.exists() else None
