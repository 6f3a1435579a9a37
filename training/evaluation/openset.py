"""Open-set identification (ISO/IEC 19795-1): some probes belong to nobody in the gallery, and the gallery grows.

People are split in half by the hash of their name: of the enrolled half one crop each is the reference and the others
are mated probes; all crops of the other half are non-mated probes. Distractors are enrolled besides.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.face.embedding.normalisation import as_probes, as_references
from service.measures.intervals import Estimate, wilson
from service.measures.thresholds import threshold_at
from training.data.crops import CropSet
from training.errors import ProtocolInvalid
from training.evaluation.report import Report, row
from training.evaluation.vectors import Model, embed, offsets_of

FPIRS = (1e-1, 1e-2)
BLOCK = 512


@dataclass(frozen=True, slots=True)
class OpenSet:
    """Row numbers of references, mated probes with the place of their person among the references, other probes."""

    references: NDArray[np.int64]
    mated: NDArray[np.int64]
    owner: NDArray[np.int64]
    nonmated: NDArray[np.int64]


def divide(identities: Sequence[str]) -> OpenSet:
    """Divide labelled rows into gallery and probes.

    Raises:
        ProtocolInvalid: One of the parts stays empty.
    """
    rows: dict[str, list[int]] = {}
    for i, name in enumerate(identities):
        if name:
            rows.setdefault(name, []).append(i)
    references, mated, owner, nonmated = [], [], [], []
    for name in sorted(rows):
        if hashlib.sha256(name.encode()).digest()[0] % 2:
            nonmated += rows[name]
            continue
        references.append(rows[name][0])
        mated += rows[name][1:]
        owner += [len(references) - 1] * (len(rows[name]) - 1)
    if not (references and mated and nonmated):
        raise ProtocolInvalid("open-set identification needs people in and out of the gallery, some with two pictures")
    return OpenSet(*(np.array(part, dtype=np.int64) for part in (references, mated, owner, nonmated)))


def find_best(
    probes: NDArray[np.float32], gallery: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Find the highest score of each probe (N, D) in a gallery (M, D), and the place of whose it is: (N,) each."""
    scores, places = [], []
    for start in range(0, len(probes), BLOCK):
        block = probes[start : start + BLOCK] @ gallery.T
        places.append(block.argmax(axis=1))
        scores.append(block.max(axis=1))
    return np.concatenate(scores).astype(np.float64), np.concatenate(places)


def evaluate_openset(
    name: str,
    people: CropSet,
    others: NDArray[np.uint8] | None,
    model: Model,
    *,
    flip: bool = False,
    progress: bool = True,
) -> Report:
    """Rank-1 and FNIR at FPIR for galleries with no, a tenth of, and all distractors `others` (M, 128, 128, 3).

    `flip` averages with the mirror image.

    Raises:
        ProtocolInvalid: The set has too few people.
    """
    parts = divide(people.identities)
    vectors = embed(model.embeds, people.crops, flip=flip, progress=progress)
    offsets = offsets_of(model.embeds, vectors)
    probes, references = as_probes(vectors, offsets), as_references(vectors, offsets)
    distractors = references[:0]
    if others is not None:
        more = embed(model.embeds, others, flip=flip, progress=progress)
        distractors = as_references(more, offsets_of(model.embeds, more))
    rows = []
    for count in sorted({0, len(distractors) // 10, len(distractors)}):
        gallery = np.concatenate([references[parts.references], distractors[:count]])
        best, place = find_best(probes[parts.mated], gallery)
        right = place == parts.owner
        strangers, _ = find_best(probes[parts.nonmated], gallery)
        protocol = f"{name}, gallery {len(gallery)}"
        hits = int(right.sum())
        rows.append(row(protocol, "rank-1", Estimate.of_share(hits, len(right))))
        for fpir in FPIRS:
            if fpir * len(strangers) >= 1:
                hits = int((right & (best >= threshold_at(strangers, fpir))).sum())
                low, high = wilson(hits, len(right))
                missed = Estimate(1 - hits / len(right), (1 - high, 1 - low), len(right))
                rows.append(row(protocol, f"FNIR at FPIR {fpir:g}", missed))
    details = {"enrolled": len(parts.references), "mated": len(parts.mated), "non-mated": len(parts.nonmated)}
    return Report(model.name, model.embeds.digest, name, tuple(rows), details)
