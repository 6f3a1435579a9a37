"""What batching embeddings would gain: CPU time of one face, alone and in batches."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from service.bench.errors import BenchError
from service.face.align import CROP
from service.face.registry import Registry
from service.models import load_models
from service.settings import Settings

SIZES = (1, 2, 4, 8, 16)
SEED = 7


def measure_batches(settings: Settings, rounds: int, sizes: Sequence[int] = SIZES) -> dict[str, dict[int, float]]:
    """CPU milliseconds a face by embedder and batch size, on one thread; the median of `rounds`, sizes in turn.

    CPU time, because it is what a saturated server runs out of, and other work on the machine does not distort it.

    Raises: BenchError, ModelError.
    """
    if rounds < 1:
        raise BenchError("at least one round is needed")
    models = load_models(Registry.scan(settings.model_directories), settings.inference)
    crops = np.random.default_rng(SEED).integers(0, 256, (max(sizes), CROP, CROP, 3), dtype=np.uint8)
    seconds: dict[str, dict[int, float]] = {}
    for embedder in models.embedders:
        spent: dict[int, list[float]] = {size: [] for size in sizes}
        for turn in range(rounds + 1):
            for size in sizes:
                begun = time.thread_time()
                for start in range(0, max(sizes), size):
                    embedder.embed(crops[start : start + size])
                if turn:  # the first turn warms up
                    spent[size].append(1000 * (time.thread_time() - begun) / max(sizes))
        seconds[embedder.manifest.identity] = {size: float(np.median(times)) for size, times in spent.items()}
    return seconds
