"""The detection protocol: how well a detector stands in for its teacher on scenes neither was trained on.

The teacher is the measure, so nothing here is labelled by hand, and the teacher's own unsteadiness (the same scene at
0.8 and 1.25 of its size) says how much of a difference means anything.

- recall: of the faces the teacher finds at `reference_score` and of at least `side` pixels (box height), the share the
  student finds at its operating score with an overlap (IoU) of at least 0.5;
- false alarms: detections per image at the operating score that overlap no teacher detection at `doubt_score`, a low
  score, by 0.5 or more. For the teacher: detections in the resized scene that do the same with the scene as it is, at
  the operating score and at `reference_score`;
- landmark error: mean distance of a face's five points from the teacher's, in eye distances; jitter: the same between
  the teacher on the resized scene, mapped back, and the teacher on the scene as it is. Both over faces: the median, and
  the mean, which faces in profile rule, whose eyes nearly coincide;
- speed: median time of one graph over the other's, one thread, 640x480, taken in turns.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from service.face.detection.detection import Detection, decode, overlap, suppress
from service.face.session import ModelSession
from service.measures.intervals import wilson
from training.tasks.detection.scenes import read_bgr

Image = NDArray[np.uint8]

RESIZES = (0.8, 1.25)
SAME_FACE = 0.5  # intersection over union
NMS_IOU = 0.3
MODEL_STEP = 32  # sides the graphs take are multiples of this
#: Box heights in pixels at which recall is told apart.
HEIGHTS = (16, 24, 32, 64, 128, 100_000)


@dataclass(frozen=True, slots=True)
class Question:
    """At what scores, and from which box height in pixels, the two are compared."""

    operating_score: float = 0.6
    reference_score: float = 0.8
    doubt_score: float = 0.5
    side: float = 32.0


@dataclass(frozen=True, slots=True)
class Share:
    """`hits` of `trials`."""

    hits: int
    trials: int

    @property
    def value(self) -> float:
        """The proportion; NaN without trials."""
        return self.hits / self.trials if self.trials else float("nan")

    def __str__(self) -> str:
        if not self.trials:
            return "no trials"
        low, high = wilson(self.hits, self.trials)
        return f"{self.value:.2%} ({self.hits} of {self.trials}, 95 % interval {low:.2%} to {high:.2%})"


@dataclass(slots=True)
class DetectionReport:
    """What was counted over `images`; errors are lists of one number a face, in eye distances."""

    images: int = 0
    found: dict[str, Share] = field(default_factory=dict)
    recall: Share = Share(0, 0)
    student_alarms: int = 0
    teacher_alarms: float = 0.0
    teacher_sure_alarms: float = 0.0
    landmark_errors: list[float] = field(default_factory=list)
    jitters: list[float] = field(default_factory=list)

    def summary(self) -> dict[str, object]:
        """Plain numbers for a card or a JSON file."""
        images = max(1, self.images)
        return {
            "images": self.images,
            "recall": asdict(self.recall) | {"value": self.recall.value},
            "recall_by_height": {name: asdict(share) for name, share in self.found.items()},
            "false_alarms_per_image": self.student_alarms / images,
            "teacher_false_alarms_per_image": self.teacher_alarms / images,
            "teacher_sure_false_alarms_per_image": self.teacher_sure_alarms / images,
            "landmark_error": _centre(self.landmark_errors),
            "teacher_jitter": _centre(self.jitters),
        }

    def lines(self) -> Iterator[str]:
        """The report as text."""
        images = max(1, self.images)
        yield f"recall                 {self.recall}"
        for name, share in self.found.items():
            yield f"  height {name:<13} {share}"
        mine, theirs, sure = (n / images for n in (self.student_alarms, self.teacher_alarms, self.teacher_sure_alarms))
        yield f"false alarms per image {mine:.4f} (teacher on resized scenes {theirs:.4f}, when sure {sure:.4f})"
        error, jitter = _centre(self.landmark_errors), _centre(self.jitters)
        for kind in ("median", "mean"):
            ratio = f"{error[kind] / jitter[kind]:.2f} of the teacher's jitter {jitter[kind]:.4f}"
            yield f"landmark error, {kind:<6} {error[kind]:.4f} eye distances, {ratio}"


def find_faces(session: ModelSession, image: Image, min_score: float) -> list[Detection]:
    """One look at a BGR uint8 (H, W, 3) image, padded with black below and to the right as the service does."""
    height, width = (-(-side // MODEL_STEP) * MODEL_STEP for side in image.shape[:2])
    tensor = np.zeros((1, 3, height, width), np.float32)
    tensor[0, :, : image.shape[0], : image.shape[1]] = image.transpose(2, 0, 1)
    return suppress(decode(session.run(tensor), height, width, min_score), NMS_IOU)


def compare(
    student: ModelSession, teacher: ModelSession, images: Iterable[Image], question: Question | None = None
) -> DetectionReport:
    """Run both over BGR images and count."""
    ask = question or Question()
    report = DetectionReport()
    bands = {f"{low}-{high}" if high < HEIGHTS[-1] else f"{low}+": (low, high) for low, high in pairwise(HEIGHTS)}
    tally = {name: [0, 0] for name in bands}
    hits = trials = 0
    for image in images:
        report.images += 1
        seen = find_faces(teacher, image, ask.doubt_score)
        sure = [face for face in seen if face.score >= ask.reference_score]
        mine = find_faces(student, image, ask.operating_score)
        report.student_alarms += sum(same_face(face, seen) is None for face in mine)
        for face in sure:
            match = same_face(face, mine)
            for name, (low, high) in bands.items():
                if low <= face.box[3] < high:
                    tally[name][0] += match is not None
                    tally[name][1] += 1
            if face.box[3] < ask.side:
                continue
            trials += 1
            if match is not None:
                hits += 1
                report.landmark_errors.append(landmark_error(match, face))
        for again in _resized_views(teacher, image, ask.operating_score):
            alarms = [face.score for face in again if same_face(face, seen) is None]
            report.teacher_alarms += len(alarms) / len(RESIZES)
            report.teacher_sure_alarms += sum(score >= ask.reference_score for score in alarms) / len(RESIZES)
            for face in sure:
                match = same_face(face, again) if face.box[3] >= ask.side else None
                if match is not None:
                    report.jitters.append(landmark_error(match, face))
    report.recall = Share(hits, trials)
    report.found = {name: Share(*counts) for name, counts in tally.items()}
    return report


def landmark_error(face: Detection, reference: Detection) -> float:
    """Mean distance of the five points over the reference's eye distance."""
    eyes = float(np.linalg.norm(reference.landmarks[0] - reference.landmarks[1]))
    gaps = np.linalg.norm(face.landmarks - reference.landmarks, axis=1)
    return float(gaps.mean()) / max(eyes, 1e-6)


