"""Whether a row had ended learning: its loss along the schedule, from the log that the run left."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

PARTS = 10


def read_learning(log: Path, steps: int) -> list[float] | None:
    """Read the mean loss of each tenth of a schedule of `steps`; None where the log lacks one of them.

    What was logged twice, because the run was stopped and went on, counts as it was the second time.
    """
    if not log.is_dir():
        return None
    events = EventAccumulator(str(log), size_guidance={"scalars": 0})
    events.Reload()
    if "loss" not in events.Tags()["scalars"]:
        return None
    losses = {event.step: event.value for event in sorted(events.Scalars("loss"), key=lambda event: event.wall_time)}
    place = {step: min(PARTS - 1, (step - 1) * PARTS // steps) for step in losses}
    tenths = [[losses[step] for step in losses if place[step] == part] for part in range(PARTS)]
    return [round(float(np.mean(tenth)), 5) for tenth in tenths] if all(tenths) else None


def late_share(tenths: Sequence[float]) -> float:
    """The share of a loss's whole fall that came in the last tenth of the schedule: 0 where it had ended falling."""
    fall = tenths[0] - tenths[-1]
    return (tenths[-2] - tenths[-1]) / fall if fall > 0 else float("nan")
