"""Crops held in memory near the size of a small input, augmented a whole batch at once.

An input of 32 pixels does not need a warp of 128. Crops are reduced once, to about twice the input's size; a batch is
then sampled straight from these, each pixel the mean of four places, and one look-up in a table does light, colour and
what the input spec subtracts and scales. Geometry and light are drawn as `training.data.augment` draws them; what
damages a crop needs its whole size, so a recipe that wants it cannot have its crops reduced.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from service.face.align import CROP, MARGIN
from service.face.manifest import InputSpec
from training.data.augment import Augment, tone_curves
from training.errors import RecipeInvalid

FINER = 2
"""Places sampled for one pixel of the input, along each side."""
WORTH_IT = 0.75
"""Crops stay as they are where reducing would leave more than this share of their side."""


def refuse_damage(spec: Augment) -> None:
    """See that an augmentation moves and lights faces, and does nothing else to them.

    Raises:
        RecipeInvalid: It damages them.
    """
    still = Augment()
    damages = [
        name
        for name in ("mask", "low_resolution", "blur", "jpeg", "occlusion", "grey", "motion", "noise", "dark")
        if getattr(spec, name) != getattr(still, name)
    ]
    if damages:
        raise RecipeInvalid(f"augment: {', '.join(damages)} needs crops of the whole size: set data.reduced: false")


def draw_light(count: int, spec: Augment, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Random tone curves of crops, (N, 3, 256), channels RGB: gain, gamma and a smaller offset, and each channel's."""
    light, channels = rng.uniform(-1, 1, (3, count)).T, rng.uniform(-1, 1, (count, 3))
    table: NDArray[np.uint8] = np.clip(tone_curves(spec, light, channels), 0, 255).astype(np.uint8)
    return table.swapaxes(1, 2)


class ReducedCrops:
    """The crops of a pool, as one input wants them."""

    def __init__(self, fetch: Callable[[int], NDArray[np.uint8]], count: int, pixels: InputSpec) -> None:
        """`fetch` gives each of `count` crops, RGB uint8 (128, 128, 3).

        Raises:
            ValueError: The spec does not describe an aligned input.
        """
        if pixels.region is None or pixels.width is None or pixels.height is None:
            raise ValueError("the model's input is not an aligned crop of fixed size")
        x0, y0, x1, y1 = (edge + MARGIN for edge in pixels.region)
        self._size = (pixels.width, pixels.height)
        finest = max(FINER * pixels.width / (x1 - x0), FINER * pixels.height / (y1 - y0))
        side = int(np.ceil(CROP * finest))
        self._side = side if side <= WORTH_IT * CROP else CROP
        # an input nearly as fine as the crop is sampled once, as the resize of serving would
        self._finer = FINER if finest <= FINER * WORTH_IT else 1
        self._fetch = fetch
        self._held = _reduce(fetch, count, self._side) if self._side < CROP else None
        self._to_crop = _places(self._size, (x0, y0, x1, y1), self._finer)
        self._to_reduced = _scaling(self._side / CROP)
        # BGR inputs are looked up with the channels turned round
        self._channels = [2, 1, 0] if pixels.colour == "BGR" else [0, 1, 2]
        levels = np.arange(256, dtype=np.float32)
        mean, scale = (np.array(values, np.float32)[:, None] for values in (pixels.mean, pixels.scale))
        self._levels = (levels - mean) * scale

    def look(
        self, indices: NDArray[np.int64], warps: NDArray[np.float64], light: NDArray[np.uint8] | None
    ) -> NDArray[np.float32]:
        """Network input (N, 3, height, width) of crops under warps (N, 2, 3) and tone curves (N, 3, 256)."""
        (width, height), finer = self._size, self._finer
        back = np.linalg.inv(_square(warps))
        matrices = (self._to_reduced @ back @ self._to_crop)[:, :2]
        seen = np.empty((len(indices), height, width, 3), np.uint8)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        for index, matrix, target in zip(indices, matrices, seen, strict=True):
            fine = cv2.warpAffine(
                self._crop(int(index)),
                matrix,
                (width * finer, height * finer),
                flags=flags,
                borderMode=cv2.BORDER_REPLICATE,
            )
            cv2.resize(fine, (width, height), dst=target, interpolation=cv2.INTER_AREA)
        values = np.ascontiguousarray(seen.transpose(0, 3, 1, 2)[:, self._channels])
        if light is None:
            tables = np.broadcast_to(self._levels, (len(indices), 3, 256))
        else:
            tables = np.take_along_axis(self._levels[None], light[:, self._channels].astype(np.intp), axis=2)
        flat = values.reshape(len(indices) * 3, height * width).astype(np.intp)
        flat += np.arange(len(flat), dtype=np.intp)[:, None] * 256
        return np.asarray(np.ascontiguousarray(tables).reshape(-1)[flat].reshape(values.shape), np.float32)

    def _crop(self, index: int) -> NDArray[np.uint8]:
        return self._fetch(index) if self._held is None else np.asarray(self._held[index])


def _reduce(fetch: Callable[[int], NDArray[np.uint8]], count: int, side: int) -> NDArray[np.uint8]:
    out = np.empty((count, side, side, 3), np.uint8)
    for place, target in enumerate(out):
        cv2.resize(fetch(place), (side, side), dst=target, interpolation=cv2.INTER_AREA)
    return out


def _places(size: tuple[int, int], region: tuple[int, int, int, int], finer: int) -> NDArray[np.float64]:
    """From a pixel of the finer input to the place in the crop, (3, 3), pixels counted at their centres."""
    x0, y0, x1, y1 = region
    along = np.array([(x1 - x0) / (size[0] * finer), (y1 - y0) / (size[1] * finer)])
    matrix = np.diag([*along, 1.0])
    matrix[:2, 2] = np.array([x0, y0]) - 0.5 + 0.5 * along
    return matrix


def _scaling(share: float) -> NDArray[np.float64]:
    """From a place in the crop to the place in the reduced one, (3, 3)."""
    matrix = np.diag([share, share, 1.0])
    matrix[:2, 2] = 0.5 * share - 0.5
    return matrix


def _square(warps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Warps (N, 2, 3) as (N, 3, 3)."""
    return np.concatenate([warps, np.broadcast_to([[[0.0, 0.0, 1.0]]], (len(warps), 1, 3))], axis=1)