def views(files: Sequence[Path], zoom: float = 1.0) -> Iterator[Image]:
    """The photographs, enlarged by `zoom`."""
    for file in files:
        image = read_bgr(file)
        yield image if zoom == 1.0 else _zoomed(image, zoom)


def close_views(teacher: ModelSession, files: Sequence[Path], side: int) -> Iterator[Image]:
    """Squares of `side` pixels that the largest face of a photograph fills: its box is as high as the square."""
    for file in files:
        image = read_bgr(file)
        faces = find_faces(teacher, image, 0.8)
        if not faces:
            continue
        x, y, width, height = max(faces, key=lambda face: face.area).box
        zoom = side / height
        warp = np.array(
            [[zoom, 0, side / 2 - zoom * (x + width / 2)], [0, zoom, side / 2 - zoom * (y + height / 2)]], np.float32
        )
        view = cv2.warpAffine(image, warp, (side, side), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        yield np.asarray(view, np.uint8)


def time_ratio(
    student: ModelSession, teacher: ModelSession, rounds: int = 30, size: tuple[int, int] = (480, 640)
) -> Mapping[str, float]:
    """Median CPU milliseconds of each on one input of `size` (height, width), in turns, and student over teacher."""
    pixels = np.random.default_rng(0).uniform(0, 255, (1, 3, *size)).astype(np.float32)
    spent: dict[str, list[float]] = {"student": [], "teacher": []}
    for turn in range(rounds + 3):
        for name, session in (("student", student), ("teacher", teacher)):
            start = time.thread_time()
            session.run(pixels)
            if turn >= 3:  # the first turns warm caches up
                spent[name].append(1000 * (time.thread_time() - start))
    mine, theirs = (float(np.median(spent[name])) for name in ("student", "teacher"))
    return {"student_ms": mine, "teacher_ms": theirs, "ratio": mine / theirs}


def _resized_views(teacher: ModelSession, image: Image, min_score: float) -> Iterator[list[Detection]]:
    for zoom in RESIZES:
        smaller = _zoomed(image, zoom)
        back = np.array([image.shape[1] / smaller.shape[1], image.shape[0] / smaller.shape[0]], np.float32)
        yield [
            Detection(
                (face.box[0] * back[0], face.box[1] * back[1], face.box[2] * back[0], face.box[3] * back[1]),
                face.score,
                face.landmarks * back,
            )
            for face in find_faces(teacher, smaller, min_score)
        ]


def _zoomed(image: Image, zoom: float) -> Image:
    size = round(image.shape[1] * zoom), round(image.shape[0] * zoom)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA if zoom < 1 else cv2.INTER_CUBIC), np.uint8)


def same_face(face: Detection, others: Sequence[Detection]) -> Detection | None:
    """The one of `others` that overlaps `face` most, if by enough."""
    if not others:
        return None
    shared = overlap(np.array(face.box), np.array([other.box for other in others]))
    best = int(shared.argmax())
    return others[best] if shared[best] >= SAME_FACE else None


def _centre(values: Sequence[float]) -> dict[str, float]:
    if not values:
        return {"median": float("nan"), "mean": float("nan")}
    return {"median": float(np.median(values)), "mean": float(np.mean(values))}
