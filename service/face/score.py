"""Comparison scores, and the thresholds that turn them into decisions at a stated false match rate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from service.face.errors import SpaceMismatch, ThresholdUnsupported
from service.face.manifest import CalibratedThreshold, Manifest

Basis = Literal["measured", "interpolated", "extrapolated", "given"]


@dataclass(frozen=True, slots=True)
class Threshold:
    """A score from which on two faces are taken for one person.

    `fmr` is the false match rate of a single comparison at this score (None where the caller gave the score
    and the model has no calibration to tell). `basis` says how it is known: measured at a calibrated point,
    interpolated between two, extrapolated beyond the strictest one, or given by the caller.
    """

    value: float
    fmr: float | None
    basis: Basis


class ThresholdTable:
    """A model's calibrated thresholds. Between two points log10(FMR) is taken as linear in the score."""

    def __init__(self, rows: Sequence[CalibratedThreshold]) -> None:
        self._rates = np.array([row.fmr for row in rows], dtype=np.float64)
        self._scores = np.array([row.threshold for row in rows], dtype=np.float64)

    @property
    def rates(self) -> tuple[float, ...]:
        """The calibrated false match rates, highest first."""
        return tuple(float(rate) for rate in self._rates)

    def at(self, fmr: float) -> Threshold:
        """The threshold for one comparison at `fmr`. Raises: ThresholdUnsupported outside the calibration."""
        if not self.rates:
            raise ThresholdUnsupported("this model has no calibrated thresholds: pass threshold=", ())
        if not self._rates[-1] * (1 - 1e-9) <= fmr <= self._rates[0] * (1 + 1e-9):
            raise ThresholdUnsupported(
                f"FMR {fmr:g} is outside this model's calibration, {self._rates[-1]:g} to {self._rates[0]:g}",
                self.rates,
            )
        exact = np.flatnonzero(np.isclose(self._rates, fmr, rtol=1e-9))
        if len(exact):
            return Threshold(float(self._scores[exact[0]]), fmr, "measured")
        value = np.interp(-math.log10(fmr), -np.log10(self._rates), self._scores)
        return Threshold(float(value), fmr, "interpolated")

    def for_gallery(self, fpir: float, comparisons: int) -> Threshold:
        """The threshold at which a stranger, compared with `comparisons` templates, matches with rate `fpir`.

        A gallery soon asks for a rate that no calibration set can show. Beyond the strictest calibrated point
        the tail is continued along the table's last decade (log-linear), never below the measured score, and
        the result says `extrapolated`.

        Raises: ThresholdUnsupported when `fpir` itself is outside the calibration.
        """
        single = self.at(fpir)
        fmr = corrected_fmr(fpir, comparisons)
        if fmr >= self._rates[-1] * (1 - 1e-9):
            return self.at(fmr) if comparisons > 1 else single
        return Threshold(
            min(1.0, self._scores[-1] + self._slope() * math.log10(self._rates[-1] / fmr)), fmr, "extrapolated"
        )

    def fmr_of(self, value: float) -> float | None:
        """The false match rate at a given score, or None outside the calibrated range."""
        if not self.rates or not self._scores[0] <= value <= self._scores[-1]:
            return None
        return float(10 ** np.interp(value, self._scores, np.log10(self._rates)))

    def _slope(self) -> float:
        """Score per decade of FMR over the table's strictest decade (or its last step)."""
        if len(self._rates) < 2:
            raise ThresholdUnsupported("one calibrated point cannot be corrected for gallery size", self.rates)
        decade = np.flatnonzero(self._rates >= self._rates[-1] * 10 * (1 - 1e-9))
        first = decade[-1] if len(decade) else 0
        return float((self._scores[-1] - self._scores[first]) / math.log10(self._rates[first] / self._rates[-1]))


def corrected_fmr(fpir: float, comparisons: int) -> float:
    """The FMR of one comparison at which any of `comparisons` independent ones matches with rate `fpir`.

    1 - (1 - fpir)^(1/N): the binomial relation of ISO/IEC 19795-1, which errs to the strict side for several
    templates of one person.
    """
    return -math.expm1(math.log1p(-fpir) / max(1, comparisons))


def cosine(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """The comparison score of two unit vectors (D,): their cosine, -1..1."""
    return float(np.clip(np.dot(a, b), -1.0, 1.0))


def require_same_space(probe: Manifest, reference: Manifest) -> None:
    """Raises: SpaceMismatch unless both models embed into one space."""
    if probe.space is None or probe.space != reference.space:
        raise SpaceMismatch(f"{probe.identity} and {reference.identity} embed into different spaces")
