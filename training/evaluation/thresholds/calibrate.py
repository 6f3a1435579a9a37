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

from service.face.embedding.normalisation import as_probes, as_references
from service.face.manifest import MINIMUM_FALSE_MATCHES, CalibratedThreshold, TailThreshold
from service.measures.all_pairs import compare_across, compare_all
from service.measures.bootstrap import bootstrap_fmr
from service.measures.thresholds import threshold_at
from training.errors import RateUnsupported
from training.evaluation.thresholds.tail import extend

FMRS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)


@dataclass(frozen=True, slots=True)
class Calibration:
    """What was found.

    `rows` were counted, `tail` was fitted beyond them, `refused` was asked and cannot be told; `fnmr` is the share of
    genuine comparisons that each row loses.
    """

    rows: tuple[CalibratedThreshold, ...]
    fnmr: tuple[float, ...]
    refused: tuple[float, ...]
    impostors: int
    genuine: int
    people: int
    tail: tuple[TailThreshold, ...] = ()


def calibrate(
    vectors: NDArray[np.float32],
    identities: Sequence[str],
    fmrs: Sequence[float] | None = None,
    *,
    offsets: NDArray[np.float32] | None = None,
    templates: NDArray[np.float32] | None = None,
    template_offsets: NDArray[np.float32] | None = None,
    rounds: int = 300,
    seed: int = 0,
) -> Calibration:
    """Calibrate on unit vectors (N, D) and who is on each crop ('' is left out).

    With `fmrs` None, every usual rate that the data can support is taken. With `templates` (N, D), another model's
    vectors of the same crops, every vector is a probe compared with all templates but that of its own crop. Offsets
    (N,) are those of a normalised score.

    Raises:
        RateUnsupported: A rate asked for expects fewer than thirty false matches.
    """
    known = np.flatnonzero([bool(name) for name in identities])
    names = sorted({identities[int(i)] for i in known})
    number = {name: i for i, name in enumerate(names)}
    person = np.array([number[identities[int(i)]] for i in known], dtype=np.int64)
    zeros = np.zeros(len(vectors), np.float32)
    own = zeros if offsets is None else offsets
    probes = as_probes(vectors[known], own[known])
    if templates is None:
        pairs = compare_all(probes, person, as_references(vectors[known], own[known]))
    else:
        others = zeros if template_offsets is None else template_offsets
        pairs = compare_across(probes, as_references(templates[known], others[known]), person)
    impostor, genuine = pairs.impostor, pairs.genuine
    rates = sorted(fmrs or FMRS, reverse=True)
    supported = [fmr for fmr in rates if fmr * len(impostor) >= MINIMUM_FALSE_MATCHES]
    refused = [fmr for fmr in rates if fmr not in supported]
    if (refused and fmrs is not None) or not supported:
        raise RateUnsupported(
            f"FMR {refused[0]:g} expects {refused[0] * len(impostor):.1f} false matches in {len(impostor)} comparisons "
            f"between {len(names)} people; {MINIMUM_FALSE_MATCHES} are needed: give more people or a higher FMR"
        )
    rows, losses = [], []
    for fmr in supported:
        threshold = threshold_at(impostor, fmr)
        matches = impostor >= threshold
        interval = bootstrap_fmr(
            pairs.left[matches],
            pairs.right[matches],
            np.bincount(person),
            ways=1 if templates is None else 2,
            rounds=rounds,
            seed=seed,
        )
        rows.append(CalibratedThreshold(fmr=fmr, threshold=threshold, impostor_trials=len(impostor), ci95=interval))
        losses.append(float((genuine < threshold).mean()) if len(genuine) else float("nan"))
    tail = extend(impostor, pairs.left, pairs.right, len(names), rows[-1], seed=seed)
    return Calibration(tuple(rows), tuple(losses), tuple(refused), len(impostor), len(genuine), len(names), tail)
