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
from training.evaluation.metrics import threshold_at

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
    templates: NDArray[np.float32] | None = None,
    rounds: int = 300,
    seed: int = 0,
) -> Calibration:
    """Calibrate on unit vectors (N, D) and who is on each crop ('' is left out).

    With `fmrs` None, every usual rate that the data can support is taken. With `templates` (N, D), another model's
    vectors of the same crops, every vector is a probe compared with all templates but that of its own crop.

    Raises: RateUnsupported when a rate asked for expects fewer than thirty false matches.
    """
    known = np.flatnonzero([bool(name) for name in identities])
    names = sorted({identities[int(i)] for i in known})
    number = {name: i for i, name in enumerate(names)}
    person = np.array([number[identities[int(i)]] for i in known], dtype=np.int64)
    if templates is None:
        impostor, left, right, genuine = compare_all(vectors[known], person)
    else:
        impostor, left, right, genuine = compare_across(vectors[known], templates[known], person)
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
        people = np.bincount(person)
        interval = _bootstrap(left[matches], right[matches], people, 1 if templates is None else 2, rounds, seed)
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


def compare_across(
    probes: NDArray[np.float32], templates: NDArray[np.float32], person: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int32], NDArray[np.int32], NDArray[np.float64]]:
    """Probes by one model with templates by another, all but those of one crop: as `compare_all` gives them."""
    scores, lefts, rights, genuine = [], [], [], []
    columns = np.arange(len(templates))
    for start in range(0, len(probes), BLOCK):
        block = probes[start : start + BLOCK] @ templates.T
        a = person[start : start + BLOCK, None]
        other = a != person[None, :]
        own = columns[None, :] == (start + np.arange(len(block)))[:, None]
        rows, at = np.nonzero(other)
        scores.append(block[other])
        lefts.append(person[start + rows].astype(np.int32))
        rights.append(person[at].astype(np.int32))
        genuine.append(block[~other & ~own])
    return (
        np.concatenate(scores).astype(np.float64),
        np.concatenate(lefts),
        np.concatenate(rights),
        np.concatenate(genuine).astype(np.float64),
    )


def _bootstrap(
    left: NDArray[np.int32], right: NDArray[np.int32], crops: NDArray[np.int64], ways: int, rounds: int, seed: int
) -> tuple[float, float]:
    """95 % interval of the FMR at a fixed threshold: people are drawn with replacement.

    `left` and `right` are the people of each false match, `crops` counts every person's crops. A comparison counts as
    often as both of its people were drawn. `ways` is 2 where either of two crops is the probe once, else 1.
    """
    rng = np.random.default_rng(seed)
    rates = []
    for _ in range(rounds):
        drawn = np.bincount(rng.integers(0, len(crops), len(crops)), minlength=len(crops)).astype(np.float64)
        weighted = drawn * crops
        trials = ways * (weighted.sum() ** 2 - (weighted**2).sum()) / 2
        if trials > 0:
            rates.append(float((drawn[left] * drawn[right]).sum() / trials))
    low, high = np.quantile(rates, [0.025, 0.975])
    return float(low), float(high)
