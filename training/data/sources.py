"""Where pictures come from: folders, tars, RecordIO files, `.bin` packs. All give the same items.

Identity is the label of an `index.csv` (file,identity) where there is one, else the folder a picture lies in, else
unknown. `attributes.csv` (image_id, then names; values 0, 1 or -1) is joined by the file's stem.
"""

from __future__ import annotations

import csv
import io
import lzma
import pickle
import struct
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from training.errors import PackInvalid, SetMissing

PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
MAGIC = 0xCED7230A


@dataclass(frozen=True, slots=True)
class Item:
    """One encoded picture: its name within the source, who is on it ('' = unknown), and its attributes if any."""

    file: str
    identity: str
    data: bytes
    attributes: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Pictures:
    """An opened source: about how many items, the attribute names, and the items themselves, once."""

    count: int | None
    attribute_names: tuple[str, ...]
    items: Iterator[Item]


def open_source(path: Path) -> Pictures:
    """Open a folder, .tar, .rec or .bin.

    Raises:
        SetMissing: There is no such set or file.
        PackInvalid: The pack cannot be read.
    """
    if path.is_dir():
        return _folder(path)
    if not path.is_file():
        raise SetMissing(f"{path} does not exist: give a folder, a .tar, a .rec or a .bin file")
    suffixes = "".join(path.suffixes[-2:]).lower()
    if ".tar" in suffixes or suffixes.endswith(".tgz"):
        return _tar(path)
    if path.suffix == ".rec":
        return Pictures(None, (), _records(path))
    if path.suffix == ".bin":
        images, _ = read_bin(path)
        return Pictures(len(images), (), (Item(f"{i:06d}", "", data) for i, data in enumerate(images)))
    raise PackInvalid(f"{path}: neither a folder nor a .tar, .rec or .bin file")


def read_bin(path: Path) -> tuple[list[bytes], list[bool]]:
    """Read a `.bin` verification pack: encoded images, two per pair, and whether each pair is of one person.

    The format is a pickle of (list of bytes or uint8 arrays, list of bool), as the ArcFace packs of LFW, CFP-FP,
    AgeDB-30, CALFW and CPLFW. Nothing but those types is unpickled.

    Raises:
        PackInvalid: The pack cannot be read.
    """
    try:
        with path.open("rb") as file:
            images, same = _PlainUnpickler(file, encoding="bytes").load()
        data = [bytes(np.asarray(x, np.uint8)) if isinstance(x, np.ndarray) else bytes(x) for x in images]
        flags = [bool(x) for x in same]
    except (OSError, EOFError, ValueError, TypeError, AttributeError, pickle.UnpicklingError) as error:
        raise PackInvalid(f"{path}: not a pack of encoded images and an is-same list ({error})") from error
    if len(data) != 2 * len(flags):
        raise PackInvalid(f"{path}: {len(data)} images for {len(flags)} pairs; two for each are expected")
    return data, flags


class _PlainUnpickler(pickle.Unpickler):
    """Unpickles lists, bytes, booleans and NumPy arrays; a pack that asks for anything else is refused."""

    _allowed = frozenset(
        {
            *(
                (module, name)
                for module in ("numpy.core.multiarray", "numpy._core.multiarray")
                for name in ("_reconstruct", "scalar")
            ),
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
            ("numpy", "bool_"),
            ("_codecs", "encode"),
        }
    )

    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in self._allowed:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which a pack of images has no use for")
        return super().find_class(module, name)


def _folder(root: Path) -> Pictures:
    files = sorted(p for p in root.rglob("*") if p.suffix.lower() in PICTURES)
    if not files:
        raise SetMissing(f"{root} holds no picture ({', '.join(sorted(PICTURES))})")
    index = _index(root / "index.csv")
    names, table = _attributes(root / "attributes.csv")

    def items() -> Iterator[Item]:
        for path in files:
            name = path.relative_to(root).as_posix()
            yield Item(name, _identity(name, index), path.read_bytes(), table.get(path.stem))

    return Pictures(len(files), names, items())


