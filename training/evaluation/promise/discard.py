"""`facet-train discard`: error against discard by recognisability, the curve by which the gate's cut is chosen.

Genuine comparisons of good photographs, and of good ones with damaged ones, are decided at one rate. Then rising shares
of the photographs are left out, those of the lowest recognisability first (ISO/IEC 29794-1; Grother and Tabassi,
"Performance of biometric quality measures", PAMI 2007). A cut is worth what it takes off the misses, and costs the good
photographs that it turns away: their share stands beside, kind by kind, so that no kind pays more than others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from service.face.embedding.embed import Embedder
from service.face.embedding.normalisation import as_probes, as_references
from service.face.score import ThresholdTable
from service.measures.all_pairs import score_pairs
from service.measures.discard import Discard, error_versus_discard
from service.measures.matching import matches
from training.data.crops import CropSet
from training.errors import ProtocolInvalid
from training.evaluation.plots import save
from training.evaluation.promise.damage import COMMON, RARE, spoil
from training.evaluation.promise.kinds import Kind, find_kinds
from training.evaluation.promise.promise import STRENGTH, look


@dataclass(frozen=True, slots=True)
class DiscardPlan:
    """What is measured: the rate asked, pictures of a kind and pictures damaged at most, and the shares left out."""

    fmr: float = 1e-3
    most: int = 1000
    damaged: int = 100
    shares: tuple[float, ...] = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)
    seed: int = 0


@dataclass(frozen=True, slots=True)
class DiscardCurve:
    """FNMR as the least recognisable photographs are left out.

    Attributes:
        model: Name and version.
        asked: The FMR at whose threshold comparisons are decided.
        points: The curve, by rising share.
        served: What the model's own cut leaves out.
        cut: That cut.
        kinds: Of good photographs, the share turned away by the cut of each point and then by the model's own.
    """

    model: str
    asked: float
    points: tuple[Discard, ...]
    served: Discard
    cut: float
    kinds: Mapping[str, tuple[float, ...]]

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def measure_discard(model: Embedder, sets: Sequence[CropSet], plan: DiscardPlan) -> DiscardCurve:
    """Measure a model on the test splits of prepared sets; the first gives the comparisons, all give the kinds.

    Raises:
        ProtocolInvalid: The model has no gate or no thresholds, or the first set has no two pictures of one person.
    """
    manifest = model.manifest
    if manifest.recognisability is None or not manifest.thresholds:
        raise ProtocolInvalid(f"{manifest.identity} has no thresholds, or tells no face's recognisability: no gate")
    cut = manifest.recognisability.cut
    first = find_kinds(sets[0], "test", plan.most, plan.seed)[0]
    left, right = _mates(first)
    if not len(left):
        raise ProtocolInvalid(f"{sets[0].name} has no two pictures of one person in its test split")
    threshold = ThresholdTable(manifest.thresholds, manifest.tail).at(plan.fmr).value
    quality, one, other, scores = _compare(model, sets[0].crops[first.rows], left, right, plan)
    wrong = ~matches(scores, threshold)
    shares = (*plan.shares, float((quality < cut).mean()))
    *points, served = error_versus_discard(quality, one, other, wrong, shares)
    cuts = (*(point.cut for point in points), cut)
    kinds = {name: tuple(float((values < value).mean()) for value in cuts) for name, values in _good(model, sets, plan)}
    return DiscardCurve(manifest.identity, plan.fmr, tuple(points), served, cut, kinds)


def describe_discard(curve: DiscardCurve) -> str:
    """Two Markdown tables: the curve, and what each of its cuts turns away of every kind of good photographs."""
    points = [(point, f"{point.cut:.3f}") for point in curve.points] + [(curve.served, f"{curve.cut:.3f}, served")]
    order = sorted(range(len(points)), key=lambda place: points[place][0].share)
    lines = [f"| photographs left out | cut | FNMR at FMR {curve.asked:g} | comparisons |", "|---|---|---|---|"]
    for place in order:
        point, cut = points[place]
        rate = "-" if point.rate is None else f"{point.rate:.1%}"
        lines.append(f"| {point.share:.1%} | {cut} | {rate} | {point.comparisons:,} |")
    cuts = " | ".join(f"below {points[place][1]}" for place in order)
    lines += ["", f"| kind | {cuts} |", "|---|" + "---|" * len(order)]
    for name, shares in curve.kinds.items():
        lines.append(f"| {name} | " + " | ".join(f"{shares[place]:.1%}" for place in order) + " |")
    return "\n".join(lines) + "\n"


def plot_discard(curve: DiscardCurve, folder: Path) -> list[Path]:
    """Write `discard-<model>` as .png and .svg: the curve, and the kinds that its cuts turn away."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    misses, refusals = figure.subplots(1, 2)
    rated = [point for point in curve.points if point.rate is not None]
    misses.plot([point.share for point in rated], [point.rate or 0.0 for point in rated], marker=".")
    misses.axvline(curve.served.share, color="grey", linestyle="--", label=f"cut served, {curve.cut:.3f}")
    misses.set(xlabel="photographs left out", ylabel=f"FNMR at FMR {curve.asked:g}", title=curve.model, ylim=(0, None))
    misses.legend()
    cuts = [point.cut for point in curve.points]
    for name, shares in curve.kinds.items():
        refusals.plot(cuts, shares[: len(cuts)], marker=".", label=name)
    refusals.axvline(curve.cut, color="grey", linestyle="--")
    refusals.set(xlabel="cut", ylabel="good photographs turned away", ylim=(0, None))
    refusals.legend(fontsize=6)
    return save(figure, folder, f"discard-{curve.model.split('@')[0]}")


