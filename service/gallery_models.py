"""Which enrolled templates a probe may be compared with: its own model's, or those of models of the same space.

A model that regresses a teacher's embedding lives in the teacher's space, so people enrolled with the teacher need
no new templates for it. Nobody enrolled may be overlooked either: where the probe's own model has templates of some
faces only, the models that have the others are searched as well. Another space is a refusal, never a score.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from service.face.cross_model import Calibration, Thresholds
from service.face.embedding.embed import Embedder
from service.face.embedding.normalisation import Offsets
from service.face.errors import SpaceMismatch
from service.face.manifest import Manifest
from service.gallery.errors import TemplateMissing
from service.gallery.gallery import Gallery
from service.gallery.records import Hit
from service.index.base import Vector
from service.index.scoring import Scoring
from service.models import Models

R = TypeVar("R")
FRESH_SECONDS = 1.0
MOST_SHARE = 0.01  # of one thread's time that looking up what a collection holds may take
LARGE = 10_000  # templates, of which counting the subjects takes milliseconds


class Headcount:
    """How many subjects are behind the templates of a collection.

    They are counted again when the number of templates changes, and after a second, since faces may change hands; a
    large collection not before a hundred times as long has passed as the counting took.
    """

    def __init__(self, gallery: Gallery) -> None:
        self._gallery = gallery
        self._kept: dict[tuple[str, tuple[str, ...]], tuple[int, float, int]] = {}

    def of(self, collection: str, digests: tuple[str, ...], comparisons: int) -> int:
        """Subjects with templates of these models, which are `comparisons` at this moment.

        Raises:
            CollectionNotFound.
        """
        place = (collection, digests)
        counted, until, people = self._kept.get(place, (-1, 0.0, 0))
        begun = time.monotonic()
        if begun < until and (counted == comparisons or min(counted, comparisons) > LARGE):
            return people
        people = self._gallery.counts.people(collection, digests)
        ended = time.monotonic()
        wait = (ended - begun) / MOST_SHARE if comparisons > LARGE else 0.0
        self._kept[place] = (comparisons, ended + max(FRESH_SECONDS, wait), people)
        return people


@dataclass(frozen=True, slots=True)
class Reach:
    """What one model's probes are compared with, in a collection or in one of its subjects."""

    gallery: Gallery
    collection: str
    subject: str | None
    models: tuple[Manifest, ...]
    """Models whose templates are compared, the probe's own first if it has any."""
    thresholds: Thresholds
    calibration: Calibration
    unreachable: int
    """Faces without a template of any of these models: no probe of this model can find them."""
    own: Offsets | None
    """What is added to the scores of the probe's model; None where its scores are cosines."""
    offsets: Mapping[str, Offsets]
    """The same for the models compared, by digest."""
    headcount: Headcount
    face: str | None = None
    """Id of the only one of the subject's faces that is compared; None for all of them."""

    @property
    def digests(self) -> tuple[str, ...]:
        """Digests of the models."""
        return tuple(model.sha256 for model in self.models)

    def comparisons(self) -> int:
        """Templates that one search is compared with.

        Raises:
            CollectionNotFound.
        """
        return sum(self.gallery.counts.templates(self.collection, digest) for digest in self.digests)

    def pictures(self) -> int:
        """Different photographs of the subject that a claim is compared with, at least one.

        Raises:
            CollectionNotFound, SubjectNotFound.
        """
        if self.face is not None:
            return 1
        return max(1, self.gallery.counts.photographs(self.collection, self.subject or "", self.digests))

    def people(self, comparisons: int) -> int:
        """Subjects behind so many templates, at least one.

        Raises:
            CollectionNotFound.
        """
        return max(1, self.headcount.of(self.collection, self.digests, comparisons))

    def weigh(self, ranked: Sequence[Sequence[Hit]], cost: Callable[[int], float]) -> list[list[Hit]]:
        """The same hits, best first again, each lowered by what a choice among its subject's photographs is worth.

        `cost` says what k different photographs are worth, 0 for one.

        Raises:
            GalleryError.
        """
        ids = sorted({hit.subject_id for hits in ranked for hit in hits})
        if not ids:
            return [list(hits) for hits in ranked]
        pictures = self.gallery.counts.photographs_of(self.collection, ids, self.digests)
        lowered = [
            [replace(hit, score=hit.score - cost(max(1, pictures.get(hit.subject_id, 1)))) for hit in hits]
            for hits in ranked
        ]
        return [sorted(hits, key=lambda hit: hit.score, reverse=True) for hits in lowered]

    def search(self, probes: NDArray[np.float32], k: int, least: float = -math.inf) -> list[list[Hit]]:
        """For each of (N, D) unit probes the k best subjects, each once, best first.

        Subjects whose score is below `least` may be missing.

        Raises:
            GalleryError.
        """
        if len(self.digests) == 1:
            return self._search(self.digests[0], probes, k, least)
        results = self._with_each(lambda digest: self._search(digest, probes, k, least))
        return [_distinct([hit for hits in found for hit in hits])[:k] for found in zip(*results, strict=True)]

    def compare(self, probe: Vector) -> Hit:
        """The best of the subject's faces for a (D,) unit probe.

        Raises:
            GalleryError.
        """
        subject = self.subject or ""
        if len(self.digests) == 1:
            return self._compare(subject, self.digests[0], probe)
        return max(self._with_each(lambda digest: self._compare(subject, digest, probe)), key=lambda hit: hit.score)

    def _with_each(self, compare: Callable[[str], R]) -> list[R]:
        """What comes of each model that has templates still: the last of one's may just have been erased or dropped.

        Raises:
            TemplateMissing: None has any, and others have.
        """
        results, missing = [], []
        for digest in self.digests:
            try:
                results.append(compare(digest))
            except TemplateMissing as error:
                missing.append(error)
        if not results:
            raise missing[0]
        return results

    def _search(self, digest: str, probes: NDArray[np.float32], k: int, least: float) -> list[list[Hit]]:
        return self.gallery.search(self.collection, digest, probes, k, self.scoring(digest, probes, least))

    def _compare(self, subject: str, digest: str, probe: Vector) -> Hit:
        scoring = self.scoring(digest, probe[None], -math.inf)
        return self.gallery.compare(self.collection, subject, digest, probe, scoring, self.face)

    def scoring(self, digest: str, probes: NDArray[np.float32], least: float = -math.inf) -> Scoring | None:
        """How cosines with a model's templates become scores; None where they are the scores."""
        if self.own is None and digest not in self.offsets:
            return None
        own = _nothing if self.own is None else self.own
        return Scoring(own(probes), self.offsets.get(digest, _nothing), least)


