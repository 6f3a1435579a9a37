"""Crops of a protocol's pictures are cut once, for these pictures and these landmarks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.face.registry import Registry
from tests.conftest import encode
from tests.training.conftest import ASTRONAUT
from training.evaluation.protocols import Picture
from training.evaluation.vectors import cut_crops


def test_other_landmarks_are_not_answered_with_the_crops_of_the_first(
    model_dirs: tuple[Path, ...], astronaut: NDArray[np.uint8], tmp_path: Path
) -> None:
    detector = Registry.scan(model_dirs).folders("detector")[0].detector()
    data = encode(astronaut, "PNG")

    def cut(points: NDArray[np.float32]) -> NDArray[np.uint8]:
        picture = Picture("ann.png", "", lambda: data, points)
        return cut_crops([picture], detector, tmp_path, progress=False).crops

    first = cut(ASTRONAUT)
    np.testing.assert_array_equal(cut(ASTRONAUT), first)
    assert (cut(ASTRONAUT + np.float32(20)) != first).any()
