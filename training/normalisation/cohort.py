"""The cohort: strangers of every kind, against whom a template is measured before its scores are trusted.

A kind that is missing is not protected, so a cohort is gathered by kind: every kind gives as many faces as every other,
faces of ordinary photographs and of tight crops, good ones and damaged ones. What is kept of them are the centres of
clusters (spherical k-means), each the mean direction of at least five faces: nobody's template is among them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import faiss
import numpy as np
from numpy.typing import NDArray

from service.face.embed import normalise
from training.data.crops import CropSet
from training.data.embeds import Embeds
from training.errors import SetInvalid
from training.evaluation.damage import COMMON, spoil
from training.evaluation.kinds import Kind, find_kinds
from training.evaluation.vectors import embed

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class CohortPlan:
    """How a cohort is gathered and how much it counts.

    `most` faces of a kind at most; `damaged` faces of each kind of damage; `centres` clusters, those of fewer than
    `least` faces dropped; `nearest` and `strength` as in `service.face.normalisation`; `ordinary` is the share of faces
    of ordinary photographs that keep their score. `tight` names sets of tight
    crops, whose faces are taken once more as they would look in ordinary photographs.
    """

    most: int = 700
    damaged: int = 300
    centres: int = 1024
    least: int = 5
    nearest: int = 4
    strength: float = 1.3
    ordinary: float = 0.1
    tight: tuple[str, ...] = ("utkface",)
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Cohort:
    """Centres, float32 (K, D) of unit length, from `faces` faces of the sets `data`.

    `ordinary` is a(x) up to which a face keeps its score.
    """

    centres: Vectors
    ordinary: float
    faces: int
    kinds: Mapping[str, int]
    data: tuple[str, ...]


def gather_cohort(model: Embeds, sets: Sequence[CropSet], plan: CohortPlan, *, progress: bool = True) -> Cohort:
    """Gather a cohort from prepared sets.

    Raises:
        SetInvalid: There are too few faces.
    """
    rng = np.random.default_rng(plan.seed)
    clean: dict[str, Vectors] = {}
    kinds: dict[str, list[Kind]] = {}
    for crops in sets:
        kinds[crops.name] = list(find_kinds(crops, "train", plan.most, plan.seed))
        for kind in kinds[crops.name]:
            rows = kind.rows[_first_of_each(kind.people)]
            clean[f"{crops.name}: {kind.name}"] = embed(model, crops.crops[rows], progress=progress)
    ordinary = [f"{c.name}: {k.name}" for c in sets if c.name not in plan.tight for k in kinds[c.name]]
    parts = dict(clean)
    for crops in sets:
        if crops.name in plan.tight and ordinary:
            mine = {name: clean[name] for name in (f"{crops.name}: {kind.name}" for kind in kinds[crops.name])}
            for other in sets:
                if other.name not in plan.tight:
                    ordinary_ones = [clean[f"{other.name}: {kind.name}"] for kind in kinds[other.name]]
                    parts |= _as_ordinary(mine, other.name, np.concatenate(ordinary_ones))
    pictures = np.concatenate(
        [crops.crops[np.sort(rng.permutation(crops.rows("train"))[: plan.damaged * 4])] for crops in sets]
    )
    for name, damage in COMMON.items():
        chosen = pictures[rng.permutation(len(pictures))[: plan.damaged]]
        parts[name] = embed(model, spoil(chosen, damage, rng), progress=progress)
    vectors = np.concatenate(list(parts.values()))
    if len(vectors) < plan.least * plan.nearest * 2:
        raise SetInvalid(f"{len(vectors)} faces are too few for a cohort: {plan.least * plan.nearest * 2} are needed")
    centres = find_centres(vectors, plan)
    typical = np.concatenate([clean[name] for name in ordinary or clean])
    return Cohort(
        centres,
        float(np.quantile(nearest_mean(typical, centres, plan.nearest), plan.ordinary)),
        len(vectors),
        {name: len(part) for name, part in parts.items()},
        tuple(f"{crops.name} (digest {crops.digest[:12]})" for crops in sets),
    )


def find_centres(vectors: Vectors, plan: CohortPlan) -> Vectors:
    """Cluster unit vectors (N, D); return the unit centres of the clusters that hold enough of them."""
    count = min(plan.centres, len(vectors) // (2 * plan.least))
    means = faiss.Kmeans(
        vectors.shape[1],
        count,
        niter=10,
        seed=plan.seed + 1,
        spherical=True,
        min_points_per_centroid=1,
        max_points_per_centroid=len(vectors),
    )
    means.train(np.ascontiguousarray(vectors))
    _, owner = means.index.search(np.ascontiguousarray(vectors), 1)
    sizes = np.bincount(owner[:, 0], minlength=count)
    return normalise(np.asarray(means.centroids, np.float32)[sizes >= plan.least])


def nearest_mean(vectors: Vectors, centres: Vectors, nearest: int) -> NDArray[np.float32]:
    """a(x): the mean score of each vector with its `nearest` closest centres, float32 (N,)."""
    scores = vectors @ centres.T
    count = min(nearest, scores.shape[1])
    return np.asarray(np.partition(scores, scores.shape[1] - count, axis=1)[:, -count:].mean(axis=1), np.float32)


def _as_ordinary(tight: Mapping[str, Vectors], place: str, ordinary: Vectors) -> dict[str, Vectors]:
    """Tight crops' vectors moved to where the ordinary photographs of a set lie, by the difference of the means.

    The difference is taken from the kind that lies nearest to them: that of another kind would take its kind away, too.
    """
    middle = ordinary.mean(axis=0)
    means = {name: vectors.mean(axis=0) for name, vectors in tight.items()}
    nearest = min(means.values(), key=lambda mean: float(np.linalg.norm(mean - middle)))
    return {f"{name}, moved to {place}": normalise(vectors + (middle - nearest)) for name, vectors in tight.items()}


def _first_of_each(people: Sequence[str]) -> NDArray[np.int64]:
    """The first row of every person."""
    return np.sort(np.unique(np.array(people, dtype=np.str_), return_index=True)[1]).astype(np.int64)
