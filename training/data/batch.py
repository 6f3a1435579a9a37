"""What the training loop feeds on: batches, and where they come from."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Batch = dict[str, NDArray[Any]]
"""Arrays by name, whose first axis is the batch."""


class Source(Protocol):
    """Where batches come from. A batch is a pure function of indices and generator, which makes resuming exact."""

    def order(self, epoch: int, seed: int) -> NDArray[np.int64]:
        """Give the sample order of an epoch; the same length in every epoch."""

    def batch(self, indices: NDArray[np.int64], rng: np.random.Generator) -> Batch:
        """Make one batch. Called on worker threads."""
