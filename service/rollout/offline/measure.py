"""Models measured on photographs: perceived once, embedded by each, timed in turns."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.face.detection.search import Seek
from service.face.embedding.embed import Embedder
from service.face.embedding.normalisation import as_probes, as_references
from service.face.errors import FaceError, ImageError
from service.measures.all_pairs import compare_all, score_pairs
from service.measures.thresholds import Scores, decide_by_folds
from service.pipeline import Perception
from service.rollout.offline.accuracy import share_of, true_match_rate
from service.rollout.offline.errors import PhotographsInvalid
from service.rollout.offline.photographs import Photographs
from service.rollout.report import Share
from service.runtime.timing import Stages

RATES = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
TIMED_FACES = 200
MOST_COMPARED = 4000
"""Photographs compared each with each; beyond it an even selection of them."""
NO_FACE = -10.0
"""The score of a pair in which a face was not found, below every comparison's: it never matches."""

Vectors = NDArray[np.float32]
Rates = dict[float, tuple[Share, float]]
"""By false match rate: the true match rate and its threshold."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One model. `accuracy` is of the pairs; `rates` of all comparisons of photographs where persons are known."""

    name: str
    digest: str
    space: str
    score: str
    """What its scores are: `cosine`, or the normalised score that it serves."""
    bytes: int
    accuracy: Share
    rates: Rates
    milliseconds: float
    """Median time to embed one face on one thread."""
    faces_per_second: float
    """On all cores, one face at a time on each."""
    memory: int
    """Resident bytes that a process gains by loading and running it."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How two models agree.

    Pairs decided alike, Pearson's correlation of their scores where both faces were found, and, where they share a
    space, the rates of probes by `first` against templates by `second`.
    """

    first: str
    second: str
    alike: Share
    correlation: float
    crossed: Rates | None


@dataclass(frozen=True, slots=True)
class Failure:
    """A photograph of which no template was made, and why: it cannot be read, or shows no face."""

    file: Path
    error: ImageError | FaceError


@dataclass(frozen=True, slots=True)
class Measurement:
    """What came of all. Failures to acquire are photographs without a readable image or a face."""

    photographs: int
    failures: tuple[Failure, ...]
    genuine_pairs: int
    impostor_pairs: int
    impostor_comparisons: int
    cores: int
    models: tuple[Measured, ...]
    agreements: tuple[Agreement, ...]


