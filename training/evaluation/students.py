"""`facet-train students`: a student beside its teachers on the sets that models are developed on, by plain cosine.

Thresholds come from all comparisons between different people of one labelled set of clean pictures. At those, the same
people are missed with one picture damaged, other people are missed or taken for one another, and strangers of one kind
match. Two models are alike strict at one FMR, and alike lenient at one FNMR: strangers of a kind are counted at both.
Normalisation is left aside: it serves what the network gives, and these numbers tell what that is.

Models that tell their confidence have an error-versus-discard curve as well (ISO/IEC 29794-1): what is missed among
the comparisons that are left when the least sure ones are taken away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.face.embedding.embed import Embedder
from service.face.manifest import Result
from service.measures.all_pairs import AllPairs, compare_all, score_pairs
from service.measures.intervals import Estimate
from service.measures.thresholds import false_match_rate, false_non_match_rate, threshold_at
from training.data.crops import CropSet
from training.errors import SetInvalid
from training.evaluation.promise.damage import COMMON, RARE, spoil
from training.evaluation.promise.kinds import find_kinds
from training.evaluation.report import Report, row
from training.evaluation.vectors import Model, embed

FMRS = (1e-3, 1e-4, 1e-5)
SERVED = 1e-3
"""The rate at whose threshold everything but the plain comparisons is decided."""
LENIENT = 0.02
"""The FNMR at whose threshold strangers are counted a second time."""
DAMAGE = {name: {**COMMON, **RARE}[name] for name in ("masked", "motion blur", "dark and noisy", "low resolution")}
DISCARDED = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5)


@dataclass(frozen=True, slots=True)
class Development:
    """The sets: `people` give the thresholds, `others` are people of another kind of picture, `kinds` are strangers.

    `probes` of the people are damaged, `most` pictures of a kind are compared. Of `others` and `kinds` the held-out
    splits count alone.
    """

    people: CropSet
    others: CropSet | None = None
    kinds: CropSet | None = None
    probes: int = 500
    most: int = 1000
    seed: int = 0


def measure_student(model: Model, on: Development, *, progress: bool = True) -> Report:
    """Measure one model.

    Raises:
        SetInvalid: A set names nobody, or holds nothing out.
    """
    vectors = embed(model.embeds, on.people.crops, progress=progress)
    pairs = compare_people(on.people, np.arange(len(on.people)), vectors)
    thresholds = {fmr: threshold_at(pairs.impostor, fmr) for fmr in FMRS}
    name, served = on.people.name, thresholds[SERVED]
    rows = [
        row(name, f"FNMR at FMR {fmr:g}", false_non_match_rate(pairs.genuine, threshold))
        for fmr, threshold in thresholds.items()
    ]
    lenient = float(np.quantile(pairs.genuine, LENIENT))
    rows.append(row(name, f"FMR at FNMR {LENIENT:g}", false_match_rate(pairs.impostor, lenient)))
    scores, sureness = [], []
    first, second = pair_people(on.people, on.probes, on.seed)
    for damage, does in DAMAGE.items():
        probes = spoil(on.people.crops[first], does, np.random.default_rng(on.seed), 0.5)
        pair_scores = score_pairs(embed(model.embeds, probes, progress=progress), vectors[second])
        rows.append(row(f"{name}, {damage}", f"FNMR at FMR {SERVED:g}", false_non_match_rate(pair_scores, served)))
        scores.append(pair_scores)
        sureness.append(confidence_of(model, probes))
    if on.others is not None:
        rows += _others(model, on.others, served, progress=progress)
    if on.kinds is not None:
        for kind in find_kinds(on.kinds, "test", on.most, on.seed):
            strangers = embed(model.embeds, on.kinds.crops[kind.rows], progress=progress)
            people = np.unique(np.array(kind.people), return_inverse=True)[1].astype(np.int64)
            impostor, protocol = compare_all(strangers, people).impostor, f"{on.kinds.name}: {kind.name}"
            if not len(impostor):  # a kind of one person has no strangers
                continue
            rows.append(row(protocol, f"FMR at {name}'s FMR {SERVED:g}", false_match_rate(impostor, served)))
            rows.append(row(protocol, f"FMR at {name}'s FNMR {LENIENT:g}", false_match_rate(impostor, lenient)))
    known = [each for each in sureness if each is not None]
    curve = discard(np.concatenate(scores), np.concatenate(known), served) if len(known) == len(scores) else {}
    rows += [row(f"{name}, damaged", f"FNMR without the least sure {share:.0%}", curve[share]) for share in curve]
    return Report(model.name, model.embeds.digest, name, tuple(rows))


def discard(genuine: NDArray[np.float64], sureness: NDArray[np.float32], threshold: float) -> Mapping[float, Estimate]:
    """FNMR of what is left when a share of the comparisons, the least sure, is discarded, by that share."""
    order = np.argsort(-sureness, kind="stable")
    left = {share: order[: max(1, round((1 - share) * len(order)))] for share in DISCARDED}
    return {share: false_non_match_rate(genuine[kept], threshold) for share, kept in left.items()}


def confidence_of(model: Model, crops: NDArray[np.uint8], chunk: int = 64) -> NDArray[np.float32] | None:
    """What a model's own graph says of its embeddings of crops (N, 128, 128, 3): (N,), None where it says nothing."""
    if not isinstance(model.embeds, Embedder):
        return None
    parts = [
        model.embeds.run(np.ascontiguousarray(crops[start : start + chunk]))[1] for start in range(0, len(crops), chunk)
    ]
    known = [part for part in parts if part is not None]
    return np.concatenate(known) if len(known) == len(parts) else None


