"""Samples of the embedding tasks: which crops make up an epoch, and what a batch of them holds."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from service.face.align import CROP
from service.face.manifest import InputSpec
from service.face.embedding.preprocess import to_tensor
from training.data.augment import CENTRE, Augment, augment, draw_warps, move_points
from training.data.crops import CropSet
from training.data.reduced import ReducedCrops, draw_light, refuse_damage
from training.errors import RecipeInvalid, SetInvalid
from training.recipe import Part
from training.data.embeds import Embeds
from training.data.batch import Batch


LABELS = re.compile(r"(\d{1,3})_([01])_([0-4])_\d+")
CHILD = 12
"""The oldest age of a child, whom a network takes for another child whatever the ancestry."""


class DataSpec(Part):
    """`sets`: prepared sets and how often an epoch shows each of their crops (0.5: a random half of them).

    `scarce` names sets whose files are called as UTKFace's are (age_gender_race_date): of these, a part of an epoch
    holds more of the kinds that the set holds few of, by one over the root of their share.
    `labelled` leaves out crops without identity. `per_identity` puts that many crops of one person next to each other
    (for triplets); an epoch then holds only people with at least two, everybody once, so every set has the weight 1.
    `reduced` holds crops in memory near the size of the input (`training.data.reduced`): for inputs of a few dozen
    pixels, and faces that are moved and lit, not damaged.
    """

    sets: dict[str, Annotated[float, Field(ge=0)]] = Field(min_length=1)
    split: Literal["train", "all"] = "train"
    scarce: tuple[str, ...] = ()
    labelled: bool = False
    per_identity: int | None = Field(default=None, ge=2)
    reduced: bool = False

    @model_validator(mode="after")
    def _weighs_crops_or_people(self) -> Self:
        if self.per_identity is not None and (self.scarce or set(self.sets.values()) != {1.0}):
            raise ValueError("per_identity shows everybody's crops once: give every set the weight 1, and no scarce")
        return self


@dataclass(frozen=True, slots=True)
class Pool:
    """The chosen crops of several sets: set number, row in the set, class (-1 = unknown), and weight of the set.

    `scarcity` is by how much more often a crop is drawn than others of its set; None: all alike.
    """

    sets: tuple[CropSet, ...]
    owner: NDArray[np.int64]
    row: NDArray[np.int64]
    label: NDArray[np.int64]
    weights: tuple[float, ...]
    classes: tuple[str, ...]
    scarcity: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.owner)

    def take(self, arrays: Sequence[NDArray[np.generic]], indices: NDArray[np.int64]) -> NDArray[np.generic]:
        """Rows of per-set arrays for pool indices, in the order of the indices."""
        owners, rows = self.owner[indices], self.row[indices]
        out = np.empty((len(indices), *arrays[0].shape[1:]), dtype=arrays[0].dtype)
        for number, array in enumerate(arrays):
            here = owners == number
            out[here] = array[rows[here]]
        return out

    def crop(self, index: int) -> NDArray[np.uint8]:
        """One crop, RGB uint8 (128, 128, 3)."""
        return np.asarray(self.sets[int(self.owner[index])].crops[int(self.row[index])])


def gather(sets: Sequence[CropSet], spec: DataSpec) -> Pool:
    """Choose the crops a recipe asks for and number the identities.

    Raises:
        SetInvalid: Nothing is left.
    """
    names = [[f"{crops.name}/{identity}" if identity else "" for identity in crops.identities] for crops in sets]
    rows = [crops.rows(spec.split) for crops in sets]
    if spec.labelled:
        rows = [r[[bool(names[i][j]) for j in r]] if len(r) else r for i, r in enumerate(rows)]
    classes = tuple(sorted({names[i][j] for i, r in enumerate(rows) for j in r} - {""}))
    number = {name: position for position, name in enumerate(classes)}
    owner = np.concatenate([np.full(len(r), i) for i, r in enumerate(rows)]).astype(np.int64)
    row = np.concatenate(rows).astype(np.int64)
    label = np.array([number.get(names[i][j], -1) for i, j in zip(owner, row, strict=True)], dtype=np.int64)
    if not len(row):
        raise SetInvalid(f"{', '.join(spec.sets)}: no crop is left in the split {spec.split!r}")
    scarcity = weigh_kinds(sets, spec.scarce, owner, row) if spec.scarce else None
    return Pool(tuple(sets), owner, row, label, tuple(spec.sets.values()), classes, scarcity)


def weigh_kinds(
    sets: Sequence[CropSet], scarce: Sequence[str], owner: NDArray[np.int64], row: NDArray[np.int64]
) -> NDArray[np.float64]:
    """One over the root of the share of each crop's kind in its set; 1 in sets that are not named in `scarce`.

    Raises:
        SetInvalid: No set has one of the names.
    """
    if unknown := set(scarce) - {crops.name for crops in sets}:
        raise SetInvalid(f"scarce: {', '.join(sorted(unknown))} is not among the sets")
    weights = np.ones(len(owner))
    for number, crops in enumerate(sets):
        if crops.name in scarce:
            mine = np.flatnonzero(owner == number)
            kinds = np.array([_kind(crops.files[int(i)]) for i in row[mine]])
            _, inverse, counts = np.unique(kinds, return_inverse=True, return_counts=True)
            weights[mine] = (counts[inverse] / len(mine)) ** -0.5
    return weights


def _kind(file: str) -> str:
    """The kind of face that UTKFace's file names tell: child or not, gender and ancestry."""
    match = LABELS.match(file.rsplit("/", 1)[-1])
    if match is None:
        return ""
    age, gender, race = match.groups()
    return f"child {race}" if int(age) <= CHILD else f"{gender} {race}"


