"""`facet-train calibrate`: which score gives which false match rate, from comparisons between different people.

Only comparisons across identities count as impostors. An FMR with fewer than thirty expected false matches is refused:
below that, the threshold is a guess (Doddington's rule of 30). Intervals come from a bootstrap over people, because a
million comparisons among a thousand people are not a million independent trials.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.face.manifest import MINIMUM_FALSE_MATCHES, CalibratedThreshold
from training.errors import RateUnsupported
from training.metrics import threshold_at

FMRS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
BLOCK = 1024


@dataclass(frozen=True, slots=True)
class Calibration:
    """Threshold rows, what else was asked and refused, and the share of genuine comparisons that each row loses."""

    rows: tuple[CalibratedThreshold, ...]
    fnmr: tuple[float, ...]
    refused: tuple[float, ...]
    impostors: int
    genuine: int
    people: int


def calibrate(
    vectors: NDArray[np.float32],
    identities: Sequence[str],
    fmrs: Sequence[float] | None = None,
    *,
    rounds: int = 300,
    seed: int = 0,
) -> Calibration:
    """Calibrate on unit vectors (N, D) and who is on each crop ('' is left out).

    With `fmrs` None, every usual rate that the data can support is taken.

    Raises: RateUnsupported when a rate asked for expects fewer than thirty false matches.
    """
    known = np.flatnonzero([bool(name) for name in identities])
    names = sorted({identities[int(i)] for i in known})
    number = {name: i for i, name in enumerate(names)}
    person = np.array([number[identities[int(i)]] for i in known], dtype=np.int64)
    impostor, left, right, genuine = compare_all(vectors[known], person)
    wanted = sorted(fmrs or FMRS, reverse=True)
    supported = [fmr for fmr in wanted if fmr * len(impostor) >= MINIMUM_FALSE_MATCHES]
    refused = [fmr for fmr in wanted if fmr not in supported]
    if (refused and fmrs is not None) or not supported:
        raise RateUnsupported(
            f"FMR {refused[0]:g} expects {refused[0] * len(impostor):.1f} false matches in {len(impostor)} comparisons "
            f"between {len(names)} people; {MINIMUM_FALSE_MATCHES} are needed: give more people or a higher FMR"
        )
    rows, losses = [], []
    for fmr in supported:
        threshold = threshold_at(impostor, fmr)
        matches = impostor >= threshold
        interval = _bootstrap(left[matches], right[matches], np.bincount(person), rounds, seed)
        rows.append(CalibratedThreshold(fmr=fmr, threshold=threshold, impostor_trials=len(impostor), ci95=interval))
        losses.append(float((genuine < threshold).mean()) if len(genuine) else float("nan"))
    return Calibration(tuple(rows), tuple(losses), tuple(refused), len(impostor), len(genuine), len(names))


def compare_all(
    vectors: NDArray[np.float32], person: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int32], NDArray[np.int32], NDArray[np.float64]]:
    """Every comparison once: impostor scores with both people of each, and genuine scores."""
    scores, lefts, rights, genuine = [], [], [], []
    for start in range(0, len(vectors), BLOCK):
        block = vectors[start : start + BLOCK] @ vectors[start:].T
        rows, columns = np.triu_indices(len(block), 1, block.shape[1])
        a, b = person[start + rows], person[start + columns]
        values, other = block[rows, columns], a != b
        scores.append(values[other])
        lefts.append(a[other].astype(np.int32))
        rights.append(b[other].astype(np.int32))
        genuine.append(values[~other])
    return (
        np.concatenate(scores).astype(np.float64),
        np.concatenate(lefts),
        np.concatenate(rights),
        np.concatenate(genuine).astype(np.float64),
    )


def _bootstrap(
    left: NDArray[np.int32], right: NDArray[np.int32], crops: NDArray[np.int64], rounds: int, seed: int
) -> tuple[float, float]:
    """95 % interval of the FMR at a fixed threshold: people are drawn with replacement.

    `left` and `right` are the people of each false match, `crops` counts every person's crops. A comparison counts as
    often as both of its people were drawn.
    """
    rng = np.random.default_rng(seed)
    rates = []
    for _ in range(rounds):
        drawn = np.bincount(rng.integers(0, len(crops), len(crops)), minlength=len(crops)).astype(np.float64)
        weighted = drawn * crops
        trials = (weighted.sum() ** 2 - (weighted**2).sum()) / 2
        if trials > 0:
            rates.append(float((drawn[left] * drawn[right]).sum() / trials))
    low, high = np.quantile(rates, [0.025, 0.975])
    return float(low), float(high)
