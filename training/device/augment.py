"""Augmentation of a whole batch of crops on the device: what `training.data.augment` does to one crop, in tensors.

One warp takes a crop to the student's input: flip, shift, scale, rotation, and the region that the student sees.
Light, lost colour, a rectangle, darkness, blur, movement, pixels and noise follow; a painted mask is a rounded shape
of one cloth colour. JPEG is the rounding of an 8x8 cosine transform. Strengths are those of the recipe.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

CROP, MARGIN = 128, 8


class DeviceAugment:
    """Draws from the device's own generator: runs there are not repeated exactly."""

    def __init__(self, spec: Mapping[str, Any], pixels: Mapping[str, Any], device: torch.device) -> None:
        self._spec, self._device = spec, device
        x0, y0, x1, y1 = (edge + MARGIN for edge in pixels["region"])
        self._size = (int(pixels["height"]), int(pixels["width"]))
        half = CROP / 2
        # the middle and half the extent of the region, in the units of grid_sample (-1..1 over the crop)
        self._middle = torch.tensor([(x0 + x1) / 2 / half - 1, (y0 + y1) / 2 / half - 1], device=device)
        self._extent = torch.tensor([(x1 - x0) / CROP, (y1 - y0) / CROP], device=device)
        self._mean = torch.tensor(pixels["mean"], device=device).view(1, 3, 1, 1)
        self._scale = torch.tensor(pixels["scale"], device=device).view(1, 3, 1, 1)
        self._backwards = pixels["colour"] == "BGR"
        self._cosines = _cosines().to(device)

    def __call__(self, crops: Tensor) -> Tensor:
        """RGB uint8 (N, 3, 128, 128) -> the student's input, float32 (N, 3, H, W)."""
        x = crops.float()
        x = self._veil(x)
        x = F.grid_sample(x, self._grid(len(x)), mode="bilinear", padding_mode="border", align_corners=False)
        x = self._shine(x)
        x = self._soften(x)
        x = self._compress(x).clamp(0, 255)
        if self._backwards:
            x = x.flip(1)
        return (x - self._mean) * self._scale

    def clean(self, crops: Tensor) -> Tensor:
        """The same crops as serving sees them."""
        eye = torch.eye(2, 3, device=self._device).repeat(len(crops), 1, 1)
        x = F.grid_sample(
            crops.float(), self._regions(eye), mode="bilinear", padding_mode="border", align_corners=False
        ).round()
        return ((x.flip(1) if self._backwards else x) - self._mean) * self._scale

    def _grid(self, count: int) -> Tensor:
        spec = self._spec
        rolled = self._chance(count, spec["roll"])
        most = torch.where(rolled, max(spec["rolled"], spec["rotate"]), spec["rotate"])
        angle = torch.deg2rad(self._even(count) * most)
        factor = 1 + self._even(count) * spec["scale"]
        mirror = torch.where(self._chance(count, spec["flip"]), -1.0, 1.0)
        matrix = torch.zeros(count, 2, 3, device=self._device)
        matrix[:, 0, 0], matrix[:, 0, 1] = mirror * angle.cos() / factor, mirror * angle.sin() / factor
        matrix[:, 1, 0], matrix[:, 1, 1] = -angle.sin() / factor, angle.cos() / factor
        matrix[:, :, 2] = torch.stack([self._even(count), self._even(count)], 1) * spec["shift"] / (CROP / 2)
        return self._regions(matrix)

    def _regions(self, matrix: Tensor) -> Tensor:
        height, width = self._size
        ys = (torch.arange(height, device=self._device) + 0.5) / height * 2 - 1
        xs = (torch.arange(width, device=self._device) + 0.5) / width * 2 - 1
        place = torch.stack(torch.meshgrid(xs, ys, indexing="xy"), -1) * self._extent + self._middle
        whole = torch.cat([place, torch.ones_like(place[..., :1])], -1)
        return torch.einsum("hwk,njk->nhwj", whole, matrix)

    def _veil(self, x: Tensor) -> Tensor:
        count, covered = len(x), self._chance(len(x), self._spec["mask"])
        ys, xs = torch.meshgrid(*(torch.arange(CROP, device=self._device) * 1.0 for _ in range(2)), indexing="ij")
        top = 72 + self._even(count).view(-1, 1, 1) * 7
        side = 40 + self._even(count).view(-1, 1, 1) * 4
        upper = ys[None] > top + ((xs - 64)[None] / 40) ** 2 * 4
        within = ((xs - 64)[None] / side) ** 4 + ((ys[None] - top) / 56).clamp(min=0) ** 4 < 1
        shape = F.avg_pool2d((upper & within).float()[:, None], 3, 1, 1)
        # the mean of a square, along one side and then along the other: a sixteenth of the sums
        light = F.avg_pool2d(F.avg_pool2d(x.mean(1, keepdim=True), (31, 1), 1, (15, 0)), (1, 31), 1, (0, 15)) / 128
        cloth = torch.rand(count, 3, 1, 1, device=self._device) * 255 * (0.5 + 0.5 * light)
        alpha = shape * covered.view(-1, 1, 1, 1)
        return x * (1 - alpha) + cloth * alpha

    def _shine(self, x: Tensor) -> Tensor:
        spec, count = self._spec, len(x)
        gamma = torch.exp(self._even(count) * spec["light"]).view(-1, 1, 1, 1)
        gain = 1 + self._even(count).view(-1, 1, 1, 1) * spec["light"]
        offset = self._even(count).view(-1, 1, 1, 1) * spec["light"] * 64
        colour = 1 + (torch.rand(count, 3, 1, 1, device=self._device) * 2 - 1) * spec["colour"]
        x = ((x.clamp(0, 255) / 255) ** gamma * 255 * gain + offset) * colour
        grey = self._chance(count, spec["grey"]).view(-1, 1, 1, 1)
        x = self._occlude(torch.where(grey, x.mean(1, keepdim=True), x).clamp(0, 255))
        dim = torch.rand(count, 1, 1, 1, device=self._device)
        exposed = 0.15 ** (0.3 + 0.7 * dim)
        noisy = ((x * exposed).round() + torch.randn_like(x) * (1 + 2 * dim)).clamp(0, 255)
        return torch.where(self._chance(count, spec["dark"]).view(-1, 1, 1, 1), noisy * exposed**-0.6, x)

    def _occlude(self, x: Tensor) -> Tensor:
        spec, count = self._spec, len(x)
        sides = torch.rand(2, count, 1, device=self._device) * spec["largest"]
        starts = torch.rand(2, count, 1, device=self._device) * (1 - sides)
        # where the view's pixels lie in the crop, 0..1 of it
        ys, xs = (
            (((torch.arange(size, device=self._device) + 0.5) / size * 2 - 1) * extent + middle + 1) / 2
            for size, extent, middle in zip(self._size, self._extent.flip(0), self._middle.flip(0), strict=True)
        )
        ends = zip((ys, xs), starts, starts + sides, strict=True)
        rows, columns = ((at >= start) & (at < end) for at, start, end in ends)
        hidden = rows[:, None, :, None] & columns[:, None, None, :]
        grey = torch.rand(count, 1, 1, 1, device=self._device) * 255
        return torch.where(hidden & self._chance(count, spec["occlusion"]).view(-1, 1, 1, 1), grey, x)

    def _soften(self, x: Tensor) -> Tensor:
        spec, count = self._spec, len(x)
        side = torch.arange(-4, 5, device=self._device).float()
        sigma = (0.3 + torch.rand(count, 1, device=self._device) * max(0.01, spec["sigma"] - 0.3)).square() * 2
        round_ = torch.exp(-(side.square()) / sigma)
        kernel = round_[:, :, None] * round_[:, None, :]
        turn = torch.rand(count, 1, 1, device=self._device) * torch.pi
        reach = (0.25 + 0.75 * torch.rand(count, 1, 1, device=self._device)) * min(4.0, spec["length"] / 2)
        across = side[None, None, :] * turn.sin() - side[None, :, None] * turn.cos()
        along = side[None, None, :] * turn.cos() + side[None, :, None] * turn.sin()
        line = (1 - across.abs()).clamp(min=0) * (along.abs() <= reach)
        still = torch.zeros_like(kernel)
        still[:, 4, 4] = 1
        chosen = torch.where(self._chance(count, spec["blur"]).view(-1, 1, 1), kernel, still)
        chosen = torch.where(self._chance(count, spec["motion"]).view(-1, 1, 1), line, chosen)
        chosen = chosen / chosen.sum((1, 2), keepdim=True)
        height, width = x.shape[2:]
        flat = F.pad(x, (4, 4, 4, 4), mode="replicate").reshape(1, -1, height + 8, width + 8)
        weights = chosen.repeat_interleave(3, 0)[:, None]
        return F.conv2d(flat, weights, groups=3 * count).view(count, 3, height, width)

    def _compress(self, x: Tensor) -> Tensor:
        spec, count = self._spec, len(x)
        coarse = max(8, int(spec["smallest"] * (CROP / spec["smallest"]) ** float(torch.rand(1))))
        small = F.interpolate(x, scale_factor=min(1.0, coarse / CROP), mode="area")
        small = F.interpolate(small, size=x.shape[2:], mode="bilinear", align_corners=False)
        x = torch.where(self._chance(count, spec["low_resolution"]).view(-1, 1, 1, 1), small, x)
        level = 2 + torch.rand(count, 1, 1, 1, device=self._device) * max(0.0, spec["grain"] - 2)
        noise = torch.randn_like(x) * level * (0.3 + 0.7 * x.clamp(0, 255) / 128).sqrt()
        x = x + noise * self._chance(count, spec["noise"]).view(-1, 1, 1, 1)
        height, width = x.shape[2] // 8 * 8, x.shape[3] // 8 * 8
        blocks = x[:, :, :height, :width].reshape(count, 3, height // 8, 8, width // 8, 8)
        values = torch.einsum("ij,nchjwk,lk->nchiwl", self._cosines, blocks, self._cosines)
        step = 4 + torch.rand(count, 1, 1, 1, 1, 1, device=self._device) * (100 - spec["quality"]) / 2
        rough = torch.arange(8, device=self._device)
        steps = step * (1 + (rough.view(1, 1, 1, 8, 1, 1) + rough) / 4)
        kept = torch.einsum("ij,nchiwl,lk->nchjwk", self._cosines, (values / steps).round() * steps, self._cosines)
        squeezed = x.clone()
        squeezed[:, :, :height, :width] = kept.reshape(count, 3, height, width)
        return torch.where(self._chance(count, spec["jpeg"]).view(-1, 1, 1, 1), squeezed, x)

    def _even(self, count: int) -> Tensor:
        return torch.rand(count, device=self._device) * 2 - 1

    def _chance(self, count: int, share: float) -> Tensor:
        return torch.rand(count, device=self._device) < share


def _cosines() -> Tensor:
    """The orthonormal 8x8 matrix of the cosine transform."""
    k, n = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    matrix = torch.cos(torch.pi * (2 * n + 1) * k / 16) / 2
    matrix[0] /= 2**0.5
    return matrix