class CropSource:
    """Batches of `x` (the student's input), `label`, and per teacher `target.<name>` and `view.<name>`.

    `cached` holds per teacher one array of targets per set; `live` teachers are run on the augmented crops;
    `views` are input specs of open networks, which run inside the loop. With `points`, five landmarks come along,
    in units of the crop, -0.5..0.5 about its centre.
    """

    def __init__(
        self,
        pool: Pool,
        pixels: InputSpec,
        spec: Augment,
        *,
        per_identity: int | None = None,
        reduced: bool = False,
        cached: Mapping[str, Sequence[NDArray[np.float32]]] | None = None,
        live: Mapping[str, Embeds] | None = None,
        views: Mapping[str, InputSpec] | None = None,
        points: bool = False,
    ) -> None:
        self._pool, self._pixels, self._augment = pool, pixels, spec
        self._per_identity = per_identity
        self._cached, self._live, self._views = cached or {}, live or {}, views or {}
        self._points = _landmarks(pool) if points else None
        self._reduced: dict[str, ReducedCrops] = {}
        if reduced:
            refuse_damage(spec)
            if self._live:
                raise RecipeInvalid("data.reduced: a teacher that embeds the augmented crop needs its whole size")
            inputs = {"x": pixels} | {f"view.{name}": view for name, view in self._views.items()}
            self._reduced = {name: ReducedCrops(pool.crop, len(pool), each) for name, each in inputs.items()}

    def order(self, epoch: int, seed: int) -> NDArray[np.int64]:
        """A shuffled epoch: every set as often as its weight says, or groups of one identity each."""
        rng = np.random.default_rng([seed, 7, epoch])
        if self._per_identity is not None:
            return self._groups(rng, self._per_identity)
        parts = []
        for number, weight in enumerate(self._pool.weights):
            own = np.flatnonzero(self._pool.owner == number)
            whole, rest = int(weight), round((weight - int(weight)) * len(own))
            parts += [own] * whole + [self._draw(own, rest, rng)]
        return rng.permutation(np.concatenate(parts))

    def _draw(self, own: NDArray[np.int64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        if self._pool.scarcity is None:
            return rng.permutation(own)[:count]
        weights = self._pool.scarcity[own]
        return rng.choice(own, count, replace=False, p=weights / weights.sum())

    def _groups(self, rng: np.random.Generator, size: int) -> NDArray[np.int64]:
        order = np.argsort(self._pool.label, kind="stable")
        labels = self._pool.label[order]
        starts = np.flatnonzero(np.r_[True, labels[1:] != labels[:-1]])
        groups = []
        for members in np.split(order, starts[1:]):
            if self._pool.label[members[0]] < 0 or len(members) < 2:
                continue
            shuffled = rng.permutation(members)
            # everybody fills whole groups: the last is completed with faces that were already shown
            shuffled = np.resize(shuffled, -(-len(shuffled) // size) * size)
            groups.append(shuffled.reshape(-1, size))
        if not groups:
            raise SetInvalid("per_identity: nobody in these sets has two crops")
        return rng.permutation(np.concatenate(groups)).reshape(-1)

    def batch(self, indices: NDArray[np.int64], rng: np.random.Generator) -> Batch:
        """The arrays of one batch."""
        pool = self._pool
        out, warps = self._show(indices, rng)
        out["label"] = pool.label[indices]
        for name, arrays in self._cached.items():
            out[f"target.{name}"] = pool.take(arrays, indices)
        if self._points is not None:
            moved = move_points(np.asarray(pool.take(self._points, indices), np.float32), warps)
            out["points"] = ((moved - CENTRE) / CROP).reshape(len(indices), 10).astype(np.float32)
        return out

    def _show(self, indices: NDArray[np.int64], rng: np.random.Generator) -> tuple[Batch, NDArray[np.float64]]:
        """What is made of the augmented crops, and the warps (N, 2, 3) that they went through."""
        if self._reduced:
            warps = draw_warps(len(indices), self._augment, rng)
            light = draw_light(len(indices), self._augment, rng)
            return {name: crops.look(indices, warps, light) for name, crops in self._reduced.items()}, warps
        clean = np.asarray(self._pool.take([crops.crops for crops in self._pool.sets], indices), np.uint8)
        crops, warps = augment(clean, self._augment, rng)
        out: Batch = {"x": to_tensor(crops, self._pixels)}
        for name, teacher in self._live.items():
            out[f"target.{name}"] = teacher.embed(crops)
        for name, pixels in self._views.items():
            out[f"view.{name}"] = to_tensor(crops, pixels)
        return out, warps


def _landmarks(pool: Pool) -> list[NDArray[np.float32]]:
    for crops in pool.sets:
        if crops.landmarks is None:
            raise SetInvalid(f"{crops.name} has no landmarks: prepare it with --landmarks")
    return [crops.landmarks for crops in pool.sets if crops.landmarks is not None]