def _mates(kind: Kind) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Every two pictures of one person, where people are named: (M,) and (M,)."""
    person = np.unique(kind.people, return_inverse=True)[1]
    left, right = np.triu_indices(len(person), 1)
    same = (person[left] == person[right]) & kind.named
    return left[same].astype(np.int64), right[same].astype(np.int64)


def _compare(
    model: Embedder, crops: NDArray[np.uint8], left: NDArray[np.int64], right: NDArray[np.int64], plan: DiscardPlan
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Compare good pictures with good ones, and some of them damaged in every way with good ones of the same person.

    Returns:
        The recognisability of every photograph, good ones first; both photographs of each comparison; its score.
    """
    mated = np.unique(np.concatenate([left, right]))
    chosen = np.sort(np.random.default_rng(plan.seed).permutation(mated)[: plan.damaged])
    damages = {**COMMON, **RARE}
    pictures = [crops] + [
        spoil(crops[chosen], does, np.random.default_rng(plan.seed), STRENGTH) for does in damages.values()
    ]
    faces = look(model, np.concatenate(pictures))
    if faces.recognisability is None:
        raise ProtocolInvalid(f"{model.manifest.identity} tells no face's recognisability")
    place = np.full(len(crops), -1)
    place[chosen] = np.arange(len(chosen))
    one, other = [left], [right]
    for number in range(len(damages)):
        start = len(crops) + number * len(chosen)
        for damaged, good in ((left, right), (right, left)):
            drawn = place[damaged] >= 0
            one.append(start + place[damaged[drawn]])
            other.append(good[drawn])
    first, second = np.concatenate(one), np.concatenate(other)
    probes, references = as_probes(faces.vectors, faces.offsets), as_references(faces.vectors, faces.offsets)
    scores = score_pairs(probes[first], references[second])
    return faces.recognisability.astype(np.float64), first, second, scores


def _good(model: Embedder, sets: Sequence[CropSet], plan: DiscardPlan) -> Sequence[tuple[str, NDArray[np.float32]]]:
    kinds = []
    for crops in sets:
        for kind in find_kinds(crops, "test", plan.most, plan.seed):
            recognisability = look(model, crops.crops[kind.rows]).recognisability
            if recognisability is not None:
                kinds.append((kind.name if kind.name == crops.name else f"{crops.name}: {kind.name}", recognisability))
    return kinds
