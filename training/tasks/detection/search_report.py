"""How the served search does, as a whole: recall, alarms, what a score means, and faces at every angle.

- recall: of the faces that a teacher scores `SURE` or more in the photograph as it is, in boxes at least `side` pixels
  high, the share that the search finds with an overlap (IoU) of at least 0.5. Scenes without people are left out;
- alarms: scenes that are known to be free of people in which the search finds a face;
- precision: of the faces found with a score within a band, the share that is a face. A find is none where the scene is
  free of people. Elsewhere it is believed, so that this is an upper bound;
- angles: of portraits turned clockwise by so many degrees, the share that matches the template of the upright portrait
  at a score, and the share of pairs of different people turned alike that does;
- fast: cosine of the templates of a portrait's prominent face and of the same face when all are sought.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from service.face.align import align
from service.face.detection.detect import Detector
from service.face.detection.detection import Detection
from service.face.detection.search import Seek
from service.face.embedding.embed import Embedder
from service.face.session import ModelSession
from training.tasks.detection.evaluate import Share, find_faces, same_face
from training.tasks.detection.scenes import read_bgr

Image = NDArray[np.uint8]

SURE = 0.8
BANDS = (0.0, 0.75, 0.80, 0.83, 0.85, 0.87, 0.89, 0.91, 1.01)
ANGLES = tuple(range(0, 360, 15))


@dataclass(slots=True)
class SearchReport:
    """What was counted over scenes.

    By what was sought: the share found, and the scenes that alarmed, also without a doubt. By band of score: the share
    of finds that were faces.
    """

    recall: dict[Seek, Share] = field(default_factory=dict)
    alarms: dict[Seek, Share] = field(default_factory=dict)
    sure_alarms: dict[Seek, Share] = field(default_factory=dict)
    precision: dict[str, Share] = field(default_factory=dict)

    def lines(self) -> Iterator[str]:
        """The report as text."""
        for seek, share in self.recall.items():
            yield f"{seek:<10} recall {share}"
            yield f"{'':<10} scenes without people that alarm: {self.alarms[seek].hits} of {self.alarms[seek].trials}"
            yield f"{'':<10} without a doubt: {self.sure_alarms[seek].hits}"
        for band, share in self.precision.items():
            yield f"score {band:<12} {share}"


def report_scenes(
    detector: Detector,
    teacher: ModelSession,
    scenes: Iterable[Path],
    unpeopled: frozenset[str],
    doubt: float,
    side: float = 32.0,
) -> SearchReport:
    """Search every scene in each of the three ways. What scores less than `doubt` is doubtful."""
    names = [f"{low:.2f}-{high:.2f}" for low, high in pairwise(BANDS)]
    bands = {name: [0, 0] for name in names}
    shares, alarms, sure = ({seek: [0, 0] for seek in Seek} for _ in range(3))
    for path in scenes:
        image, bare = read_bgr(path), path.name in unpeopled
        faces = [] if bare else [face for face in find_faces(teacher, image, SURE) if face.box[3] >= side]
        for seek in Seek:
            mine = detector.detect(np.ascontiguousarray(image[..., ::-1]), seek)
            shares[seek][0] += sum(same_face(face, mine) is not None for face in faces)
            shares[seek][1] += len(faces)
            alarms[seek][0] += bare and bool(mine)
            sure[seek][0] += bare and any(face.score >= doubt for face in mine)
            alarms[seek][1] += bare
            sure[seek][1] += bare
            if seek is Seek.ALL:
                for face in mine:
                    counts = bands[names[int(np.searchsorted(BANDS, face.score, side="right")) - 1]]
                    counts[0] += not bare
                    counts[1] += 1
    recall, alarming, certain = (
        {seek: Share(*counts) for seek, counts in each.items()} for each in (shares, alarms, sure)
    )
    return SearchReport(recall, alarming, certain, {name: Share(*counts) for name, counts in bands.items()})


@dataclass(frozen=True, slots=True)
class AngleReport:
    """At one angle: people who match their own upright portrait, and pairs of strangers turned alike who match."""

    degrees: int
    own: Share
    strangers: Share


def report_angles(
    detector: Detector, embedder: Embedder, portraits: Sequence[Path], threshold: float
) -> Iterator[AngleReport]:
    """Turn one portrait of each person to every angle. A face that is not found matches nobody."""
    images = [np.ascontiguousarray(read_bgr(path)[..., ::-1]) for path in portraits]
    upright = [_template(detector, embedder, image) for image in images]
    for degrees in ANGLES:
        turned = [_template(detector, embedder, _turned(image, degrees)) for image in images]
        pairs = [(a, b) for a, b in zip(upright, turned, strict=True) if a is not None and b is not None]
        own = sum(float(a @ b) >= threshold for a, b in pairs)
        seen = np.array([vector for vector in turned if vector is not None]).reshape(-1, embedder.dim)
        scores = (seen @ seen.T)[np.triu_indices(len(seen), 1)]
        yield AngleReport(degrees, Share(own, len(images)), Share(int((scores >= threshold).sum()), len(scores)))


def compare_fast(detector: Detector, embedder: Embedder, portraits: Sequence[Path]) -> NDArray[np.float64]:
    """Cosine, for each portrait, of its prominent face's template and of that face's when all faces are sought."""
    cosines = []
    for path in portraits:
        image = np.ascontiguousarray(read_bgr(path)[..., ::-1])
        fast = detector.detect(image, Seek.PROMINENT)
        full = detector.detect(image, Seek.ALL)
        if not fast or not full:
            cosines.append(float(not fast and not full))
            continue
        first, second = embedder.embed(np.stack([align(image, faces[0].landmarks) for faces in (fast, full)]))
        cosines.append(float(first @ second))
    return np.array(cosines)


def portraits_by_person(files: Sequence[Path]) -> Sequence[Path]:
    """The first photograph of each folder."""
    first: Mapping[Path, Path] = {path.parent: path for path in reversed(files)}
    return sorted(first.values())


def _template(detector: Detector, embedder: Embedder, image: Image) -> NDArray[np.float32] | None:
    faces: list[Detection] = detector.detect(image, Seek.PROMINENT)
    return np.asarray(embedder.embed(align(image, faces[0].landmarks)[None])[0], np.float32) if faces else None


def _turned(image: Image, degrees: float) -> Image:
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), -degrees, 1.0)
    return np.asarray(cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE), np.uint8)
