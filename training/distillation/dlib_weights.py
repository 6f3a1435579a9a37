"""Reads the tensors of dlib's face recognition network from its own file, so that it need not be run by dlib.

dlib writes a layer as its name, then its tensors and numbers, and here the layers stand in the order in which they are
computed. A whole number is a byte that counts the bytes which follow, least significant first; a tensor is its version,
four sizes, and its values as little-endian float32 (`dlib/serialize.h`, `dlib/cuda/tensor.h`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.errors import TeacherMissing

Values = NDArray[np.float32]
LAYER = re.compile(rb"\x01\x05con_4|\x01\x07affine_|\x01\x04fc_2")


@dataclass(frozen=True, slots=True)
class Convolution:
    """A convolution and the affine layer behind it, as one: weights (O, I, H, W), bias (O,), stride and padding."""

    weight: Values
    bias: Values
    stride: int
    padding: int


def read_layers(data: bytes) -> tuple[list[Convolution], Values]:
    """Read all convolutions in their order, and the last layer (inputs, outputs).

    Raises:
        TeacherMissing: The file is not that network's.
    """
    layers: list[Convolution] = []
    last: Values | None = None
    try:
        for match in LAYER.finditer(data):
            name, reader = match.group()[2:], _Reader(data, match.end())
            if name == b"con_4":
                layers.append(_read_convolution(reader))
            elif name == b"affine_":
                layers.append(_fold(layers.pop(), *reader.tensor().reshape(2, -1)))
            else:
                outputs, inputs = reader.number(), reader.number()
                last = reader.tensor().reshape(inputs, outputs)
    except (IndexError, ValueError) as error:
        raise TeacherMissing(f"dlib's network cannot be read: {error}") from error
    if last is None or not layers:
        raise TeacherMissing("dlib's network cannot be read: it holds no such layers")
    return layers, last


class _Reader:
    """Reads on from a place in the file."""

    def __init__(self, data: bytes, place: int) -> None:
        self._data, self._place = data, place

    def number(self) -> int:
        count = self._data[self._place] & 0x0F
        value = int.from_bytes(self._data[self._place + 1 : self._place + 1 + count], "little")
        self._place += 1 + count
        return value

    def numbers(self, count: int) -> Iterator[int]:
        return (self.number() for _ in range(count))

    def tensor(self) -> Values:
        if self.number() != 2:
            raise ValueError("a tensor of another version")
        size = int(np.prod(list(self.numbers(4))))
        values = np.frombuffer(self._data, "<f4", size, self._place)
        self._place += values.nbytes
        return values


def _read_convolution(reader: _Reader) -> Convolution:
    values = reader.tensor()
    filters, height, width, stride, _, padding, _ = reader.numbers(7)
    _, *shape = reader.numbers(5)
    if shape[0] != filters or shape[2:] != [height, width]:
        raise ValueError(f"{filters} filters of {height}x{width} do not have the shape {shape}")
    weights = int(np.prod(shape))
    return Convolution(values[:weights].reshape(shape), values[weights : weights + filters], stride, padding)


def _fold(layer: Convolution, gain: Values, offset: Values) -> Convolution:
    weight = layer.weight * gain[:, None, None, None]
    return Convolution(weight, layer.bias * gain + offset, layer.stride, layer.padding)
