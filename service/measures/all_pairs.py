"""Scores of unit vectors: of listed pairs, and of each with each in blocks, so that no matrix of all is held."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.measures.thresholds import Scores

BLOCK = 1024
Vectors = NDArray[np.float32]


class AllPairs(NamedTuple):
    """Comparisons of labelled faces.

    Attributes:
        impostor: Scores between two people, (M,).
        left: The one person of each of these, (M,).
        right: The other, (M,).
        genuine: Scores between two faces of one person, (K,).
        owner: That person, (K,).
    """

    impostor: Scores
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    genuine: Scores
    owner: NDArray[np.int32]


def score_pairs(left: Vectors, right: Vectors) -> Scores:
    """Compute the cosines of paired unit vectors (N, D), summed in double precision."""
    parts = (slice(start, start + 16 * BLOCK) for start in range(0, max(1, len(left)), 16 * BLOCK))
    return np.concatenate(
        [np.einsum("nd,nd->n", left[part].astype(np.float64), right[part].astype(np.float64)) for part in parts]
    )


def compare_all(vectors: Vectors, person: NDArray[np.int64], references: Vectors | None = None) -> AllPairs:
    """Compare unit vectors (N, D) of people 0..P-1 with each other, every pair once.

    With `references`, another model's vectors of the same crops, the earlier crop of each pair is the probe.
    """
    others = vectors if references is None else references

    def blocks() -> Iterator[tuple[Vectors, NDArray[np.int64], NDArray[np.int64]]]:
        for start in range(0, max(1, len(vectors)), BLOCK):
            block = vectors[start : start + BLOCK] @ others[start:].T
            rows, columns = np.triu_indices(len(block), 1, block.shape[1])
            yield block[rows, columns], person[start + rows], person[start + columns]

    return _sort_out(blocks())


def compare_across(probes: Vectors, references: Vectors, person: NDArray[np.int64]) -> AllPairs:
    """Compare probes by one model with references by another, of the same crops: all but those of one crop."""

    def blocks() -> Iterator[tuple[Vectors, NDArray[np.int64], NDArray[np.int64]]]:
        for start in range(0, max(1, len(probes)), BLOCK):
            block = probes[start : start + BLOCK] @ references.T
            rows, columns = np.nonzero(start + np.arange(len(block))[:, None] != np.arange(len(references)))
            yield block[rows, columns], person[start + rows], person[columns]

    return _sort_out(blocks())


def count_matches(probes: Vectors, references: Vectors, threshold: float) -> int:
    """Count the comparisons of each probe with each reference that match."""
    starts = range(0, len(probes), BLOCK)
    return int(sum((probes[start : start + BLOCK] @ references.T >= threshold).sum() for start in starts))


def _sort_out(blocks: Iterator[tuple[Vectors, NDArray[np.int64], NDArray[np.int64]]]) -> AllPairs:
    """Take genuine and impostor comparisons apart, block by block."""
    parts = []
    for scores, left, right in blocks:
        same = left == right
        parts.append((scores[~same], left[~same], right[~same], scores[same], left[same]))
    impostor, left, right, genuine, owner = (np.concatenate(column) for column in zip(*parts, strict=True))
    return AllPairs(
        impostor.astype(np.float64),
        left.astype(np.int32),
        right.astype(np.int32),
        genuine.astype(np.float64),
        owner.astype(np.int32),
    )
