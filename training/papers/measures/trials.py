"""All comparisons of one set of faces, kept small enough to be drawn again and again.

TAR at an FMR is measured between all pictures of a set, and its interval comes from people drawn with replacement: a
comparison counts as often as both of its people were drawn. Only the highest impostor scores can decide a threshold, so
only these are kept; how many there are in all follows from how often each person was drawn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.measures.all_pairs import compare_all
from service.measures.bootstrap import draw_people
from service.measures.thresholds import count_allowed

KEPT = 0.05


@dataclass(frozen=True, slots=True)
class Trials:
    """Genuine scores with their person; the highest impostor scores, falling, with both people; crops per person."""

    genuine: NDArray[np.float64]
    owner: NDArray[np.int32]
    impostor: NDArray[np.float64]
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    crops: NDArray[np.int64]


def compare(vectors: NDArray[np.float32], person: NDArray[np.int64]) -> Trials:
    """Compare unit vectors (N, D) of people 0..P-1 with each other, every pair once."""
    pairs = compare_all(vectors, person)
    top = np.argsort(-pairs.impostor, kind="stable")[: max(1, round(KEPT * len(pairs.impostor)))]
    crops = np.bincount(person)
    return Trials(pairs.genuine, pairs.owner, pairs.impostor[top], pairs.left[top], pairs.right[top], crops)


def tar(trials: Trials, fmr: float, drawn: NDArray[np.int64]) -> float:
    """TAR at an FMR below `KEPT`, every person counting `drawn` (P,) times; NaN when nobody with two crops was drawn.

    The threshold is the lowest at which the FMR is at most `fmr`.
    """
    faces = drawn * trials.crops
    total = (int(faces.sum()) ** 2 - int((faces**2).sum())) / 2
    matches = np.cumsum(drawn[trials.left] * drawn[trials.right])
    allowed = int(np.searchsorted(matches, count_allowed(fmr, total), side="right"))
    threshold = trials.impostor[min(allowed, len(trials.impostor) - 1)]
    weight = drawn[trials.owner]
    if not weight.sum():
        return float("nan")
    return float((weight * (trials.genuine > threshold)).sum() / weight.sum())


def decide(
    vectors: NDArray[np.float32], person: NDArray[np.int64], threshold: float, drawn: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """FMR and FNMR of all comparisons at a fixed threshold, every person counting `drawn` (R, P) times: (R,) each.

    An FNMR is NaN where nobody with two crops was drawn.
    """
    pairs, people = compare_all(vectors, person), drawn.shape[1]
    crops = np.bincount(person, minlength=people)
    matching = pairs.impostor >= threshold
    false = np.zeros((people, people))
    np.add.at(false, (pairs.left[matching], pairs.right[matching]), 1)
    faces = (drawn * crops).astype(np.float64)
    impostors = (faces.sum(axis=1) ** 2 - (faces**2).sum(axis=1)) / 2
    fmr = np.einsum("rp,pq,rq->r", drawn, false, drawn, optimize=True) / impostors
    missed = drawn @ np.bincount(pairs.owner, weights=pairs.genuine < threshold, minlength=people)
    genuine = drawn @ np.bincount(pairs.owner, minlength=people)
    fnmr = np.divide(missed, genuine, out=np.full(len(drawn), np.nan), where=genuine > 0)
    return fmr, fnmr


def draw(people: int, rounds: int, seed: int = 0) -> NDArray[np.int64]:
    """How often each person counts, (1 + rounds, people): once in the first row, then drawn with replacement."""
    return np.stack([np.ones(people, np.int64), *draw_people(people, rounds, seed)])
