"""Open-set identification among distractors: is a person found in a gallery full of others, and is a stranger not?

The gallery is the same in every round of the bootstrap, as an operator's would be; what is drawn are the people who
come to the camera.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from service.measures.thresholds import count_allowed
from training.evaluation.openset import FPIRS, OpenSet, find_best


def identify(
    vectors: NDArray[np.float32],
    person: NDArray[np.int64],
    parts: OpenSet,
    distractors: NDArray[np.float32],
    drawn: NDArray[np.int64],
) -> dict[str, NDArray[np.float64]]:
    """Measure `rank-1`, and `dir F`, the detection and identification rate at an FPIR of F (ISO/IEC 19795-1).

    Args:
        vectors: Unit vectors (N, D) of people 0..P-1.
        person: Whose each is, (N,).
        parts: Which are references, mated and other probes.
        distractors: Unit vectors (M, D) of others, enrolled besides.
        drawn: How often each person counts in each round, (R, P).

    Returns:
        A value for each round by name; NaN where no mated probe was drawn.
    """
    gallery = np.concatenate([vectors[parts.references], distractors])
    score, place = find_best(vectors[parts.mated], gallery)
    right = place == parts.owner
    strangers, _ = find_best(vectors[parts.nonmated], gallery)
    order = np.argsort(-strangers, kind="stable")
    weight, nobody = drawn[:, person[parts.mated]], drawn[:, person[parts.nonmated[order]]]
    rates = {"rank-1": _share(weight, np.broadcast_to(right, weight.shape))}
    for fpir in FPIRS:
        thresholds = np.array([_threshold(strangers[order], counts, fpir) for counts in nobody])
        rates[f"dir {fpir:g}"] = _share(weight, right & (score > thresholds[:, None]))
    return rates


def _threshold(falling: NDArray[np.float64], counts: NDArray[np.int64], fpir: float) -> float:
    """The lowest score that a share `fpir` of the strangers exceed at most, each of them counting `counts` times."""
    above = np.cumsum(counts)
    allowed = int(np.searchsorted(above, count_allowed(fpir, int(above[-1])), side="right"))
    return float(falling[min(allowed, len(falling) - 1)])


def _share(weight: NDArray[np.int64], good: NDArray[np.bool_]) -> NDArray[np.float64]:
    total, share = weight.sum(axis=1), np.full(len(weight), np.nan)
    np.divide((weight * good).sum(axis=1), total, out=share, where=total > 0)
    return share