class References:
    """Finds the reach of models.

    What a collection holds is looked up again after a second, or later where that would take more than a hundredth of
    a thread; what is enrolled meanwhile has the loaded models' templates anyway.
    """

    def __init__(self, models: Models, gallery: Gallery) -> None:
        self._models = models
        self._gallery = gallery
        self._kept: dict[tuple[str, str], tuple[float, Reach]] = {}
        self._headcount = Headcount(gallery)
        self._lock = threading.Lock()

    def of(self, embedder: Embedder, collection: str, subject: str | None = None, face: str | None = None) -> Reach:
        """The reach of a model's probes: a collection, one of its subjects, or one face of that.

        Raises:
            CollectionNotFound, SubjectNotFound, TemplateMissing, SpaceMismatch.
        """
        if subject is not None:
            reach = self._find(embedder, collection, subject)
            return reach if face is None else replace(reach, face=face)
        place = (collection, embedder.digest)
        with self._lock:
            until, kept = self._kept.get(place, (0.0, None))
        begun = time.monotonic()
        if kept is not None and begun < until:
            return kept
        reach = self._find(embedder, collection, None)
        ended = time.monotonic()
        with self._lock:
            self._kept[place] = (ended + max(FRESH_SECONDS, (ended - begun) / MOST_SHARE), reach)
        return reach

    def forget(self) -> None:
        """Look everything up again: what a collection holds has changed at one stroke."""
        with self._lock:
            self._kept.clear()

    def _find(self, embedder: Embedder, collection: str, subject: str | None) -> Reach:
        present = self._gallery.counts.models(collection, subject)
        usable = [digest for digest in self._models.same_space(embedder.manifest) if digest in present]
        chosen, missing = ([embedder.digest], 0) if not present else ([], 1)
        while usable and missing:
            # The probe's own model goes first; then whichever covers most of the faces that are left.
            candidates = usable[:1] if usable[0] == embedder.digest else usable
            left = {d: self._gallery.counts.faces_without(collection, [*chosen, d], subject) for d in candidates}
            best = min(candidates, key=lambda digest: left[digest])
            usable.remove(best)
            if not chosen or left[best] < missing:
                chosen.append(best)
                missing = left[best]
        if not chosen:
            raise self._refusal(embedder, collection, subject, present)
        thresholds, calibration = self._models.calibration(embedder, chosen)
        manifests = tuple(self._models.known[digest] for digest in chosen)
        offsets = {digest: added for digest in chosen if (added := self._models.offsets(digest)) is not None}
        return Reach(
            gallery=self._gallery,
            collection=collection,
            subject=subject,
            models=manifests,
            thresholds=thresholds,
            calibration=calibration,
            unreachable=missing,
            own=self._models.offsets(embedder.digest),
            offsets=offsets,
            headcount=self._headcount,
        )

    def _refusal(
        self, embedder: Embedder, collection: str, subject: str | None, present: tuple[str, ...]
    ) -> SpaceMismatch | TemplateMissing:
        where = f"Collection '{collection}'" if subject is None else f"Subject '{subject}'"
        others = [self._models.known[digest].identity for digest in present if digest in self._models.known]
        if not others:
            return TemplateMissing(where, embedder.digest, present)
        return SpaceMismatch(
            f"{where} has templates of {', '.join(others)} only, and {embedder.manifest.identity} embeds into another "
            "space: ask with model= one of those, or enrol again with this model"
        )


def _nothing(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.zeros(len(vectors), np.float32)


def _distinct(hits: list[Hit]) -> list[Hit]:
    """Each subject once, with its best face, best first."""
    best: dict[str, Hit] = {}
    for hit in sorted(hits, key=lambda hit: hit.score, reverse=True):
        best.setdefault(hit.subject_id, hit)
    return list(best.values())
