"""Which crops a graph's ranges are found on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from training.data.crops import Entry, open_set, writing_set
from training.errors import ExportFailed
from training.export.export import draw


def test_crops_of_a_split_are_drawn_from_it_alone(tmp_path: Path, faces: NDArray[np.uint8]) -> None:
    with writing_set(tmp_path / "mine") as writer:
        for i, face in enumerate(faces):
            writer.add(face, Entry(f"{i}.png", f"person {i}", "test" if i < 4 else "train"))
    crops = open_set(tmp_path / "mine")
    assert sorted(crop.tobytes() for crop in draw([crops], 2, 0, "train")) == sorted(
        face.tobytes() for face in faces[4:]
    )
    assert len(draw([crops], 6, 0)) == 6
    with pytest.raises(ExportFailed, match="the sets hold 2"):
        draw([crops], 3, 0, "train")


def test_a_large_set_makes_up_for_a_small_one(tmp_path: Path, faces: NDArray[np.uint8]) -> None:
    sets = []
    for name, count in (("small", 1), ("large", 5)):
        with writing_set(tmp_path / name) as writer:
            for i, face in enumerate(faces[-count:]):
                writer.add(face, Entry(f"{i}.png", "", "train"))
        sets.append(open_set(tmp_path / name))
    assert len(draw(sets, 5, 0)) == 5
    with pytest.raises(ExportFailed, match="the sets hold 6"):
        draw(sets, 7, 0)
