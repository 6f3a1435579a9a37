import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.training.conftest import MakeSet
from training.data.crops import Entry, SetWriter, open_set, writing_set
from training.errors import SetInvalid, SetMissing


def test_what_was_written_is_read(tmp_path: Path, faces: NDArray[np.uint8]) -> None:
    with writing_set(tmp_path / "set", ("Smiling",)) as writer:
        for i, face in enumerate(faces):
            writer.add(
                face, Entry(f"{i}.png", "" if i == 2 else f"p{i}", "test" if i == 1 else "train", None, (i % 2,))
            )
        writer.about["made_from"] = "here"
    crops = open_set(tmp_path / "set")
    np.testing.assert_array_equal(crops.crops, faces)
    assert crops.identities[:3] == ("p0", "p1", "")
    assert crops.rows("test").tolist() == [1]
    assert len(crops.rows("all")) == len(faces)
    assert crops.landmarks is None
    assert crops.attributes is not None
    assert crops.attributes[:, 0].tolist() == [0, 1, 0, 1, 0, 1]
    assert crops.about["identities"] == len(faces) - 1
    assert crops.about["made_from"] == "here"


def test_the_digest_is_that_of_the_content(tmp_path: Path, make_set: MakeSet) -> None:
    one, same, other = (make_set(tmp_path / n, each=2, seed=s) for n, s in (("a", 1), ("b", 1), ("c", 2)))
    assert one.digest == same.digest != other.digest


def fail_after_one(writer: SetWriter, face: NDArray[np.uint8]) -> None:
    writer.add(face, Entry("a", "", "train"))
    raise RuntimeError("power cut")


def test_a_failure_leaves_nothing(tmp_path: Path, faces: NDArray[np.uint8]) -> None:
    with pytest.raises(RuntimeError, match="power"), writing_set(tmp_path / "set") as writer:
        fail_after_one(writer, faces[0])
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(SetInvalid, match="not one usable face"), writing_set(tmp_path / "set"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_crop_of_another_size_is_refused(tmp_path: Path, faces: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match="128"), writing_set(tmp_path / "set") as writer:
        writer.add(faces[0][:100], Entry("a", "", "train"))


def test_sets_that_are_missing_or_damaged(tmp_path: Path, make_set: MakeSet) -> None:
    with pytest.raises(SetMissing, match="facet-train prepare"):
        open_set(tmp_path / "nowhere")
    folder = make_set(tmp_path / "set", each=1).folder
    index = (folder / "index.csv").read_text().splitlines()
    (folder / "index.csv").write_text("\n".join(index[:-1]))
    with pytest.raises(SetInvalid, match="5 lines"):
        open_set(folder)
    (folder / "set.json").write_text(json.dumps({"schema": 1}))
    with pytest.raises(SetInvalid, match="digest"):
        open_set(folder)
