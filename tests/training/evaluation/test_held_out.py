"""Who is held out is who the set says today."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.data.crops import CropSet, Entry, open_set, writing_set
from training.evaluation.held_out import hold_out


def prepared(folder: Path, faces: NDArray[np.uint8], tested: int) -> CropSet:
    """Six people of one crop, the first so many for testing."""
    with writing_set(folder) as writer:
        for i, face in enumerate(faces):
            writer.add(face, Entry(f"{i}.png", f"person {i}", "test" if i < tested else "train"))
    return open_set(folder)


def test_people_of_an_earlier_set_are_not_held_out_when_it_is_made_again(
    tmp_path: Path, faces: NDArray[np.uint8]
) -> None:
    crops = prepared(tmp_path / "mine", faces, 4)
    first = hold_out(crops, tmp_path / "mine-held-out")
    assert first.identities == tuple(f"person {i}" for i in range(4))
    assert hold_out(crops, tmp_path / "mine-held-out").digest == first.digest
    fewer = prepared(tmp_path / "mine", faces, 2)
    assert hold_out(fewer, tmp_path / "mine-held-out").identities == ("person 0", "person 1")
