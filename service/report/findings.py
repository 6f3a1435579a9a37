"""What a report says, as numbers: the same for the page, for the figures and for JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from service.measures.demographics import Inequality, compare_groups
from service.measures.discard import Discard
from service.measures.identification import GalleryRates
from service.measures.intervals import Estimate
from service.measures.resampling import RULE_OF_30, DetPoint

FEW_PEOPLE = 50
"""Below it people are too few to say of a rate whether it is kept."""


def judge(fmr: Estimate | None, asked: float, people: int | None) -> str:
    """Say whether a promised rate is `kept`, `exceeded`, or `open` where comparisons or people are too few to tell."""
    if fmr is None or fmr.ci95 is None or (people is not None and people < FEW_PEOPLE):
        return "open"
    low, high = fmr.ci95
    if low > asked:
        return "exceeded"
    return "kept" if high <= asked or (asked * fmr.trials >= RULE_OF_30 and fmr.value <= asked) else "open"


@dataclass(frozen=True, slots=True)
class Subject:
    """What was measured, on what, by whom and when: all that is needed to measure it again.

    Attributes:
        kind: `photographs`, `protocol` or `decisions`.
        source: The folder, the list of pairs, or the database's collection.
        digest: SHA-256 over the names and contents of the photographs; None of decisions.
        model: Name and version of the embedder.
        model_sha256: Its digest.
        space: The digest of its embedding space.
        score: Which score its thresholds are of.
        detector: Name, version; None of decisions.
        detector_sha256: Its digest.
        settings: Whatever else decides the numbers, by name.
        facet: The version of the program.
        command: The command line.
        seed: Of all draws.
        rounds: How often people are drawn for an interval.
        made_at: When, in UTC, ISO 8601.
    """

    kind: str
    source: str
    digest: str | None
    model: str
    model_sha256: str
    space: str
    score: str
    detector: str | None
    detector_sha256: str | None
    settings: Mapping[str, str]
    facet: str
    command: str
    seed: int
    rounds: int
    made_at: str


@dataclass(frozen=True, slots=True)
class Failures:
    """How often something failed, and why; one photograph may have several reasons."""

    of: str
    rate: Estimate
    reasons: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Served:
    """An operating point: the rate that is asked for, and what was observed at its threshold.

    `expected` is how many false matches the rate asked allows in these comparisons, `people` how many they are of,
    where that is known. `far` and `frr` count photographs without a template as not matching (ISO/IEC 19795-1).
    """

    asked: float
    threshold: float
    basis: str
    calibration_ci95: tuple[float, float] | None
    fmr: Estimate | None
    fnmr: Estimate | None
    far: float | None
    frr: float | None
    expected: float
    people: int | None

    @property
    def verdict(self) -> str:
        """Whether the promise holds."""
        return judge(self.fmr, self.asked, self.people)


@dataclass(frozen=True, slots=True)
class Group:
    """One group's comparisons at one operating point, both photographs of it; of live decisions, how many there are."""

    name: str
    people: int | None
    photographs: int
    fmr: Estimate | None
    fnmr: Estimate | None


@dataclass(frozen=True, slots=True)
class Groups:
    """One attribute at one operating point.

    `across`: the FMR between two groups, by their names. `unsaid`: photographs of which the attribute is not known.
    """

    attribute: str
    asked: float
    threshold: float
    groups: tuple[Group, ...]
    unsaid: int
    fmr_inequality: Inequality | None
    fnmr_inequality: Inequality | None
    fmr_ratio_ci95: tuple[float, float] | None = None
    fnmr_ratio_ci95: tuple[float, float] | None = None
    across: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)

    @classmethod
    def of(cls, attribute: str, asked: float, threshold: float, groups: Sequence[Group], unsaid: int) -> Self:
        """Say how unequal the groups' rates are."""
        fmr = {each.name: each.fmr for each in groups if each.fmr is not None}
        fnmr = {each.name: each.fnmr for each in groups if each.fnmr is not None}
        return cls(attribute, asked, threshold, tuple(groups), unsaid, _inequality(fmr), _inequality(fnmr))


@dataclass(frozen=True, slots=True)
class DiscardCurve:
    """FNMR at one threshold as photographs of low quality are left out; `served_cut`: where the service turns away."""

    measure: str
    asked: float
    points: tuple[Discard, ...]
    served_cut: float | None


@dataclass(frozen=True, slots=True)
class Identification:
    """Searches at the threshold that the service takes for an FPIR, by the size of the gallery."""

    fpir: float
    galleries: tuple[GalleryRates, ...]
    draws: int


@dataclass(frozen=True, slots=True)
class Advice:
    """What to ask for so that these comparisons, or the worst of their groups, keep a rate.

    `fmr` is what to ask, such that the upper end of the observed rate's interval stays below `wanted`; None where no
    supported rate does. `observed` and `fnmr` are what it then gives.
    """

    wanted: float
    among: str
    fmr: float | None
    threshold: float | None
    observed: Estimate | None
    fnmr: Estimate | None
    why: str


@dataclass(frozen=True, slots=True)
class Pair:
    """Two photographs, by their ids, or a decision by its request; and their score."""

    first: str
    second: str
    score: float


@dataclass(frozen=True, slots=True)
class Findings:
    """All that was found. A part is empty, or None, where the data cannot say: `limits` tells why."""

    subject: Subject
    counts: Mapping[str, int]
    served: tuple[Served, ...]
    acquisition: tuple[Failures, ...] = ()
    det: tuple[DetPoint, ...] = ()
    equal_error: float | None = None
    groups: tuple[Groups, ...] = ()
    discard: tuple[DiscardCurve, ...] = ()
    identification: tuple[Identification, ...] = ()
    advice: tuple[Advice, ...] = ()
    highest_impostors: tuple[Pair, ...] = ()
    lowest_genuine: tuple[Pair, ...] = ()
    coverage: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    limits: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Plain values; what is not a finite number is null."""
        values: dict[str, Any] = _plain(asdict(self))
        for row, each in zip(values["served"], self.served, strict=True):
            row["verdict"] = each.verdict
        for table, groups in zip(values["groups"], self.groups, strict=True):
            for row, group in zip(table["groups"], groups.groups, strict=True):
                row["verdict"] = judge(group.fmr, groups.asked, group.people)
        for drawn, curve in zip(values["discard"], self.discard, strict=True):
            for row, point in zip(drawn["points"], curve.points, strict=True):
                row["rate"] = point.rate
        return values


def _inequality(rates: Mapping[str, Estimate]) -> Inequality | None:
    estimates = list(rates.values())
    return compare_groups(list(rates), [each.value for each in estimates], [each.trials for each in estimates])


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
