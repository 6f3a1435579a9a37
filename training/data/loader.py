"""Batches, prepared ahead of the loop on threads.

The work in a batch (memory-mapped reads, OpenCV, NumPy) releases the GIL, so threads are enough and nothing is copied
between processes. The batch of a step depends on seed and step alone: any number of workers gives the same run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.errors import RecipeInvalid
from training.data.ahead import work_ahead
from training.data.batch import Batch, Source


@dataclass(frozen=True, slots=True)
class Plan:
    """Which samples make up which step, for one of `world` equal ranks."""

    source: Source
    seed: int
    size: int
    rank: int = 0
    world: int = 1

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in an epoch.

        Raises:
            RecipeInvalid: There is not even one.
        """
        samples = len(self.source.order(0, self.seed))
        if samples < self.size or self.size % self.world:
            raise RecipeInvalid(
                f"a batch of {self.size} cannot be made of {samples} samples on {self.world} devices: "
                f"choose a batch that is smaller, or divisible by the number of devices"
            )
        return samples // self.size

    def batch(self, step: int, order: NDArray[np.int64], per_epoch: int) -> Batch:
        """This rank's share of the batch of `step`, given its epoch's order."""
        share = self.size // self.world
        # neighbours stay together: groups of one person's crops are not shared out among the devices
        first = (step % per_epoch) * self.size + self.rank * share
        indices = order[first : first + share]
        return self.source.batch(indices, np.random.default_rng([self.seed, step, self.rank]))


def batches(plan: Plan, start: int, stop: int, workers: int) -> Iterator[Batch]:
    """Yield the batches of steps `start` to `stop`, in order, `workers` threads working ahead."""
    per_epoch = plan.steps_per_epoch

    def steps() -> Iterator[tuple[int, NDArray[np.int64]]]:
        epoch, order = -1, np.empty(0, np.int64)
        for step in range(start, stop):
            if step // per_epoch != epoch:
                epoch = step // per_epoch
                order = plan.source.order(epoch, plan.seed)
            yield step, order

    return work_ahead(lambda at: plan.batch(*at, per_epoch), steps(), workers, "loader")
