"""Comparison scores, and the thresholds that turn them into decisions at a stated false match rate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from service.face.errors import InferenceFailed, ThresholdUnsupported
from service.face.manifest import HIGHEST, CalibratedThreshold, TailThreshold

LEAST_RATE = 1e-30  # where an interval reaches down to nothing
MOST_DECADES = -300.0  # log10 of the smallest rate that is told

Basis = Literal["measured", "interpolated", "extrapolated", "outside_calibration", "given"]


@dataclass(frozen=True, slots=True)
class Threshold:
    """A score from which on two faces are taken for one person.

    `fmr` is the false match rate of a single comparison at this score (None where the caller gave the score
    and the model has no calibration to tell). `basis` says how it is known: measured at a calibrated point,
    interpolated between two, extrapolated beyond the strictest one, or given by the caller. It is outside the
    calibration where a face is compared that no calibration speaks for. `ci95` is the interval of
    the rate at this score where one is known.
    """

    value: float
    fmr: float | None
    basis: Basis
    ci95: tuple[float, float] | None = None

    def outside(self) -> Threshold:
        """The same threshold where a face is unfit: the rate was measured on faces that are not like it."""
        return self if self.basis == "given" else replace(self, basis="outside_calibration", ci95=None)


class ThresholdTable:
    """A model's calibrated thresholds. Between two points log10(FMR) is taken as linear in the score.

    Beyond the strictest calibrated point lie the rows of the `tail`, which was fitted to the highest impostor scores.
    A model calibrated without one goes on along the table's last decade.
    """

    def __init__(self, rows: Sequence[CalibratedThreshold], tail: Sequence[TailThreshold] = ()) -> None:
        self._rates = np.array([row.fmr for row in rows], dtype=np.float64)
        self._scores = np.array([row.threshold for row in rows], dtype=np.float64)
        self._ci95 = tuple(row.ci95 for row in rows)
        self._tail = tuple(tail)

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
            return Threshold(float(self._scores[exact[0]]), fmr, "measured", self._ci95[exact[0]])
        value = np.interp(-math.log10(fmr), -np.log10(self._rates), self._scores)
        return Threshold(float(value), fmr, "interpolated")

    def for_gallery(self, fpir: float, comparisons: int) -> Threshold:
        """The threshold at which any of `comparisons` with a stranger matches with rate `fpir`.

        A gallery soon asks for a rate that no calibration set can show. Beyond the strictest calibrated point the
        result comes from the tail, never below the measured score, and says `extrapolated`.

        Raises: ThresholdUnsupported when `fpir` itself is outside the calibration.
        """
        single = self.at(fpir)
        fmr = corrected_fmr(fpir, comparisons)
        if fmr >= self._rates[-1] * (1 - 1e-9):
            return self.at(fmr) if comparisons > 1 else single
        return self._beyond(fmr)

    def fmr_of(self, value: float) -> float | None:
        """The false match rate at a given score, or None outside the calibrated range."""
        if not self.rates or not self._scores[0] <= value <= self._scores[-1]:
            return None
        return float(10 ** np.interp(value, self._scores, np.log10(self._rates)))

    def rate_of(self, value: float) -> float:
        """Estimate the false match rate of one comparison at any score, 0..1.

        Where the calibration reaches it is `fmr_of`; above it follows the tail, and beyond either end the last step
        goes on. It falls as the score rises, and at a calibrated threshold it is that threshold's rate.

        Raises: ThresholdUnsupported when the model has no calibration.
        """
        if not self.rates:
            raise ThresholdUnsupported(
                "this model has no calibrated thresholds, and cannot say how rare a score is", ()
            )
        scores = np.array([*self._scores, *(row.threshold for row in self._tail)])
        rates = np.log10([*self._rates, *(row.fmr for row in self._tail)])
        if scores[0] == scores[-1]:
            return float(10 ** rates[-1]) if value >= scores[0] else 1.0
        if scores[0] <= value <= scores[-1]:
            return float(10 ** np.interp(value, scores, rates))
        end = 0 if value < scores[0] else -1
        others = np.flatnonzero(scores != scores[end])  # two rates may have one threshold: such a step leads nowhere
        inner = others[0] if end == 0 else others[-1]
        slope = (rates[inner] - rates[end]) / (scores[inner] - scores[end])
        return float(10 ** min(0.0, max(MOST_DECADES, rates[end] + slope * (value - scores[end]))))

    def _beyond(self, fmr: float) -> Threshold:
        """The threshold of a rate that is stricter than all calibrated ones."""
        if not self._tail:
            value = self._scores[-1] + self._slope() * math.log10(self._rates[-1] / fmr)
            return Threshold(min(HIGHEST, float(value)), fmr, "extrapolated")
        rates = -np.log10([self._rates[-1], *(row.fmr for row in self._tail)])
        scores = np.array([self._scores[-1], *(row.threshold for row in self._tail)])
        exponent = -math.log10(fmr)
        if exponent > rates[-1]:  # on along the fitted tail's end
            value = scores[-1] + (scores[-1] - scores[-2]) / (rates[-1] - rates[-2]) * (exponent - rates[-1])
            return Threshold(min(HIGHEST, float(value)), fmr, "extrapolated")
        ends = np.array([self._ci95[-1], *(row.ci95 for row in self._tail)])
        low, high = (10 ** np.interp(exponent, rates, np.log10(np.maximum(end, LEAST_RATE))) for end in ends.T)
        value = np.interp(exponent, rates, scores)
        return Threshold(float(value), fmr, "extrapolated", (float(low), float(high)))

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
    """The cosine of two unit vectors (D,), -1..1. Raises: InferenceFailed when it is not a number."""
    value = float(np.dot(a, b))
    if not math.isfinite(value):
        raise InferenceFailed("a comparison gave no finite score")
    return min(1.0, max(-1.0, value))


def normalised(
    a: NDArray[np.float32], b: NDArray[np.float32], a_offset: float | np.floating, b_offset: float | np.floating
) -> float:
    """The comparison score of two templates: their cosine and both their offsets (see `normalisation`).

    Raises: InferenceFailed when it is not a number, which would match nothing and say nothing.
    """
    value = cosine(a, b) + float(a_offset) + float(b_offset)
    if not math.isfinite(value):
        raise InferenceFailed("a comparison gave no finite score")
    return value


def wilson(successes: int, trials: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """The Wilson score interval of a proportion (Wilson 1927), 95 % by default."""
    if trials <= 0 or not 0 <= successes <= trials:
        raise ValueError("trials must be positive and successes within 0..trials")
    share, spread = successes / trials, z * z / trials
    centre = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * math.sqrt(share * (1 - share) / trials + spread / (4 * trials))
    return max(0.0, centre - half), min(1.0, centre + half)
