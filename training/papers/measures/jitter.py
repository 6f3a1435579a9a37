"""How near to the landmarks a network can come: what they differ by when the detector itself looks twice.

The truth of the alignment rows is what a detector found in a crop. Here the same detector is shown what the rows are
shown, the crop moved, scaled and turned; what it answers differently is no fault of a row.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from service.face.align import CROP
from service.face.detection.detect import Detector
from service.face.detection.search import Seek
from service.face.registry import Registry
from training.atomic_folder import digest_text, write_json
from training.data.crops import CropSet
from training.papers.measures.benchmark import Benchmark, Faces, measure_points
from training.recipe import Roots

BORDER = CROP // 2
NEAR = 0.5
"""A face is the crop's own where its landmarks err by less than this share of the distance between the eyes."""


def measure_jitter(benchmark: Benchmark, people: CropSet, roots: Roots, cache: Path) -> dict[str, Any] | None:
    """Measure the landmarks of `people` against those that their detector finds in the moved crops.

    Returns:
        The value and rounds of each measure of alignment, as lists, and the share of crops where a face was found;
        None where that detector is not here. Kept in `cache`.
    """
    folders = Registry.scan(roots.model_folders).folders("detector")
    mine = next((each for each in folders if each.manifest.sha256 == people.about.get("detector")), None)
    if mine is None:
        return None
    path = cache / f"jitter-{digest_text(mine.manifest.sha256, people.digest)[:16]}.json"
    if path.is_file():
        known: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return known
    detector = mine.detector()
    landmarks = [
        find_again(crop, points, detector) for crop, points in zip(benchmark.moved, benchmark.points, strict=True)
    ]
    there = np.array([points is not None for points in landmarks])
    if not there.any():
        return None
    faces = benchmark.celeba
    some = Faces(faces.crops[there], faces.person[there], faces.drawn)
    measures = measure_points(np.stack([p for p in landmarks if p is not None]), benchmark.points[there], some)
    result = {"found": float(there.mean())} | {name: values.tolist() for name, values in measures.items()}
    write_json(path, result)
    return result


def find_again(crop: NDArray[np.uint8], points: NDArray[np.float32], detector: Detector) -> NDArray[np.float32] | None:
    """The five landmarks (5, 2) of the face in a crop (128, 128, 3) nearest to `points`; None where none is near."""
    padded = cv2.copyMakeBorder(crop, BORDER, BORDER, BORDER, BORDER, cv2.BORDER_REPLICATE)
    faces = [face.landmarks - BORDER for face in detector.detect(np.asarray(padded, dtype=np.uint8), Seek.ALL)]
    errors = [float(np.linalg.norm(each - points, axis=1).mean()) for each in faces]
    best = int(np.argmin(errors)) if errors else -1
    near = NEAR * float(np.linalg.norm(points[0] - points[1]))
    return faces[best].astype(np.float32) if errors and errors[best] < near else None
