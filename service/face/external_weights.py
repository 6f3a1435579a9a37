"""Weights that an ONNX graph keeps in other files: a digest of the graph says nothing of these.

The graph is a protocol buffer (https://protobuf.dev/programming-guides/encoding). Only what leads to a tensor is gone
into, by the field numbers of onnx.proto; everything else is passed over.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from service.face.errors import ModelInvalid

LEADING: dict[str, dict[int, str]] = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
    "entry": {},
}
"""Messages by the fields that lead on to a tensor's external data."""
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
FIXED = {FIXED64: 8, FIXED32: 4}


def external_files(path: Path) -> frozenset[str]:
    """Return the names of the files that an ONNX graph keeps weights in, as the graph spells them.

    Raises: ModelInvalid when the file is no graph.
    """
    try:
        return frozenset(_locations(memoryview(path.read_bytes()), "model"))
    except (IndexError, ValueError, RecursionError) as error:
        raise ModelInvalid(f"{path.name} is not an ONNX graph") from error


def require_whole(path: Path) -> None:
    """Raises: ModelInvalid when a graph keeps weights in other files, which its digest does not cover."""
    if files := external_files(path):
        raise ModelInvalid(
            f"{path.name} keeps weights in other files ({', '.join(sorted(files))}), which its digest does not cover: "
            "make one file of them with onnx.save_model(onnx.load(path), new_path)"
        )


def _locations(message: memoryview, kind: str) -> Iterator[str]:
    entry: dict[int, memoryview] = {}
    for number, value in _fields(message):
        if kind == "entry":
            entry[number] = value
        elif (inner := LEADING[kind].get(number)) is not None:
            yield from _locations(value, inner)
    if kind == "entry" and bytes(entry.get(1, b"")) == b"location":
        yield bytes(entry.get(2, b"")).decode("utf-8", "replace")


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """The fields of a message that have a length, with their numbers."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == VARINT:
            _, at = _varint(message, at)
        elif kind in FIXED:
            at += FIXED[kind]
        elif kind == BYTES:
            length, at = _varint(message, at)
            if at + length > len(message):
                raise ValueError("a field is cut short")
            yield key >> 3, message[at : at + length]
            at += length
        else:
            raise ValueError(f"no field is of kind {kind}")


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number is too long")
