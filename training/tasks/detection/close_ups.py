"""Faces that fill their pictures: how many of a set of aligned crops the served search finds.

Each crop is sought as it is and `TIGHT`, cut at hair, ears and chin as many programs cut faces. The subject is sought,
as `verify` seeks it. The most turned ones of a set are those whose nose lies furthest off the middle of the eyes, by a
teacher's landmarks in the crop with a grey rim; crops in which the teacher finds nobody are not among them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from service.face.detection.detect import Detector
from service.face.detection.search import Seek
from service.face.session import ModelSession
from training.tasks.detection.evaluate import find_faces
from training.tasks.detection.scenes import read_bgr

TIGHT = np.s_[16:120, 20:108]
"""The rows and columns of a canonical crop, 128x128, that a face fills."""
RIM = 64
GREY = (128, 128, 128)
SEEN = 0.5


@dataclass(frozen=True, slots=True)
class CloseUps:
    """Of `pictures`, those in which no face was found, and those whose face is in doubt."""

    cut: str
    pictures: int
    missed: int
    doubtful: int

    def __str__(self) -> str:
        return f"{self.cut:<6} missed {self.missed} of {self.pictures}, in doubt {self.doubtful}"


def report_close_ups(detector: Detector, files: Sequence[Path], doubt: float) -> Iterator[CloseUps]:
    """Seek the subject of every crop. What scores less than `doubt` is doubtful."""
    for cut, part in (("whole", np.s_[:, :]), ("tight", TIGHT)):
        outcomes = [
            detector.detect(np.ascontiguousarray(read_bgr(file)[part][..., ::-1]), Seek.PROMINENT) for file in files
        ]
        doubtful = sum(bool(faces) and faces[0].score < doubt for faces in outcomes)
        yield CloseUps(cut, len(outcomes), sum(not faces for faces in outcomes), doubtful)


def most_turned(teacher: ModelSession, files: Iterable[Path], count: int) -> list[Path]:
    """The crops whose heads are turned furthest to a side, the furthest first."""
    turns = ((_turn(teacher, file), file) for file in files)
    return [file for turn, file in sorted(((turn, file) for turn, file in turns if turn is not None), reverse=True)][
        :count
    ]


def _turn(teacher: ModelSession, file: Path) -> float | None:
    """How far the nose lies off the middle of the eyes, in distances of the eyes; None where no face is seen."""
    crop = cv2.copyMakeBorder(read_bgr(file), RIM, RIM, RIM, RIM, cv2.BORDER_CONSTANT, value=GREY)
    faces = find_faces(teacher, np.asarray(crop, np.uint8), SEEN)
    if not faces:
        return None
    left, right, nose = max(faces, key=lambda face: face.score).landmarks[:3].astype(np.float64)
    across: NDArray[np.float64] = right - left
    return float(abs((nose - (left + right) / 2) @ across) / max(1.0, float(across @ across)))
