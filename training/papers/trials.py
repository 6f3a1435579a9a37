"""All comparisons of one set of faces, kept small enough to be drawn again and again.

TAR at an FMR is measured between all pictures of a set, and its interval comes from people drawn with replacement: a
comparison counts as often as both of its people were drawn. Only the highest impostor scores can decide a threshold, so
only these are kept; how many there are in all follows from how often each person was drawn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

KEPT = 0.05
BLOCK = 1024


@dataclass(frozen=True, slots=True)
class Trials:
    """Genuine scores with their person; the highest impostor scores, falling, with both people; crops per person."""

    genuine: NDArray[np.float64]
    owner: NDArray[np.int64]
    impostor: NDArray[np.float64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    crops: NDArray[np.int64]


def compare(vectors: NDArray[np.float32], person: NDArray[np.int64]) -> Trials:
    """Compare unit vectors (N, D) of people 0..P-1 with each other, every pair once."""
    genuine, owner, highest = [], [], []
    for start in range(0, len(vectors), BLOCK):
        block = vectors[start : start + BLOCK] @ vectors[start:].T
        rows, columns = np.triu_indices(len(block), 1, block.shape[1])
        a, b, scores = person[start + rows], person[start + columns], block[rows, columns].astype(np.float64)
        same = a == b
        genuine.append(scores[same])
        owner.append(a[same])
        scores, a, b = scores[~same], a[~same], b[~same]
        highest.append((scores, a, b))
    scores, left, right = (np.concatenate(part) for part in zip(*highest, strict=True))
    top = np.argsort(-scores, kind="stable")[: max(1, round(KEPT * len(scores)))]
    crops = np.bincount(person)
    return Trials(np.concatenate(genuine), np.concatenate(owner), scores[top], left[top], right[top], crops)


def tar(trials: Trials, fmr: float, drawn: NDArray[np.int64]) -> float:
    """TAR at an FMR below `KEPT`, every person counting `drawn` (P,) times; NaN when nobody with two crops was drawn.

    The threshold is the lowest at which the FMR is at most `fmr`.
    """
    faces = drawn * trials.crops
    total = (int(faces.sum()) ** 2 - int((faces**2).sum())) / 2
    matches = np.cumsum(drawn[trials.left] * drawn[trials.right])
    allowed = int(np.searchsorted(matches, fmr * total + 1e-9, side="right"))
    threshold = trials.impostor[min(allowed, len(trials.impostor) - 1)]
    weight = drawn[trials.owner]
    if not weight.sum():
        return float("nan")
    return float((weight * (trials.genuine > threshold)).sum() / weight.sum())


def draw(people: int, rounds: int, seed: int = 0) -> NDArray[np.int64]:
    """How often each person counts, (1 + rounds, people): once in the first row, then drawn with replacement."""
    rng = np.random.default_rng(seed)
    rows = [np.ones(people, np.int64)]
    rows += [np.bincount(rng.integers(0, people, people), minlength=people) for _ in range(rounds)]
    return np.stack(rows)
