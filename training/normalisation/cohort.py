"""The cohort: strangers of every kind, against whom a template is measured before its scores are trusted.

A kind that is missing is not protected, so a cohort is gathered by kind: every kind gives as many faces as every other,
good ones and damaged ones. Where sets of tight crops tell the kinds, the sets of ordinary photographs say how such
faces look in those: each kind's faces are taken once more, moved to where a set lies, and ordinary faces get no centres
of their own. What is kept are the centres of clusters (spherical k-means), each the mean direction of at least five
faces: nobody's template is among them. A third of the people stay out of the cohort, and tell how strong it has to be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import faiss
import numpy as np
from numpy.typing import NDArray

from service.face.embedding.embed import normalise
from training.data.crops import CropSet
from training.data.embeds import Embeds
from training.errors import SetInvalid
from training.evaluation.promise.damage import COMMON
from training.evaluation.promise.kinds import Kind, find_kinds
from training.evaluation.vectors import embed
from training.normalisation.once import damaged, draw_pictures
from training.normalisation.strength import Held, Strength, choose_strength

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class CohortPlan:
    """How a cohort is gathered and how much it counts.

    `most` faces of a kind at most, of which those of every third person choose the strength; `damaged` faces of each
    kind of damage; `centres` clusters, those of fewer than `least` faces dropped; `nearest` and `strength` as in
    `service.face.embedding.normalisation`, a `strength` of None being the least at which no kind has over `kept` times
    the rate `fmr`, or `USUAL` where the sets tell no kinds apart; `ordinary` is the share of ordinary faces that keep
    their score. `tight` names sets of tight crops.
    """

    most: int = 1000
    damaged: int = 300
    centres: int = 1024
    least: int = 5
    nearest: int = 4
    strength: float | None = None
    kept: float = 2.5
    fmr: float = 1e-3
    ordinary: float = 0.25
    tight: tuple[str, ...] = ("utkface",)
    seed: int = 0


USUAL = 1.2


@dataclass(frozen=True, slots=True)
class Cohort:
    """Centres, float32 (K, D) of unit length, from `faces` faces of the sets `data`.

    `ordinary` is a(x) up to which a face keeps its score, `strength` how much counts of what is beyond it.
    """

    centres: Vectors
    ordinary: float
    strength: Strength
    faces: int
    kinds: Mapping[str, int]
    data: tuple[str, ...]


def gather_cohort(model: Embeds, sets: Sequence[CropSet], plan: CohortPlan, *, progress: bool = True) -> Cohort:
    """Gather a cohort from prepared sets.

    Raises:
        SetInvalid: There are too few faces.
    """
    tight, ordinary = _Faces(), _Faces()
    places: dict[str, Vectors] = {}
    for crops in sets:
        mine = _Faces()
        for kind in find_kinds(crops, "train", plan.most, plan.seed):
            mine.add(f"{crops.name}: {kind.name}", kind, embed(model, crops.crops[kind.rows], progress=progress))
        if crops.name in plan.tight:
            tight = tight | mine
        else:
            ordinary = ordinary | mine
            places[crops.name] = np.concatenate(list(mine.cohort.values()))
    parts = dict(tight.cohort or ordinary.cohort)
    if tight.cohort:
        for place, vectors in places.items():
            parts |= _as_ordinary(tight.cohort, place, vectors)
    for name, pictures in damaged(draw_pictures(sets, plan.damaged, plan.seed), COMMON, plan.seed):
        parts[name] = embed(model, pictures, progress=progress)
    vectors = np.concatenate(list(parts.values()))
    if len(vectors) < plan.least * plan.nearest * 2:
        raise SetInvalid(f"{len(vectors)} faces are too few for a cohort: {plan.least * plan.nearest * 2} are needed")
    centres = find_centres(vectors, plan)
    typical = np.concatenate(list((ordinary.cohort or tight.cohort).values()))
    level = float(np.quantile(nearest_mean(typical, centres, plan.nearest), plan.ordinary))
    return Cohort(
        centres,
        level,
        _strength(tight, ordinary, centres, level, plan),
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


class _Faces:
    """Faces by kind, two thirds of the people for the cohort, the others held out."""

    def __init__(self) -> None:
        self.cohort: dict[str, Vectors] = {}
        self.held: dict[str, tuple[Vectors, tuple[str, ...]]] = {}

    def add(self, name: str, kind: Kind, vectors: Vectors) -> None:
        """Every third person's faces are held out; of the others, one each goes into the cohort."""
        person = np.unique(kind.people, return_inverse=True)[1]
        held = person % 3 == 2
        first = np.zeros(len(person), bool)
        first[np.unique(person, return_index=True)[1]] = True
        self.cohort[name] = vectors[first & ~held]
        self.held[name] = vectors[held], tuple(np.array(kind.people)[held].tolist())

    def __or__(self, other: _Faces) -> _Faces:
        both = _Faces()
        both.cohort, both.held = self.cohort | other.cohort, self.held | other.held
        return both


def _strength(tight: _Faces, ordinary: _Faces, centres: Vectors, level: float, plan: CohortPlan) -> Strength:
    """The plan's strength, or the least that keeps the kinds of tight crops at the rate of ordinary faces.

    It is the usual one where too few people are held out of either to compare two strangers.
    """
    if plan.strength is not None:
        return Strength(plan.strength, {})

    def measured(faces: _Faces) -> dict[str, Held]:
        return {
            name: Held(vectors, people, nearest_mean(vectors, centres, plan.nearest) - np.float32(level))
            for name, (vectors, people) in faces.held.items()
            if len(set(people)) > 1
        }

    usual, kinds = measured(ordinary), measured(tight)
    return choose_strength(usual, kinds, plan.fmr, plan.kept) if usual and kinds else Strength(USUAL, {})


def _as_ordinary(tight: Mapping[str, Vectors], place: str, ordinary: Vectors) -> dict[str, Vectors]:
    """Tight crops' vectors moved to where the ordinary photographs of a set lie, by the difference of the means.

    The difference is taken from the kind that lies nearest to them, whose own faces stay where they are: that of
    another kind would take its kind away, too.
    """
    middle = ordinary.mean(axis=0)
    means = {name: vectors.mean(axis=0) for name, vectors in tight.items()}
    nearest = min(means, key=lambda name: float(np.linalg.norm(means[name] - middle)))
    shift = middle - means[nearest]
    return {
        f"{name}, moved to {place}": normalise(vectors + shift) for name, vectors in tight.items() if name != nearest
    }
