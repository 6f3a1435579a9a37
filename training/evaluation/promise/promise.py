"""`facet-train promise`: the false match rate that a model promises, beside the one observed, for every kind of face.

Within each kind every picture is compared with every other of another person, at the thresholds of the model's own
manifest, by the score that the service computes. A kind is what a set says of its faces (`kinds`), or damage done to
both sides of a set's pictures (`damage`). Where a set names people, genuine comparisons tell what it costs. Intervals
are a bootstrap over people.

A kind is measured among the pictures that are let through where quality is enforced: those that the quality check
calls fit, as far as a crop shows it, and that the model's gate calls recognisable. The share that is turned away stands
beside.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.face.embedding.embed import Embedder, Templates
from service.face.embedding.normalisation import as_probes, as_references
from service.face.quality import QualityLimits, assess_crop
from service.face.score import ThresholdTable
from service.measures.all_pairs import compare_all
from service.measures.bootstrap import bootstrap_fmr
from training.data.crops import CropSet
from training.errors import ProtocolInvalid
from training.evaluation.promise.damage import COMMON, RARE, spoil
from training.evaluation.promise.kinds import Kind, find_kinds

CHUNK = 64
STRENGTH = 0.5  # of damage
ROUNDS = 200


@dataclass(frozen=True, slots=True)
class Plan:
    """Which rates are asked, how many pictures of a kind are taken, and how far a kind may lie above its rate.

    A kind breaks the promise where even the lower end of its interval is more than `tolerance` times the rate asked.
    """

    fmrs: tuple[float, ...] = (1e-3, 1e-4)
    most: int = 1000
    damaged: int = 500
    tolerance: float = 5.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Kept:
    """One kind at one rate: observed / asked with its interval, FNMR, and the share of pictures turned away."""

    kind: str
    asked: float
    threshold: float
    basis: str
    ratio: float
    ci95: tuple[float, float]
    impostors: int
    fnmr: float | None
    genuine: int
    refused: float
    pictures: int
    damage: bool

    @property
    def resolved(self) -> bool:
        """Whether thirty false matches are expected: below that, zero observed says little."""
        return self.asked * self.impostors >= 30


@dataclass(frozen=True, slots=True)
class Promise:
    """What was measured of one model."""

    model: str
    digest: str
    score: str
    kept: tuple[Kept, ...]
    tolerance: float

    def worst(self, asked: float, *, damage: bool) -> Kept | None:
        """The kind furthest above its rate, of good or of damaged pictures."""
        mine = [each for each in self.kept if each.asked == asked and each.damage == damage]
        return max(mine, key=lambda each: each.ratio, default=None)

    def middle(self, asked: float) -> float:
        """The geometric mean of observed / asked over the kinds of good pictures.

        Nothing observed counts as half a false match.
        """
        mine = [each for each in self.kept if each.asked == asked and not each.damage]
        ratios = [max(each.ratio, 0.5 / max(1.0, each.asked * each.impostors)) for each in mine]
        return float(np.exp(np.mean(np.log(ratios)))) if ratios else float("nan")

    def broken(self) -> tuple[Kept, ...]:
        """Kinds whose rate is above what is tolerated, beyond chance."""
        return tuple(each for each in self.kept if each.ci95[0] > self.tolerance)

    def as_json(self) -> dict[str, Any]:
        """Plain values, with the summary that the table ends with."""
        rates = dict.fromkeys(each.asked for each in self.kept)
        worst = {f"{rate:g}": self.worst(rate, damage=False) for rate in rates}
        return {
            "model": self.model,
            "digest": self.digest,
            "score": self.score,
            "tolerance": self.tolerance,
            "kinds": [asdict(each) for each in self.kept],
            "worst": {rate: {"kind": each.kind, "ratio": each.ratio} for rate, each in worst.items() if each},
            "geometric_mean": {f"{rate:g}": self.middle(rate) for rate in rates},
            "broken": [f"{each.kind} at {each.asked:g}" for each in self.broken()],
        }


def measure_promise(model: Embedder, sets: Sequence[CropSet], plan: Plan, *, damage: bool = True) -> Promise:
    """Measure a model on the test splits of prepared sets that it was not calibrated on.

    With `damage` the first set's pictures are measured damaged, too.

    Raises:
        ProtocolInvalid: The model has no thresholds, or no two pictures can be compared.
    """
    manifest = model.manifest
    if not manifest.thresholds:
        raise ProtocolInvalid(f"{manifest.identity} has no calibrated thresholds: it promises nothing")
    table = ThresholdTable(manifest.thresholds, manifest.tail)
    cut = manifest.recognisability.cut if manifest.recognisability is not None else None
    kept = [
        each
        for name, kind, crops, damaged in _kinds(sets, plan, damage=damage)
        for each in _measure(name, kind, look(model, crops), find_fit(crops), damaged, table, cut, plan)
    ]
    if not any(each.impostors for each in kept):
        raise ProtocolInvalid("no kind has two people whose pictures could be compared")
    return Promise(manifest.identity, manifest.sha256, manifest.computed_score, tuple(kept), plan.tolerance)


def look(model: Embedder, crops: NDArray[np.uint8]) -> Templates:
    """The templates of many crops (N, 128, 128, 3), some at a time."""
    parts = [
        model.templates(np.ascontiguousarray(crops[start : start + CHUNK])) for start in range(0, len(crops), CHUNK)
    ]
    known = [part.recognisability for part in parts if part.recognisability is not None]
    return Templates(
        np.concatenate([part.vectors for part in parts]),
        np.concatenate([part.offsets for part in parts]),
        np.concatenate(known) if len(known) == len(parts) else None,
    )


def find_fit(crops: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which crops (N, 128, 128, 3) the service's quality check finds nothing against: (N,)."""
    limits = QualityLimits()
    return np.array([not assess_crop(np.ascontiguousarray(crop), limits).reasons for crop in crops], np.bool_)


