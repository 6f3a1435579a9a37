from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from service.face.registry import Registry
from service.face.session import ModelSession
from training.tasks.detection.corruptions import DAMAGES
from training.tasks.detection.evaluate import Question, Share
from training.tasks.detection.robustness import survive


@pytest.fixture(scope="module")
def detector(model_dirs: tuple[Path, ...]) -> ModelSession:
    return ModelSession(Registry.scan(model_dirs).folders("detector")[0].model_path)


def test_faces_are_counted_in_good_pictures_and_sought_in_spoiled_ones(
    detector: ModelSession, random_session: ModelSession, astronaut: NDArray[np.uint8], cat: NDArray[np.uint8]
) -> None:
    """The bundled detector stands for the teacher; one with random weights finds nothing of size."""
    pictures = [np.ascontiguousarray(picture[::2, ::2, ::-1]) for picture in (astronaut, cat)]
    found = survive(random_session, detector, pictures, Question(operating_score=0.99))
    assert set(found) == set(DAMAGES)
    for mine, theirs in found.values():
        assert mine == Share(0, 1)  # one face, and a cat
        assert theirs.trials == 1
    again = survive(detector, detector, pictures, Question(operating_score=0.3))
    assert all(mine == theirs for mine, theirs in again.values())
    assert sum(mine.hits for mine, _ in again.values()) >= 3
