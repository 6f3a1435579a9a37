"""A small study of two people, with a photograph of everything that can go wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.conftest import encode
from tests.rollout.conftest import dim_portrait, other_portrait, portrait, start, zoo  # noqa: F401


@pytest.fixture(scope="session")
def people(
    astronaut: NDArray[np.uint8],
    admiral: NDArray[np.uint8],
    cat: NDArray[np.uint8],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """Four photographs of each person; one without a face, one damaged, one of both people."""
    root = tmp_path_factory.mktemp("study") / "people"
    for person, pixels in (("ann", astronaut), ("gwen", admiral)):
        (root / person).mkdir(parents=True)
        changed = (pixels, pixels[8:, 6:], (pixels * 0.7).astype(np.uint8), pixels[:, ::-1])
        for number, each in enumerate(changed):
            (root / person / f"{number}.jpg").write_bytes(encode(each))
    # the admiral's face is the larger one
    both = np.hstack([astronaut, admiral[: astronaut.shape[0]]])
    (root / "gwen" / "both.jpg").write_bytes(encode(both))
    (root / "ann" / "cat.jpg").write_bytes(encode(cat))
    (root / "gwen" / "damaged.jpg").write_bytes(encode(admiral)[:200])
    return root