def _kinds(sets: Sequence[CropSet], plan: Plan, *, damage: bool) -> Iterator[tuple[str, Kind, NDArray[np.uint8], bool]]:
    """Kinds of good pictures of every set, then each damage of the first: name, kind, crops, whether damaged."""
    for crops in sets:
        for kind in find_kinds(crops, "test", plan.most, plan.seed):
            name = kind.name if kind.name == crops.name else f"{crops.name}: {kind.name}"
            yield name, kind, crops.crops[kind.rows], False
    if damage:
        first = find_kinds(sets[0], "test", plan.damaged, plan.seed)[0]
        for name, does in {**COMMON, **RARE}.items():
            rng = np.random.default_rng(plan.seed)
            yield f"{sets[0].name}, {name}", first, spoil(sets[0].crops[first.rows], does, rng, STRENGTH), True


def _measure(
    name: str,
    kind: Kind,
    faces: Templates,
    fit: NDArray[np.bool_],
    damaged: bool,
    table: ThresholdTable,
    cut: float | None,
    plan: Plan,
) -> Iterator[Kept]:
    people = np.unique(kind.people, return_inverse=True)[1]
    through = fit
    if cut is not None and faces.recognisability is not None:
        through = through & (faces.recognisability >= cut)
    vectors, offsets = faces.vectors[through], faces.offsets[through]
    person = np.unique(people[through], return_inverse=True)[1].astype(np.int64)
    refused = float(1 - through.mean())
    pairs = None
    if len(person) > 1:
        pairs = compare_all(as_probes(vectors, offsets), person, as_references(vectors, offsets))
    for asked in plan.fmrs:
        threshold = table.at(asked)
        if pairs is None or not len(pairs.impostor):
            yield Kept(
                name,
                asked,
                threshold.value,
                threshold.basis,
                0.0,
                (0.0, 0.0),
                0,
                None,
                0,
                refused,
                len(people),
                damaged,
            )
            continue
        matches = pairs.impostor >= threshold.value
        low, high = bootstrap_fmr(
            pairs.left[matches], pairs.right[matches], np.bincount(person), rounds=ROUNDS, seed=plan.seed
        )
        genuine = pairs.genuine if kind.named else pairs.genuine[:0]
        fnmr = float((genuine < threshold.value).mean()) if len(genuine) else None
        yield Kept(
            name,
            asked,
            threshold.value,
            threshold.basis,
            float(matches.mean() / asked),
            (low / asked, high / asked),
            len(pairs.impostor),
            fnmr,
            len(genuine),
            refused,
            len(people),
            damaged,
        )
