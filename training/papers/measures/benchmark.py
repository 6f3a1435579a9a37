"""What every row is measured on: LFW View 1, and people of CelebA and pins whom nobody was trained on.

Each measure is a vector: its value, then its value in every round of one bootstrap over people. All rows share the same
rounds, so that two rows can be compared round by round.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.face.detection.detect import Detector
from service.face.embedding.preprocess import to_tensor
from service.measures.all_pairs import score_pairs
from service.measures.thresholds import best_threshold
from training.data.augment import Augment, augment, move_points
from training.data.crops import CropSet
from training.data.embeds import Embeds
from training.errors import SetInvalid
from training.evaluation.onnx_network import OnnxNet
from training.evaluation.openset import FPIRS, OpenSet, divide
from training.evaluation.protocols import Pairs, read_lfw_view1
from training.evaluation.vectors import cut_crops, embed
from training.papers.measures.identification import identify
from training.papers.measures.trials import compare, decide, draw, tar

FMRS = (1e-2, 1e-3)
MOVES = Augment(shift=8, scale=0.15, rotate=20)
FAILED = 0.1
"""A face whose mean landmark error exceeds this share of the distance between the eyes is a failure."""

RECOGNITION = (
    "lfw accuracy",
    "lfw fmr",
    "lfw fnmr",
    *(f"{name} tar {fmr:g}" for name in ("lfw", "celeba", "pins") for fmr in FMRS),
    "celeba rank-1",
    *(f"celeba dir {fpir:g}" for fpir in FPIRS),
)
"""What `recognise` measures."""
ALIGNMENT = ("nme", "failures")
"""What `point` measures."""

Measures = dict[str, NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Faces:
    """Crops uint8 (N, 128, 128, 3), the person 0..P-1 of each, and how often people count in each round (1 + R, P)."""

    crops: NDArray[np.uint8]
    person: NDArray[np.int64]
    drawn: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Benchmark:
    """Comparisons and faces of people whom nobody was trained on.

    Attributes:
        chosen: devTrain's pairs, on which thresholds are found.
        chosen_crops: Their faces, which are also the distractors of identification.
        pairs: devTest's pairs.
        lfw: devTest's faces.
        celeba: Held-out people of CelebA.
        gallery: How these are divided into a gallery and probes.
        pins: Held-out people of pins: few, with many pictures that differ in pose, light and years.
        moved: The faces of `celeba` under random similarities.
        points: Their landmarks (M, 5, 2), in crop pixels.
    """

    chosen: Pairs
    chosen_crops: NDArray[np.uint8]
    pairs: Pairs
    lfw: Faces
    celeba: Faces
    gallery: OpenSet
    pins: Faces
    moved: NDArray[np.uint8]
    points: NDArray[np.float32]


def prepare_benchmark(
    view1: Path, celeba: CropSet, pins: CropSet, detector: Detector, cache: Path, rounds: int
) -> Benchmark:
    """Cut LFW's faces with `detector` (cached), and take the held-out people of a prepared CelebA and pins.

    Raises:
        ProtocolInvalid: The evaluation set is incomplete or contradicts itself.
        SetInvalid: There are no landmarks or no held-out people.
    """
    chosen, pairs = read_lfw_view1(view1, "Train"), read_lfw_view1(view1, "Test")
    rows = _held_out(celeba)
    if celeba.landmarks is None:
        raise SetInvalid(f"{celeba.name}: landmarks are needed: prepare it with --landmarks")
    crops, names = np.asarray(celeba.crops[rows]), [celeba.identities[i] for i in rows]
    moved, warps = augment(crops, MOVES, np.random.default_rng(0))
    others = _held_out(pins)
    return Benchmark(
        chosen,
        cut_crops(chosen.pictures, detector, cache).crops,
        pairs,
        _faces(cut_crops(pairs.pictures, detector, cache).crops, [p.person for p in pairs.pictures], rounds),
        _faces(crops, names, rounds),
        divide(names),
        _faces(np.asarray(pins.crops[others]), [pins.identities[i] for i in others], rounds),
        moved,
        move_points(np.asarray(celeba.landmarks[rows]), warps),
    )


def recognise(network: Embeds, benchmark: Benchmark) -> Measures:
    """Verification at a threshold from devTrain, TAR at FMR on three sets of people, and open-set identification.

    FMR and FNMR at the threshold are of all comparisons of devTest's faces, which are more than its pairs.
    """
    lfw, celeba = benchmark.lfw, benchmark.celeba
    chosen = embed(network, benchmark.chosen_crops, progress=False)
    scores = score_pairs(chosen[benchmark.chosen.left], chosen[benchmark.chosen.right])
    threshold = best_threshold(scores, benchmark.chosen.same)
    sets = {"lfw": lfw, "celeba": celeba, "pins": benchmark.pins}
    vectors = {name: embed(network, faces.crops, progress=False) for name, faces in sets.items()}
    measures: Measures = {"lfw accuracy": _accuracy(vectors["lfw"], threshold, benchmark)}
    measures["lfw fmr"], measures["lfw fnmr"] = decide(vectors["lfw"], lfw.person, threshold, lfw.drawn)
    for name, faces in sets.items():
        trials = compare(vectors[name], faces.person)
        for fmr in FMRS:
            measures[f"{name} tar {fmr:g}"] = np.array([tar(trials, fmr, drawn) for drawn in faces.drawn])
    rates = identify(vectors["celeba"], celeba.person, benchmark.gallery, chosen, celeba.drawn)
    return measures | {f"celeba {name}": values for name, values in rates.items()}


def point(network: OnnxNet, benchmark: Benchmark) -> Measures:
    """Mean landmark error in units of the distance between the eyes, and the share of faces that failed."""
    parts = np.array_split(benchmark.moved, max(1, len(benchmark.moved) // 64))
    points = np.concatenate([network.run(to_tensor(part, network.input)) for part in parts]).reshape(-1, 5, 2)
    # the network counts from the crop's edge in units of the crop, pixels from the centre of the first
    size = benchmark.moved.shape[1]
    return measure_points(points * size - 0.5, benchmark.points, benchmark.celeba)


def measure_points(points: NDArray[np.float32], truth: NDArray[np.float32], faces: Faces) -> Measures:
    """Landmark error of points (N, 5, 2) in any unit, eyes first."""
    eyes = np.linalg.norm(truth[:, 0] - truth[:, 1], axis=1)
    error = np.linalg.norm(points - truth, axis=2).mean(axis=1) / eyes
    weight = faces.drawn[:, faces.person].astype(np.float64)
    share = weight / weight.sum(axis=1, keepdims=True)
    return {"nme": share @ error, "failures": share @ (error > FAILED)}


def _held_out(people: CropSet) -> NDArray[np.int64]:
    """The crops of known people whom nobody is trained on.

    Raises:
        SetInvalid: There are none.
    """
    rows = np.concatenate([people.rows("validation"), people.rows("test")])
    known: NDArray[np.int64] = rows[np.array([bool(people.identities[i]) for i in rows], dtype=bool)]
    if not len(known):
        raise SetInvalid(f"{people.name}: held-out people are needed: prepare it with shares for validation and test")
    return known


def _accuracy(vectors: NDArray[np.float32], threshold: float, benchmark: Benchmark) -> NDArray[np.float64]:
    """Mean of the shares of genuine and of impostor pairs decided rightly, which View 1 has as many of."""
    pairs, drawn = benchmark.pairs, benchmark.lfw.drawn
    right = (score_pairs(vectors[pairs.left], vectors[pairs.right]) >= threshold) == pairs.same
    left_person, right_person = benchmark.lfw.person[pairs.left], benchmark.lfw.person[pairs.right]
    # one person of a genuine pair is drawn once, two of an impostor pair each
    weight = np.where(pairs.same, drawn[:, left_person], drawn[:, left_person] * drawn[:, right_person])
    shares = [(weight[:, kind] @ right[kind]) / weight[:, kind].sum(axis=1) for kind in (pairs.same, ~pairs.same)]
    return np.asarray(np.mean(shares, axis=0))


def _faces(crops: NDArray[np.uint8], names: Sequence[str], rounds: int) -> Faces:
    _, person = np.unique(np.array(names), return_inverse=True)
    return Faces(crops, person.astype(np.int64), draw(int(person.max()) + 1, rounds))
