"""Claims against people of several photographs: by the best of them, or by one template made of all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.measures.thresholds import Scores

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Claims:
    """Scores of claims of identity.

    Attributes:
        genuine: Of people who claim to be themselves, (K,).
        impostor: Of people who claim to be somebody else, (M,).
    """

    genuine: Scores
    impostor: Scores


def draw_references(
    person: NDArray[np.int64], photographs: int, most: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw the photographs by which people are enrolled: rows (P, photographs) of those with more than `most`.

    Args:
        person: The person of each row, 0..P-1, (N,).
        photographs: How many are drawn of each.
        most: People are the same for every number of photographs up to this one, so that numbers can be compared.
        rng: Of the draw.
    """
    order = rng.permutation(len(person))
    rows = order[np.argsort(person[order], kind="stable")]
    counts = np.bincount(person)
    starts = np.cumsum(counts) - counts
    enough = np.flatnonzero(counts > most)
    return np.asarray(rows[starts[enough][:, None] + np.arange(photographs)], np.int64)


def claim_best(
    vectors: Vectors, offsets: NDArray[np.float32], person: NDArray[np.int64], references: NDArray[np.int64]
) -> Claims:
    """Score every photograph that nobody is enrolled by against every enrolled person's best photograph.

    Args:
        vectors: Unit vectors, (N, D).
        offsets: What is added to the scores of each, (N,).
        person: Whose they are, (N,).
        references: Rows by which people are enrolled, (P, K).
    """
    scores = np.stack([_score(vectors, offsets, vectors[rows], offsets[rows]) for rows in references.T]).max(axis=0)
    return _sort_out(scores, person, references)


def claim_fused(
    vectors: Vectors,
    offsets: NDArray[np.float32],
    person: NDArray[np.int64],
    references: NDArray[np.int64],
    offsets_of: Callable[[Vectors], NDArray[np.float32]],
) -> Claims:
    """Score the same photographs against one template a person: the direction of the mean, with its own offset.

    `offsets_of` gives the offset of unit vectors; the rest is as for `claim_best`.
    """
    means = vectors[references].mean(axis=1)
    fused = np.asarray(means / np.linalg.norm(means, axis=1, keepdims=True), np.float32)
    return _sort_out(_score(vectors, offsets, fused, offsets_of(fused)), person, references)


def _score(
    left: Vectors, left_offsets: NDArray[np.float32], right: Vectors, right_offsets: NDArray[np.float32]
) -> NDArray[np.float32]:
    return np.asarray(left @ right.T + left_offsets[:, None] + right_offsets[None, :], np.float32)


def _sort_out(scores: NDArray[np.float32], person: NDArray[np.int64], references: NDArray[np.int64]) -> Claims:
    """Take scores (N, P) of rows that are nobody's reference apart into genuine and impostor claims."""
    probes = np.setdiff1d(np.arange(len(person)), references)
    genuine = person[probes][:, None] == person[references[:, 0]][None, :]
    scores = scores[probes]
    return Claims(scores[genuine].astype(np.float64), scores[~genuine].astype(np.float64))