def _tar(path: Path) -> Pictures:
    try:
        with tarfile.open(path) as tar:
            members = [m.name for m in tar if m.isfile()]
            index = _index_text(_member(tar, members, "index.csv"))
            names, table = _attributes_text(_member(tar, members, "attributes.csv"))
    except (tarfile.TarError, OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise PackInvalid(f"{path}: not a readable tar ({error})") from error

    def items() -> Iterator[Item]:
        with tarfile.open(path) as tar:
            for member in tar:
                name = PurePosixPath(member.name)
                if member.isfile() and name.suffix.lower() in PICTURES:
                    file = tar.extractfile(member)
                    assert file is not None
                    where = name.as_posix().removeprefix("./")
                    yield Item(where, _identity(where, index), file.read(), table.get(name.stem))

    pictures = sum(PurePosixPath(name).suffix.lower() in PICTURES for name in members)
    if not pictures:
        raise PackInvalid(f"{path} holds no picture")
    return Pictures(pictures, names, items())


def _records(path: Path) -> Iterator[Item]:
    """MXNet RecordIO of images, as InsightFace packs its training sets: each record has a label, an id and a JPEG."""
    with path.open("rb") as file:
        while head := file.read(8):
            if len(head) < 8:
                raise PackInvalid(f"{path}: ends within a record")
            magic, packed = struct.unpack("<II", head)
            kind, length = packed >> 29, packed & ((1 << 29) - 1)
            if magic != MAGIC or kind:
                raise PackInvalid(f"{path}: not a RecordIO file of whole records (at byte {file.tell() - 8})")
            payload = file.read(length)
            file.read(-length % 4)
            if len(payload) != length or length < 24:
                raise PackInvalid(f"{path}: ends within a record")
            flag, label, number, _ = struct.unpack("<IfQQ", payload[:24])
            body = payload[24 + 4 * flag :]
            if flag:
                label = struct.unpack("<f", payload[24:28])[0]
            if body:  # records without a picture hold the ranges of each identity
                yield Item(f"{number:09d}", str(int(label)), body)


def _identity(name: str, index: Mapping[str, str] | None) -> str:
    if index is not None:
        return index.get(name, "")
    parent = PurePosixPath(name).parent
    return "" if parent == PurePosixPath() else parent.as_posix()


def _index(path: Path) -> dict[str, str] | None:
    return _index_text(path.read_text(encoding="utf-8")) if path.is_file() else None


def _index_text(text: str | None) -> dict[str, str] | None:
    if text is None:
        return None
    rows = csv.DictReader(io.StringIO(text))
    if not {"file", "identity"} <= set(rows.fieldnames or ()):
        raise PackInvalid("index.csv needs the columns file and identity")
    return {row["file"]: row["identity"] for row in rows}


def _attributes(path: Path) -> tuple[tuple[str, ...], dict[str, tuple[int, ...]]]:
    return _attributes_text(path.read_text(encoding="utf-8") if path.is_file() else None)


def _attributes_text(text: str | None) -> tuple[tuple[str, ...], dict[str, tuple[int, ...]]]:
    if text is None:
        return (), {}
    rows = [row for row in csv.reader(io.StringIO(text)) if row]
    names = tuple(rows[0][1:]) if rows else ()
    try:
        table = {PurePosixPath(row[0]).stem: tuple(int(v) for v in row[1:]) for row in rows[1:]}
    except ValueError as error:
        raise PackInvalid(f"attributes.csv: {error}; values are 0, 1 or -1 for unknown") from error
    for stem, values in table.items():
        if len(values) != len(names) or not set(values) <= {-1, 0, 1}:
            raise PackInvalid(f"attributes.csv: {stem} needs {len(names)} values of 0, 1 or -1 for unknown")
    return names, table


def _member(tar: tarfile.TarFile, members: list[str], name: str) -> str | None:
    for member in members:
        if member.removeprefix("./") == name:
            file = tar.extractfile(member)
            return file.read().decode() if file is not None else None
    return None
