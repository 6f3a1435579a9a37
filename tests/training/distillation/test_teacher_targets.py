"""Targets of a whole set, whatever became of earlier calls."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.training.conftest import MakeSet
from training.distillation.teacher_targets import compute_targets, targets_path


class Corner:
    """Embeds a crop by the colours of its corner."""

    dim = 3
    digest = "corner"

    def __init__(self, ends: bool = False) -> None:
        self._ends = ends

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        if self._ends:
            raise KeyboardInterrupt
        colours = 1 + crops[:, 0, 0].astype(np.float32)
        return colours / np.linalg.norm(colours, axis=1, keepdims=True)


def test_no_row_is_left_out_because_of_an_earlier_part(tmp_path: Path, make_set: MakeSet) -> None:
    """A mark outlived its part: of the new part nothing is done yet, though it is stopped at once."""
    crops = make_set(tmp_path / "six")
    mark = targets_path(tmp_path, Corner(), crops).with_suffix(".part.json")
    mark.write_text('{"done": 16}')
    with pytest.raises(KeyboardInterrupt):
        compute_targets(tmp_path, Corner(ends=True), crops, progress=False)
    targets = compute_targets(tmp_path, Corner(), crops, progress=False)
    np.testing.assert_allclose(np.linalg.norm(targets, axis=1), 1, rtol=1e-5)
    assert not mark.exists()
