"""False match rates by subgroup, as NIST reports them (NISTIR 8280), from UTKFace's labels.

UTKFace names nobody. Two different pictures are taken for two people, which overstates the FMR: some people appear more
than once, and a group that holds them looks worse than it is. Rates are given at one threshold for all, within each
group and between groups.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.face.embedding.normalisation import as_probes, as_references
from service.measures.all_pairs import count_matches
from service.measures.intervals import Estimate, wilson
from service.measures.thresholds import threshold_at
from training.data.crops import CropSet
from training.errors import ProtocolInvalid
from training.evaluation.report import Report, row
from training.evaluation.vectors import Model, embed, offsets_of

GENDERS = ("male", "female")
RACES = ("White", "Black", "Asian", "Indian", "Other")
BANDS = ((0, 17), (18, 34), (35, 49), (50, 64), (65, 120))
NAME = re.compile(r"(\d{1,3})_([01])_([0-4])_\d+")
MOST = 1000  # pictures of a group of one gender and race: half a million comparisons within it
NOTE = "identities are unknown in UTKFace: different pictures are taken for different people, so rates are upper bounds"


@dataclass(frozen=True, slots=True)
class Group:
    """FMR between pictures of two groups (or within one) at the common threshold, with its Wilson interval."""

    first: str
    second: str
    false_matches: int
    trials: int

    @property
    def fmr(self) -> float:
        """Share of the comparisons that match."""
        return self.false_matches / self.trials

    @property
    def ci95(self) -> tuple[float, float]:
        """Its 95 % Wilson interval."""
        return wilson(self.false_matches, self.trials)


def read_labels(files: Sequence[str]) -> dict[str, NDArray[np.str_]]:
    """Groups of each picture from names `age_gender_race_date`: `gender and race`, and `age`; '' where unreadable.

    Raises:
        ProtocolInvalid: No name can be read.
    """
    kinds: dict[str, list[str]] = {"gender and race": [], "age": []}
    for file in files:
        match = NAME.match(file.rsplit("/", 1)[-1])
        if match is None:
            for values in kinds.values():
                values.append("")
            continue
        age, gender, race = (int(value) for value in match.groups())
        kinds["gender and race"].append(f"{GENDERS[gender]}, {RACES[race]}")
        band = next(((low, high) for low, high in BANDS if low <= age <= high), BANDS[-1])
        kinds["age"].append(f"{band[0]} to {band[1]}")
    if not any(kinds["age"]):
        raise ProtocolInvalid("no file is named age_gender_race_date as in UTKFace, so there are no subgroups")
    return {kind: np.array(values) for kind, values in kinds.items()}


def draw_evenly(names: NDArray[np.str_], most: int, seed: int = 0) -> NDArray[np.int64]:
    """Rows of at most `most` members of every group, in order; '' belongs to none."""
    rng = np.random.default_rng(seed)
    chosen = [rng.permutation(np.flatnonzero(names == name))[:most] for name in np.unique(names[names != ""])]
    return np.sort(np.concatenate(chosen))


def measure_groups(
    vectors: NDArray[np.float32],
    labels: Mapping[str, NDArray[np.str_]],
    threshold: float,
    offsets: NDArray[np.float32] | None = None,
) -> dict[str, list[Group]]:
    """FMR within and between the groups of every kind, of unit vectors (N, D); scores may have offsets (N,)."""
    return {kind: _measure(*_sides(vectors, offsets), names, threshold) for kind, names in labels.items()}


def overall_threshold(
    vectors: NDArray[np.float32],
    fmr: float,
    offsets: NDArray[np.float32] | None = None,
    *,
    most: int = 6000,
    seed: int = 0,
) -> float:
    """The threshold at which all pictures together have this FMR."""
    chosen = np.random.default_rng(seed).permutation(len(vectors))[:most]
    probes, references = _sides(vectors, offsets)
    scores = (probes[chosen] @ references[chosen].T)[np.triu_indices(len(chosen), 1)]
    return threshold_at(scores, fmr)


def evaluate_groups(
    name: str,
    crops: CropSet,
    fmr: float,
    model: Model,
    *,
    threshold: float | None = None,
    held_out: bool = False,
    flip: bool = False,
    progress: bool = True,
) -> Report:
    """FMR by subgroup; the table stands in the details.

    At `threshold`, the one that is served for `fmr`; without it, where all these pictures together have `fmr`.
    `held_out`: only pictures that are not in the training split. `flip` averages with the mirror image.

    Raises:
        ProtocolInvalid: The files carry no labels, or nothing that does is held out.
    """
    everything = read_labels(crops.files)
    if held_out:
        trained = crops.splits == "train"
        everything = {kind: np.where(trained, "", names) for kind, names in everything.items()}
        if not any(everything["age"]):
            raise ProtocolInvalid(f"{name} holds no labelled picture out: prepare it with shares for testing")
    chosen = draw_evenly(everything["gender and race"], MOST)
    labels = {kind: names[chosen] for kind, names in everything.items()}
    vectors = embed(model.embeds, crops.crops[chosen], flip=flip, progress=progress)
    offsets = offsets_of(model.embeds, vectors)
    protocol = f"{name}, FMR {fmr:g} overall" if threshold is None else f"{name}, at the served score of FMR {fmr:g}"
    if threshold is None:
        threshold = overall_threshold(vectors, fmr, offsets)
    kinds = measure_groups(vectors, labels, threshold, offsets)
    rows = [
        row(protocol, f"FMR within {group.first}", Estimate(group.fmr, group.ci95, group.trials))
        for groups in kinds.values()
        for group in groups
        if group.first == group.second
    ]
    details = {"threshold": threshold, "note": NOTE, "table": describe_groups(kinds, threshold)}
    return Report(model.name, model.embeds.digest, protocol, tuple(rows), details)


def _sides(
    vectors: NDArray[np.float32], offsets: NDArray[np.float32] | None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Both sides of a comparison, whose inner products are the scores."""
    return (vectors, vectors) if offsets is None else (as_probes(vectors, offsets), as_references(vectors, offsets))


def _measure(
    probes: NDArray[np.float32], references: NDArray[np.float32], names: NDArray[np.str_], threshold: float
) -> list[Group]:
    members = {str(name): np.flatnonzero(names == name) for name in np.unique(names[names != ""])}
    groups = []
    ordered = list(members)
    for i, first in enumerate(ordered):
        for second in ordered[i:]:
            left, right = probes[members[first]], references[members[second]]
            matches, trials = count_matches(left, right, threshold), len(left) * len(right)
            if first == second:  # every pair was seen twice, and every picture met itself
                itself = int(((left * right).sum(axis=1) >= threshold).sum())
                matches, trials = (matches - itself) // 2, (trials - len(left)) // 2
            if trials:
                groups.append(Group(first, second, matches, trials))
    return groups


def describe_groups(kinds: Mapping[str, Sequence[Group]], threshold: float) -> str:
    """A Markdown table of the rates within each group, and the range between groups."""
    lines = [f"At the score {threshold:.4f}; {NOTE}.", ""]
    for kind, groups in kinds.items():
        lines += [f"| {kind} | FMR within | 95 % interval | trials |", "|---|---|---|---|"]
        within = [group for group in groups if group.first == group.second]
        lines += [f"| {g.first} | {g.fmr:.2e} | {g.ci95[0]:.2e} .. {g.ci95[1]:.2e} | {g.trials} |" for g in within]
        between = [group.fmr for group in groups if group.first != group.second]
        if between:
            lines += ["", f"Between groups of {kind}: {min(between):.2e} to {max(between):.2e}.", ""]
    return "\n".join(lines).rstrip() + "\n"