def measure(
    photographs: Photographs,
    perception: Perception,
    embedders: Sequence[Embedder],
    footprints: Mapping[str, int],
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Measurement:
    """Measure every embedder.

    `footprints` is their memory in bytes, by digest; `progress` is told what is done, how much, and of how much.

    Raises:
        PhotographsInvalid: No face is found anywhere.
        InferenceFailed: A model failed.
    """
    cores = len(os.sched_getaffinity(0))
    with ThreadPoolExecutor(cores) as pool:
        seen = pool.map(lambda file: _crop(perception, file.read_bytes()), photographs.files)
        crops = [crop for crop, _ in zip(seen, _counting("faces", len(photographs.files), progress), strict=True)]
        has_face = np.array([isinstance(crop, np.ndarray) for crop in crops])
        stack = [crop for crop in crops if isinstance(crop, np.ndarray)]
        if not stack:
            raise PhotographsInvalid("no photograph shows a face")
        templates, speeds = [], []
        for embedder in embedders:
            begun = time.perf_counter()
            vectors = pool.map(lambda crop, embedder=embedder: embedder.embed(crop[None])[0], stack)
            counting = _counting(embedder.manifest.identity, len(stack), progress)
            rows = np.stack([row for row, _ in zip(vectors, counting, strict=True)])
            speeds.append(len(stack) / (time.perf_counter() - begun))
            templates.append(_Placed.of(rows, embedder, has_face))
    times = _time_in_turns(embedders, stack[:TIMED_FACES])
    genuine = np.array([pair.genuine for pair in photographs.pairs])
    every = _Comparisons(photographs, has_face)
    scores = [score_photographs(each.probes, photographs, has_face, each.references) for each in templates]
    shown = has_face[[[pair.first, pair.second] for pair in photographs.pairs]].all(axis=1)
    decided = [decide_by_folds(each, genuine, photographs.folds) for each in scores]
    models = tuple(
        Measured(
            embedder.manifest.identity,
            embedder.digest,
            embedder.space,
            embedder.manifest.computed_score,
            embedder.manifest.cost.bytes,
            share_of(decisions.right),
            every.rates(own, own),
            milliseconds,
            speed,
            footprints[embedder.digest],
        )
        for embedder, own, decisions, milliseconds, speed in zip(
            embedders, templates, decided, times, speeds, strict=True
        )
    )
    agreements = tuple(
        Agreement(
            models[a].name,
            models[b].name,
            share_of(decided[a].matches == decided[b].matches),
            float(np.corrcoef(scores[a][shown], scores[b][shown])[0, 1]),
            every.rates(templates[a], templates[b]) if models[a].space == models[b].space else None,
        )
        for a, b in itertools.permutations(range(len(models)), 2)
        if a < b or models[a].space == models[b].space
    )
    return Measurement(
        photographs=len(photographs.files),
        failures=tuple(
            Failure(file, crop)
            for file, crop in zip(photographs.files, crops, strict=True)
            if not isinstance(crop, np.ndarray)
        ),
        genuine_pairs=int(np.count_nonzero(genuine)),
        impostor_pairs=int(np.count_nonzero(~genuine)),
        impostor_comparisons=every.impostors,
        cores=cores,
        models=models,
        agreements=agreements,
    )


@dataclass(frozen=True, slots=True)
class _Placed:
    """One model's templates at the places of their photographs, (N, D+2); zeros where no face was found.

    The inner product of a probe and a reference is the score that the service decides by.
    """

    probes: Vectors
    references: Vectors

    @classmethod
    def of(cls, vectors: Vectors, embedder: Embedder, has_face: NDArray[np.bool_]) -> _Placed:
        offsets = embedder.offsets(vectors)
        placed = []
        for rows in (as_probes(vectors, offsets), as_references(vectors, offsets)):
            placed.append(np.zeros((len(has_face), rows.shape[1]), dtype=np.float32))
            placed[-1][has_face] = rows
        return cls(*placed)


class _Comparisons:
    """Comparisons of each with each where persons are known, else of the pairs alone; pairs without a face left out."""

    def __init__(self, photographs: Photographs, has_face: NDArray[np.bool_]) -> None:
        self._person: NDArray[np.int64] | None = None
        if photographs.persons is None:
            held = [pair for pair in photographs.pairs if has_face[pair.first] and has_face[pair.second]]
            self._left = np.array([pair.first for pair in held], dtype=np.int64)
            self._right = np.array([pair.second for pair in held], dtype=np.int64)
            self._genuine = np.array([pair.genuine for pair in held], dtype=np.bool_)
            self.impostors = int(np.count_nonzero(~self._genuine))
        else:
            places = np.flatnonzero(has_face)
            if len(places) > MOST_COMPARED:
                places = places[np.linspace(0, len(places) - 1, MOST_COMPARED).astype(np.int64)]
            self._places = places
            self._person = np.unique(np.array(photographs.persons), return_inverse=True)[1][places]
            each = np.bincount(self._person)
            self.impostors = (int(each.sum()) ** 2 - int((each**2).sum())) // 2

    def rates(self, first: _Placed, second: _Placed) -> Rates:
        """Compute the rates that the comparisons support, of probes by one model against templates by another."""
        probes, references = first.probes, second.references
        if self._person is None:
            scores = score_pairs(probes[self._left], references[self._right])
            genuine, impostor = scores[self._genuine], scores[~self._genuine]
        else:
            pairs = compare_all(probes[self._places], self._person, references[self._places])
            genuine, impostor = pairs.genuine, pairs.impostor
        rates = {fmr: true_match_rate(genuine, impostor, fmr) for fmr in RATES}
        return {fmr: rate for fmr, rate in rates.items() if rate is not None}


def _crop(perception: Perception, data: bytes) -> NDArray[np.uint8] | ImageError | FaceError:
    try:
        return perception.look(data, Stages(), Seek.PROMINENT, 1).prominent().crop
    except (ImageError, FaceError) as error:
        return error


def score_photographs(
    probes: Vectors, photographs: Photographs, has_face: NDArray[np.bool_], references: Vectors | None = None
) -> Scores:
    """Score the pairs by templates (N, D) of the photographs; `NO_FACE` where one of a pair has none.

    `references` are the same templates as those that are compared with; None where the score is their cosine.
    """
    first = np.array([pair.first for pair in photographs.pairs])
    second = np.array([pair.second for pair in photographs.pairs])
    scores = score_pairs(probes[first], (probes if references is None else references)[second])
    return np.where(has_face[first] & has_face[second], scores, NO_FACE)


def _time_in_turns(embedders: Sequence[Embedder], crops: Sequence[NDArray[np.uint8]]) -> list[float]:
    """Median milliseconds of one face on one thread. Models take turns, so that a busy moment hits them alike."""
    seconds: list[list[float]] = [[] for _ in embedders]
    for crop in crops:
        for embedder, taken in zip(embedders, seconds, strict=True):
            begun = time.perf_counter()
            embedder.embed(crop[None])
            taken.append(time.perf_counter() - begun)
    return [float(np.median(taken)) * 1000 for taken in seconds]


def _counting(what: str, total: int, progress: Callable[[str, int, int], None]) -> Iterator[int]:
    for done in range(1, total + 1):
        yield done
        progress(what, done, total)
