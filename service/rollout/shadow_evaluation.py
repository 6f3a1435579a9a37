"""The challenger's turn: the same crops at the same operating point, decided by the rules of the live decision."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from service.decision import OperatingPoint, decide, decide_open_set, expected_fpir, threshold_for
from service.engine.engine import Engine
from service.face.cross_model import Thresholds
from service.face.embedding.embed import Embedder
from service.face.errors import ThresholdUnsupported
from service.face.score import Threshold, normalised
from service.rollout.model_decision import VERIFY, ModelDecision
from service.rollout.sampling import SampledDecision

AT_ONCE = 4
"""Faces embedded before the next look at whether requests wait: one by one they cost more, many would hold those up."""


class ShadowEvaluation:
    """Decides sampled requests again with another model."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def decide(self, sampled: SampledDecision, model: Embedder, wait: Callable[[], None]) -> tuple[ModelDecision, ...]:
        """Decide by the model, once for each decision of the champion.

        Args:
            sampled: What the champion decided, and the crops.
            model: Decides again.
            wait: Returns when there is room to embed some faces.

        Raises:
            ModelError, GalleryError.
        """
        again = self._verify if sampled.route == VERIFY else self._identify
        return again(sampled, model, wait)

    def _verify(self, sampled: SampledDecision, model: Embedder, wait: Callable[[], None]) -> tuple[ModelDecision, ...]:
        subjects: tuple[str, ...] = ()
        pictures = 1
        if sampled.collection is not None and sampled.subject is not None:
            reach = self._engine.references.of(model, sampled.collection, sampled.subject, sampled.face)
            pictures = reach.pictures()
            threshold = self._threshold(sampled, reach.thresholds, pictures)
            (probe,), seconds = _embed(model, sampled.crops, wait)
            begun = time.perf_counter()
            hit = reach.compare(probe)
            score, subjects = hit.score, (hit.subject_id,)
        else:
            threshold = self._threshold(sampled, self._engine.models.thresholds(model))
            (probe, reference), seconds = _embed(model, sampled.crops, wait)
            begun = time.perf_counter()
            mine, other = model.offsets(np.stack([probe, reference]))
            score = normalised(probe, reference, mine, other)
        seconds += time.perf_counter() - begun
        decision = decide(score, threshold)
        fmr = expected_fpir(threshold, pictures)
        return (ModelDecision(model.digest, score, threshold.value, fmr, decision, subjects, seconds),)

    def _identify(
        self, sampled: SampledDecision, model: Embedder, wait: Callable[[], None]
    ) -> tuple[ModelDecision, ...]:
        reach = self._engine.references.of(model, sampled.collection or "")
        people = reach.people(reach.comparisons())
        threshold = self._threshold(sampled, reach.thresholds, people)
        probes, seconds = _embed(model, sampled.crops, wait)
        begun = time.perf_counter()
        ranked = self._engine.search(reach, probes, max(2, sampled.depth), people, sampled.point, threshold)
        seconds = (seconds + time.perf_counter() - begun) / len(ranked)
        margin = self._engine.limits.ambiguous_margin
        return tuple(
            ModelDecision(
                model=model.digest,
                score=hits[0].score if hits else None,
                threshold=threshold.value,
                fmr=expected_fpir(threshold, people),
                decision=decide_open_set(hits, threshold, margin)[0],
                subjects=tuple(hit.subject_id for hit in hits[: sampled.depth]),
                seconds=seconds,
            )
            for hits in ranked
        )

    def _threshold(self, sampled: SampledDecision, table: Thresholds, comparisons: int | None = None) -> Threshold:
        """Find the threshold for the caller's operating point.

        A score means something else to each model, so a score given by the caller becomes the score at the same false
        match rate, where both models' calibrations know it.
        """
        point, default = sampled.point, self._engine.limits.default_fmr
        fmr = sampled.decisions[0].fmr
        if point.threshold is None or fmr is None:
            return threshold_for(point, table, default, comparisons)
        try:
            return threshold_for(OperatingPoint(fmr=fmr), table, default, comparisons)
        except ThresholdUnsupported:
            return threshold_for(point, table, default, comparisons)


def _embed(model: Embedder, crops: NDArray[np.uint8], wait: Callable[[], None]) -> tuple[NDArray[np.float32], float]:
    """Make templates (N, D) of crops; the seconds are those that the network took for them."""
    vectors, seconds = [], 0.0
    for first in range(0, len(crops), AT_ONCE):
        wait()
        begun = time.perf_counter()
        vectors.append(model.embed(crops[first : first + AT_ONCE]))
        seconds += time.perf_counter() - begun
    return np.concatenate(vectors), seconds