def describe_students(reports: Sequence[Report]) -> str:
    """A Markdown table, in per cent: a row for each measure, a column for each model."""
    columns = {report.model: {(r.protocol, r.metric): r.value for r in report.rows} for report in reports}
    measures = dict.fromkeys(key for values in columns.values() for key in values)
    lines = [f"| pictures | measure, % | {' | '.join(columns)} |", "|---|---|" + "---|" * len(columns)]
    for key in measures:
        cells = [f"{100 * values[key]:.2f}" if key in values else "-" for values in columns.values()]
        lines.append(f"| {key[0]} | {key[1]} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _others(model: Model, crops: CropSet, threshold: float, *, progress: bool) -> list[Result]:
    rows = np.flatnonzero(crops.splits != "train")
    pairs = compare_people(crops, rows, embed(model.embeds, crops.crops[rows], progress=progress))
    return [
        row(crops.name, f"FNMR at the threshold of FMR {SERVED:g}", false_non_match_rate(pairs.genuine, threshold)),
        row(crops.name, f"FMR at the threshold of FMR {SERVED:g}", false_match_rate(pairs.impostor, threshold)),
    ]


def compare_people(crops: CropSet, rows: NDArray[np.int64], vectors: NDArray[np.float32]) -> AllPairs:
    """All comparisons among the crops of these rows, by their unit vectors (N, D).

    Raises:
        SetInvalid: Not all of them have a name, or there are none; or none are of one person, or of two.
    """
    names = np.array([crops.identities[i] for i in rows], dtype=np.str_)
    if not len(rows) or not all(names):
        raise SetInvalid(f"{crops.name} names nobody, or holds nothing out: give a labelled set")
    pairs = compare_all(vectors, np.unique(names, return_inverse=True)[1].astype(np.int64))
    if not len(pairs.genuine) or not len(pairs.impostor):
        raise SetInvalid(f"{crops.name}: two people are needed among those that count, one with two pictures")
    return pairs


def pair_people(crops: CropSet, most: int, seed: int = 0) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Up to `most` pairs of pictures of one person, each person once: which is damaged, and which is not."""
    pictures: dict[str, list[int]] = {}
    for place, name in enumerate(crops.identities):
        pictures.setdefault(name, []).append(place)
    pairs = np.array([places[:2] for places in pictures.values() if len(places) > 1], dtype=np.int64)
    chosen = pairs[np.sort(np.random.default_rng(seed).permutation(len(pairs))[:most])]
    return chosen[:, 0], chosen[:, 1]
