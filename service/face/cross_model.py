"""Thresholds for templates of two models: a probe by one, a reference by another of the same space.

A model folder may hold `pairs.json` beside its manifest: thresholds measured with probes of this model against
templates of another. Without them the stricter of the two models' own thresholds stands in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol, Self

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, model_validator

from service.face.errors import ModelInvalid
from service.face.manifest import COSINE, CalibratedThreshold, Sha256, TailThreshold, load_manifest, require_order
from service.face.score import Threshold, ThresholdTable

PAIRS = "pairs.json"

Calibration = Literal["model", "pair", "cautious"]
"""Whose thresholds: the model's own, those measured for the pair, or the stricter of the two models' own."""


class Thresholds(Protocol):
    """Scores for false match rates: of one model, of a pair, or the strictest of several."""

    @property
    def rates(self) -> tuple[float, ...]:
        """The false match rates that have a threshold."""

    def at(self, fmr: float) -> Threshold:
        """Return the threshold at which `fmr` of the comparisons between strangers match."""

    def for_gallery(self, fpir: float, comparisons: int) -> Threshold:
        """Return the threshold at which `fpir` of the strangers match any of `comparisons` templates."""

    def fmr_of(self, value: float) -> float | None:
        """Return the false match rate at a score, or None outside the calibrated range."""

    def rate_of(self, value: float) -> float:
        """Estimate the false match rate of one comparison at any score, 0..1."""


class PairThresholds(BaseModel):
    """Thresholds measured with probes of the folder's model against templates of the model `reference`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    reference: Sha256
    thresholds: tuple[CalibratedThreshold, ...]
    tail: tuple[TailThreshold, ...] = ()
    probe_score: str = COSINE
    reference_score: str = COSINE
    """What the two models' scores were when the thresholds were measured (`Manifest.computed_score`)."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        require_order(self.thresholds, self.tail)
        return self


def read_pairs(folder: Path, scores: Mapping[str, str] | None = None) -> Mapping[str, ThresholdTable]:
    """The pair thresholds of a model folder by the reference's digest; empty without `pairs.json`.

    `scores` says what each known model's scores are, by digest. Thresholds of other scores are left out: a model that
    gained a normalisation since has to be calibrated with its fellows again.

    Raises: ModelInvalid when the file is there and cannot be read as such.
    """
    path = folder / PAIRS
    if not path.exists():
        return {}
    try:
        rows = TypeAdapter(tuple[PairThresholds, ...]).validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise ModelInvalid(f"{path.parent.name}/{PAIRS} is not a list of pair thresholds: {error}") from error
    mine = None if scores is None else load_manifest(folder / "manifest.json").computed_score
    return {
        row.reference: ThresholdTable(row.thresholds, row.tail)
        for row in rows
        if scores is None
        or (row.probe_score == mine and row.reference_score == scores.get(row.reference, row.reference_score))
    }


class Strictest:
    """Several tables taken as one: the highest score, and the highest rate, that any of them gives."""

    def __init__(self, tables: Sequence[Thresholds]) -> None:
        self._tables = tuple(tables)

    @property
    def rates(self) -> tuple[float, ...]:
        """Calibrated rates that every table has, highest first."""
        return tuple(rate for rate in self._tables[0].rates if all(rate in table.rates for table in self._tables))

    def at(self, fmr: float) -> Threshold:
        """The strictest threshold at `fmr`. Raises: ThresholdUnsupported where any table does."""
        return max((table.at(fmr) for table in self._tables), key=lambda threshold: threshold.value)

    def for_gallery(self, fpir: float, comparisons: int) -> Threshold:
        """The strictest threshold for a search. Raises: ThresholdUnsupported where any table does."""
        return max(
            (table.for_gallery(fpir, comparisons) for table in self._tables), key=lambda threshold: threshold.value
        )

    def fmr_of(self, value: float) -> float | None:
        """The highest rate that any table gives a score; None where one cannot tell."""
        rates = [table.fmr_of(value) for table in self._tables]
        return None if None in rates else max(rate for rate in rates if rate is not None)

    def rate_of(self, value: float) -> float:
        """The highest rate that any table estimates at a score. Raises: ThresholdUnsupported where any table does."""
        return max(table.rate_of(value) for table in self._tables)
