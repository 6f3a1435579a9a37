"""Photographs to templates, by the code that serves: what was acquired, what enrolment would refuse, and why."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.face.detection.search import Seek
from service.face.embedding.embed import Embedder, Templates
from service.face.errors import FaceError, ImageError
from service.face.quality import Quality, Reason
from service.pipeline import FaceFound, Perception
from service.report.study import Study
from service.rollout.offline.errors import PhotographsInvalid
from service.runtime.timing import Stages

BATCH = 16
UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Acquired:
    """What became of a study's photographs.

    Attributes:
        rows: The photographs of which a template was made, by their places in the study, (K,).
        templates: Theirs, K of them.
        quality: Of each, by its measure, (K,); higher is better.
        failures: By place, the code of why a photograph gave no template.
        refusals: By place, why enrolment would refuse a photograph: the code of an error, or the reasons of unfitness.
        digest: SHA-256 over the names and the contents of all photographs.
        copies_within: Photographs whose bytes are those of an earlier one of the same person.
        copies_across: Photographs whose bytes are also another person's.
    """

    rows: NDArray[np.int64]
    templates: Templates
    quality: dict[str, NDArray[np.float64]]
    failures: dict[int, str]
    refusals: dict[int, tuple[str, ...]]
    digest: str
    copies_within: int
    copies_across: int


@dataclass(frozen=True, slots=True)
class _Seen:
    """One photograph: its face or why there is none, why enrolment would refuse it, the digest of its bytes."""

    face: FaceFound | None
    failure: str | None
    refused: tuple[str, ...]
    digest: bytes


def acquire(
    study: Study, perception: Perception, embedder: Embedder, progress: Callable[[str, int, int], None]
) -> Acquired:
    """Make a template of each photograph, as a verification does, and see whether an enrolment would take it.

    `progress` is told what is done, how much, and of how much.

    Raises:
        PhotographsInvalid: No photograph shows a face.
        InferenceFailed: A model failed.
    """
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        seen: list[_Seen] = []
        for each in pool.map(lambda file: _look(perception, file), study.files):
            seen.append(each)
            progress("faces", len(seen), len(study.files))
        rows = [place for place, each in enumerate(seen) if each.face is not None]
        if not rows:
            raise PhotographsInvalid("no photograph shows a face")
        faces = [each.face for each in seen if each.face is not None]
        parts: list[Templates] = []
        batches = [faces[start : start + BATCH] for start in range(0, len(faces), BATCH)]
        for batch_templates in pool.map(
            lambda batch: embedder.templates(np.stack([face.crop for face in batch])), batches
        ):
            parts.append(batch_templates)
            progress("templates", min(len(parts) * BATCH, len(faces)), len(faces))
    templates = _joined(parts)
    digests = [each.digest for each in seen]
    refusals = {place: each.refused for place, each in enumerate(seen) if each.refused}
    if templates.recognisability is not None and embedder.cut is not None:
        for row, value in zip(rows, templates.recognisability, strict=True):
            if value < embedder.cut:
                refusals[row] = (*refusals.get(row, ()), str(Reason.UNRECOGNISABLE))
    return Acquired(
        np.array(rows, np.int64),
        templates,
        _qualities(faces, templates),
        {place: each.failure for place, each in enumerate(seen) if each.failure is not None},
        refusals,
        _digest(study.ids, digests),
        *_count_copies(study.persons, digests),
    )


def _look(perception: Perception, file: Path) -> _Seen:
    try:
        data = file.read_bytes()
    except OSError:
        return _Seen(None, UNREADABLE, (UNREADABLE,), b"")
    digest = hashlib.sha256(data).digest()
    try:
        face = perception.look(data, Stages(), Seek.PROMINENT, 1).prominent()
    except (ImageError, FaceError) as error:
        return _Seen(None, error.code, (error.code,), digest)
    try:
        single = perception.look(data, Stages(), Seek.SINGLE, 1).single()
    except (ImageError, FaceError) as error:
        return _Seen(face, None, (error.code,), digest)
    return _Seen(face, None, tuple(str(reason) for reason in single.quality.reasons), digest)


def _joined(parts: Sequence[Templates]) -> Templates:
    known = [part.recognisability for part in parts if part.recognisability is not None]
    return Templates(
        np.concatenate([part.vectors for part in parts]),
        np.concatenate([part.offsets for part in parts]),
        np.concatenate(known) if len(known) == len(parts) else None,
    )


def _qualities(faces: Sequence[FaceFound], templates: Templates) -> dict[str, NDArray[np.float64]]:
    measures: dict[str, Callable[[Quality], float]] = {
        "sharpness": lambda quality: quality.sharpness,
        "eye distance": lambda quality: quality.eye_distance,
        "frontality": lambda quality: -quality.turn,
    }
    values = {name: np.array([of(face.quality) for face in faces], np.float64) for name, of in measures.items()}
    values["detection score"] = np.array([face.detection.score for face in faces], np.float64)
    if templates.recognisability is not None:
        values = {"recognisability": templates.recognisability.astype(np.float64), **values}
    return values


def _digest(ids: Sequence[str], digests: Sequence[bytes]) -> str:
    whole = hashlib.sha256()
    for name, digest in sorted(zip(ids, digests, strict=True)):
        whole.update(name.encode() + b"\0" + digest + b"\n")
    return whole.hexdigest()


def _count_copies(persons: Sequence[str], digests: Sequence[bytes]) -> tuple[int, int]:
    """Count copies of a photograph of the same person, and photographs that are somebody else's as well."""
    owners: dict[bytes, set[str]] = {}
    for person, digest in zip(persons, digests, strict=True):
        owners.setdefault(digest, set()).add(person)
    readable = [(person, digest) for person, digest in zip(persons, digests, strict=True) if digest]
    across = sum(len(owners[digest]) > 1 for _, digest in readable)
    return len(readable) - len(set(readable)), across
