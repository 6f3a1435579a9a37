"""A cohort, a strength and a gate are made of the same faces: each is run through the network once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from service.face.embedding.embed import Embedder, normalise
from training.data.crops import CropSet
from training.evaluation.promise.damage import Damage, spoil

CHUNK = 64
Given = tuple[NDArray[np.float32], NDArray[np.float32] | None]


class Once:
    """An embedder that runs every crop once, however often it is asked for."""

    def __init__(self, model: Embedder) -> None:
        self.dim, self.digest = model.dim, model.digest
        self._model = model
        self._known: dict[bytes, tuple[NDArray[np.float32], np.float32 | None]] = {}

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Unit vectors (N, D) of crops (N, 128, 128, 3)."""
        return normalise(self.run(crops)[0])

    def run(self, crops: NDArray[np.uint8]) -> Given:
        """Vectors before they are normalised (N, D) and the graph's own confidence (N,), if any, as `Embedder.run`."""
        keys = [hashlib.blake2b(crop.tobytes(), digest_size=16).digest() for crop in crops]
        new = {key: i for i, key in enumerate(keys) if key not in self._known}
        for start in range(0, len(new), CHUNK):
            some = list(new.items())[start : start + CHUNK]
            raw, confidence = self._model.run(np.ascontiguousarray(crops[[i for _, i in some]]))
            for place, (key, _) in enumerate(some):
                self._known[key] = (raw[place], None if confidence is None else confidence[place])
        rows = [self._known[key] for key in keys]
        confidences = [value for _, value in rows if value is not None]
        complete = len(confidences) == len(rows)
        return np.stack([raw for raw, _ in rows]), np.array(confidences, np.float32) if complete else None


def draw_pictures(sets: Sequence[CropSet], count: int, seed: int) -> NDArray[np.uint8]:
    """Draw `count` training pictures, (N, 128, 128, 3), every set counting alike."""
    rng = np.random.default_rng(seed)
    share = -(-count // len(sets))
    parts = [crops.crops[np.sort(rng.permutation(crops.rows("train"))[:share])] for crops in sets]
    pictures = np.concatenate(parts)
    return pictures[np.sort(rng.permutation(len(pictures))[:count])]


def damaged(
    pictures: NDArray[np.uint8], damages: Mapping[str, Damage], seed: int
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """The pictures under each kind of damage: the same of one seed, whichever other kinds are asked for."""
    for name, damage in damages.items():
        yield name, spoil(pictures, damage, np.random.default_rng([seed, *name.encode()]))
