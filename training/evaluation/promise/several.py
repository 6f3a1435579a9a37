"""What one, two, three or more photographs of a person are worth, for claims of identity and for searches.

Claims are counted on a labelled set: every photograph that nobody is enrolled by claims to be every enrolled person.
Two rules are told: the best of k photographs at a k-th of the rate, as the service decides, and one template, the
direction of their mean, at the whole rate. Searches are computed from the same genuine claims, at the threshold that a
gallery of that size needs: the galleries themselves are not there. Where that threshold lies beyond the calibrated
rates it comes from the model's fitted tail, and the row says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from service.face.embedding.embed import Embedder
from service.face.score import Threshold, ThresholdTable
from service.measures.several import Claims, claim_best, claim_fused, draw_references
from training.errors import ProtocolInvalid

Rule = Literal["best, whole rate", "best, shared rate", "mean"]


@dataclass(frozen=True, slots=True)
class ExpectPlan:
    """Which numbers of photographs, rates and galleries are told, and how often references are drawn."""

    photographs: tuple[int, ...] = (1, 2, 3, 5)
    fmrs: tuple[float, ...] = (1e-3, 1e-4)
    fpir: float = 0.01
    people: tuple[int, ...] = (10, 100, 1_000, 10_000, 100_000, 1_000_000)
    draws: int = 8
    seed: int = 0


@dataclass(frozen=True, slots=True)
class ClaimRow:
    """Claims against people of so many photographs: observed / asked, FNMR, and how many claims there were."""

    photographs: int
    asked: float
    rule: Rule
    ratio: float
    fnmr: float
    impostor: int
    genuine: int


@dataclass(frozen=True, slots=True)
class SearchRow:
    """A search among so many people of so many photographs: FNIR by each rule, and how its threshold is known."""

    people: int
    photographs: int
    fpir: float
    best: float
    fused: float
    basis: str


@dataclass(frozen=True, slots=True)
class Expectation:
    """What was measured, of how many people with enough photographs."""

    model: str
    people: int
    claims: tuple[ClaimRow, ...]
    searches: tuple[SearchRow, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def expect(model: Embedder, vectors: NDArray[np.float32], identities: Sequence[str], plan: ExpectPlan) -> Expectation:
    """Measure on the unit vectors (N, D) of a labelled set whose people were not calibrated on, or know why not.

    Crops of nobody known ('') are left out.

    Raises:
        ProtocolInvalid: The model has no thresholds, or too few people have enough photographs.
        ThresholdUnsupported: A rate is outside its calibration.
    """
    if not model.manifest.thresholds:
        raise ProtocolInvalid(f"{model.manifest.identity} has no calibrated thresholds")
    table = ThresholdTable(model.manifest.thresholds, model.manifest.tail)
    known = np.flatnonzero([bool(name) for name in identities])
    vectors, person = vectors[known], np.unique(np.array(identities)[known], return_inverse=True)[1].astype(np.int64)
    offsets = model.offsets(vectors)
    most = max(plan.photographs)
    enrolled = int((np.bincount(person) > most).sum())
    if enrolled < 2:
        raise ProtocolInvalid(f"{enrolled} people have more than {most} photographs: give --photographs fewer")
    claims: list[ClaimRow] = []
    searches: list[SearchRow] = []
    for count in plan.photographs:
        best, fused = _draw(model, vectors, offsets, person, count, plan)
        for asked in plan.fmrs:
            whole, shared = table.at(asked), table.for_gallery(asked, count)
            claims.append(_row(count, asked, "best, whole rate", best, whole))
            claims.append(_row(count, asked, "best, shared rate", best, shared))
            claims.append(_row(count, asked, "mean", fused, whole))
        for size in plan.people:
            alone, shared = table.for_gallery(plan.fpir, size), table.for_gallery(plan.fpir, size * count)
            searches.append(
                SearchRow(
                    size,
                    count,
                    plan.fpir,
                    float((best.genuine < shared.value).mean()),
                    float((fused.genuine < alone.value).mean()),
                    shared.basis,
                )
            )
    return Expectation(model.manifest.identity, enrolled, tuple(claims), tuple(searches))


def describe_expectation(expectation: Expectation) -> str:
    """Two tables in Markdown: claims, and searches by the rule that the service decides by."""
    lines = [
        "| photographs | FMR asked | rule | observed / asked | FNMR | impostor claims | genuine claims |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.photographs} | {row.asked:g} | {row.rule} | {row.ratio:.2f} | {row.fnmr:.2%} | {row.impostor:,}"
        f" | {row.genuine:,} |"
        for row in expectation.claims
        if row.photographs > 1 or row.rule == "best, whole rate"
    ]
    counts = sorted({row.photographs for row in expectation.searches})
    by = {(row.people, row.photographs): row for row in expectation.searches}
    lines += [
        "",
        f"| people in the gallery | {' | '.join(f'{count} photograph{chr(115) * (count > 1)}' for count in counts)}"
        " | threshold |",
        f"|---|{'---|' * len(counts)}---|",
    ]
    for size in sorted({row.people for row in expectation.searches}):
        cells = " | ".join(f"{by[size, count].best:.1%}" for count in counts)
        bases = dict.fromkeys(by[size, count].basis for count in counts)
        lines.append(f"| {size:,} | {cells} | {', then '.join(bases)} |")
    return "\n".join(lines) + "\n"


def _draw(
    model: Embedder,
    vectors: NDArray[np.float32],
    offsets: NDArray[np.float32],
    person: NDArray[np.int64],
    count: int,
    plan: ExpectPlan,
) -> tuple[Claims, Claims]:
    """Claims of all draws together, by the best photograph and by the mean."""
    rng = np.random.default_rng([plan.seed, count])
    drawn = [draw_references(person, count, max(plan.photographs), rng) for _ in range(plan.draws)]
    best = [claim_best(vectors, offsets, person, references) for references in drawn]
    fused = [claim_fused(vectors, offsets, person, references, model.offsets) for references in drawn]
    return _join(best), _join(fused)


def _join(parts: Sequence[Claims]) -> Claims:
    return Claims(np.concatenate([part.genuine for part in parts]), np.concatenate([part.impostor for part in parts]))


def _row(count: int, asked: float, rule: Rule, claims: Claims, threshold: Threshold) -> ClaimRow:
    return ClaimRow(
        count,
        asked,
        rule,
        float((claims.impostor >= threshold.value).mean() / asked),
        float((claims.genuine < threshold.value).mean()),
        len(claims.impostor),
        len(claims.genuine),
    )
