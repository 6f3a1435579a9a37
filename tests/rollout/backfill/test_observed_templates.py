"""Who is seen surely enough for a template: at the rate that is set, whatever was compared."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from service.decision import OperatingPoint
from service.engine.results import SubjectRef, Verification
from service.face.detection.detection import Detection
from service.face.manifest import CalibratedThreshold
from service.face.quality import Quality
from service.face.score import Threshold, ThresholdTable
from service.gallery.records import Hit
from service.observation import DecisionContext, DecisionEvent
from service.pipeline import FaceFound
from service.rollout.backfill.observed_templates import ObservedTemplates

TABLE = ThresholdTable(
    [
        CalibratedThreshold(fmr=fmr, threshold=score, impostor_trials=10_000_000, ci95=(fmr * 0.9, fmr * 1.1))
        for fmr, score in ((1e-2, 0.3), (1e-3, 0.4), (1e-4, 0.5))
    ]
)
PROBE = FaceFound(
    Detection((0.0, 0.0, 90.0, 90.0), 0.99, np.zeros((5, 2), np.float32)),
    Quality(60.0, 0.1, 0.5, 0.2, 0.0, 0.0, ()),
    np.zeros((128, 128, 3), np.uint8),
)


def verification(score: float, pictures: int) -> Verification:
    """A match of somebody enrolled with so many photographs."""
    parts: Any = SimpleNamespace(thresholds=TABLE, manifest=SimpleNamespace(identity="model@1"))
    claim, point = SubjectRef("default", "ann"), OperatingPoint()
    hit = Hit("ann", "id", "face", score, "a" * 64)
    threshold = Threshold(0.3, 1e-2, "measured")
    return Verification(True, score, threshold, parts, point, claim, parts, TABLE, PROBE, hit, pictures, 1, {})


@pytest.mark.parametrize(("score", "pictures", "taken"), [(0.41, 1, True), (0.41, 5, False), (0.48, 5, True)])
def test_the_best_of_several_photographs_is_taken_at_the_rate_of_all(score: float, pictures: int, taken: bool) -> None:
    nothing: Any = None
    observed = ObservedTemplates(nothing, nothing, nothing, nothing, nothing, 1e-3, lambda: False)
    observed.close()  # what is observed from now on waits
    observed.observe(DecisionEvent(DecisionContext("r", "key:1", "default"), verification(score, pictures)))
    assert observed.waiting() == taken
