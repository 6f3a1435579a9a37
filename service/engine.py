"""The data flow: photographs in, decisions out.

    bytes -> Perception (decode, detect, align, assess) -> Embedder -> Gallery -> decision

Synchronous and free of web and storage details; it runs on worker threads.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from service.database.schema import new_id
from service.decision import Ask, Outcome, decide_open_set, threshold_for
from service.errors import FacetError
from service.face.embed import Embedder
from service.face.errors import FaceError, FaceUnfit, ImageError
from service.face.image import encode_png
from service.face.score import Threshold, cosine
from service.gallery.gallery import Gallery
from service.gallery.records import DuplicateCheck, DuplicatePolicy, Enrolment, Hit, Idempotency, NewFace
from service.gallery_models import Reach, References
from service.models import Models
from service.pipeline import FaceFound, Perception, Scene
from service.timing import Stages

FaceChoice = Literal["prominent", "single"]
QualityChoice = Literal["enforce", "report"]


class EnrolmentRefused(FacetError):
    """None of the images could be enrolled; `images` says why for each."""

    code = "enrolment_refused"

    def __init__(self, images: Sequence[ImageOutcome]) -> None:
        super().__init__("none of the images holds a face that can be enrolled")
        self.images = tuple(images)


@dataclass(frozen=True, slots=True)
class SubjectRef:
    """A stored subject to compare with."""

    collection: str
    subject: str


@dataclass(frozen=True, slots=True)
class Verification:
    """The decision of a comparison of two: `matched` when `score` reaches `threshold`."""

    matched: bool
    score: float
    threshold: Threshold
    model: Embedder
    reach: Reach | None
    """What the stored subject's templates were; None when two images were compared."""
    probe: FaceFound
    reference: FaceFound | Hit
    probe_faces: int
    stages: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class FaceIdentification:
    """The open-set decision for one probe face; `candidates` holds each subject once, best first."""

    face: FaceFound
    outcome: Outcome
    candidates: tuple[Hit, ...]
    margin: float | None


@dataclass(frozen=True, slots=True)
class Identification:
    """The decisions for the faces of one photograph against a gallery of `comparisons` templates."""

    faces: tuple[FaceIdentification, ...]
    threshold: Threshold
    comparisons: int
    model: Embedder
    reach: Reach
    stages: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class ImageOutcome:
    """What became of one image of an enrolment: the id of its new face, or the error that kept it out."""

    face_id: str | None
    found: FaceFound | None
    error: FacetError | None


@dataclass(frozen=True, slots=True)
class EnrolmentOutcome:
    """A committed enrolment, with the outcome of each image in the order given."""

    enrolment: Enrolment
    images: tuple[ImageOutcome, ...]
    models: tuple[Embedder, ...]
    stages: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Embedding:
    """Templates of the faces of one photograph: float32 (N, D), rows of unit length."""

    scene: Scene
    vectors: NDArray[np.float32]
    model: Embedder
    stages: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """Defaults of decisions and bounds on answers."""

    default_fmr: float = 1e-3
    ambiguous_margin: float = 0.05
    max_faces: int = 64


class Engine:
    """Everything the service decides. Safe to call from many threads at once."""

    def __init__(
        self,
        models: Models,
        perception: Perception,
        gallery: Gallery,
        limits: EngineLimits,
        champion: Callable[[], Embedder] | None = None,
    ) -> None:
        """`champion` says which embedder answers where none is asked for; without it the models' default does."""
        self.models = models
        self.gallery = gallery
        self.references = References(models, gallery)
        self._perception = perception
        self.limits = limits
        self._champion = champion or (lambda: models.default)

    def embedder(self, name: str | None) -> Embedder:
        """The embedder of that name or `name@version`, or the champion. Raises: ModelNotFound, ChampionUnavailable."""
        return self._champion() if name is None else self.models.embedder(name)

    def detect(self, image: bytes, stages: Stages) -> Scene:
        """All faces of a photograph, the most prominent first. Raises: ImageError."""
        return self._perception.look(image, stages, thorough=True, limit=self.limits.max_faces)

    def embed(self, image: bytes, model: str | None, stages: Stages) -> Embedding:
        """Templates of all faces of a photograph. Raises: ImageError, ModelError."""
        embedder = self.embedder(model)
        scene = self.detect(image, stages)
        vectors = self._embed(embedder, scene.faces, stages)
        return Embedding(scene, vectors, embedder, stages.seconds)

    def verify(
        self,
        probe: bytes,
        reference: bytes | SubjectRef,
        ask: Ask,
        stages: Stages,
        faces: FaceChoice = "prominent",
        quality: QualityChoice = "report",
    ) -> Verification:
        """Decide whether a probe shows the person of a reference image or of a stored subject.

        Raises: ImageError, FaceError, ModelError, GalleryError.
        """
        embedder = self.embedder(ask.model)
        if isinstance(reference, SubjectRef):
            return self._verify_subject(probe, reference, embedder, ask, stages, faces, quality)
        threshold = threshold_for(ask, self.models.thresholds(embedder), self.limits.default_fmr)
        seen = self._perception.look(probe, stages)
        face = _choose(seen, faces, quality)
        other = _choose(self._perception.look(reference, stages), faces, quality)
        first, second = self._embed(embedder, [face, other], stages)
        return _verified(cosine(first, second), threshold, embedder, None, seen, face, other, stages)

    def identify(
        self,
        collection: str,
        image: bytes,
        ask: Ask,
        stages: Stages,
        top_k: int = 5,
        faces: Literal["prominent", "single", "all"] = "prominent",
        quality: QualityChoice = "report",
    ) -> Identification:
        """Find who is on a photograph among a collection's subjects, or that it is none of them.

        Raises: ImageError, FaceError, ModelError, GalleryError.
        """
        embedder = self.embedder(ask.model)
        reach = self.references.of(embedder, collection)
        comparisons = reach.comparisons()
        threshold = threshold_for(ask, reach.thresholds, self.limits.default_fmr, comparisons)
        if faces == "all":
            found = list(self._perception.look(image, stages, thorough=True, limit=self.limits.max_faces).faces)
        else:
            found = [_choose(self._perception.look(image, stages), faces, quality)]
        vectors = self._embed(embedder, found, stages)
        with stages.stage("search"):
            ranked = reach.search(vectors, max(2, top_k)) if found else []
        decided = []
        for face, hits in zip(found, ranked, strict=True):
            outcome, margin = decide_open_set(hits, threshold, self.limits.ambiguous_margin)
            decided.append(FaceIdentification(face, outcome, tuple(hits[:top_k]), margin))
        return Identification(tuple(decided), threshold, comparisons, embedder, reach, stages.seconds)

    def enroll(
        self,
        collection: str,
        subject: str,
        images: Sequence[bytes],
        ask: Ask,
        stages: Stages,
        reply: Callable[[EnrolmentOutcome], str],
        *,
        metadata: Mapping[str, Any] | None = None,
        duplicate: DuplicatePolicy = DuplicatePolicy.ALLOW,
        idempotency: Idempotency | None = None,
        faces: FaceChoice = "single",
        quality: QualityChoice = "enforce",
    ) -> EnrolmentOutcome:
        """Enrol one person from one or more photographs; the fit ones are kept, in one transaction.

        Every loaded embedder contributes a template of each face. `ask` says by which model and at which rate
        duplicates are looked for. `reply` writes the answer that an idempotent repetition will get.

        Raises: EnrolmentRefused when no image is fit, ModelError, GalleryError.
        """
        keep = self.gallery.collection(collection).keep_crops  # first: where there is none, no image is looked at
        check = None
        if duplicate is not DuplicatePolicy.ALLOW:
            embedder = self.embedder(ask.model)
            reach = self.references.of(embedder, collection)
            limit = threshold_for(ask, reach.thresholds, self.limits.default_fmr, max(1, reach.comparisons()))
            check = DuplicateCheck(duplicate, embedder.digest, limit.value, reach.digests)
        outcomes = tuple(self._admit(image, stages, faces, quality) for image in images)
        fit = [(index, o.face_id, o.found) for index, o in enumerate(outcomes) if o.face_id and o.found]
        if not fit:
            raise EnrolmentRefused(outcomes)
        by_model = {e.digest: self._embed(e, [found for *_, found in fit], stages) for e in self.models.embedders}
        records = [
            NewFace(
                id=face_id,
                templates={digest: vectors[row] for digest, vectors in by_model.items()},
                quality=_measures(found),
                box=found.detection.box,
                landmarks=tuple((float(x), float(y)) for x, y in found.detection.landmarks),
                source_sha256=hashlib.sha256(images[index]).hexdigest(),
                crop=encode_png(found.crop) if keep else None,
            )
            for row, (index, face_id, found) in enumerate(fit)
        ]

        def outcome(enrolment: Enrolment) -> EnrolmentOutcome:
            return EnrolmentOutcome(enrolment, outcomes, self.models.embedders, stages.seconds)

        with stages.stage("commit"):
            enrolment = self.gallery.enroll(
                collection,
                subject,
                records,
                metadata=metadata,
                duplicate=check,
                idempotency=idempotency,
                reply=lambda enrolment: reply(outcome(enrolment)),
            )
        return outcome(enrolment)

    def _verify_subject(
        self,
        probe: bytes,
        reference: SubjectRef,
        embedder: Embedder,
        ask: Ask,
        stages: Stages,
        faces: FaceChoice,
        quality: QualityChoice,
    ) -> Verification:
        reach = self.references.of(embedder, reference.collection, reference.subject)
        threshold = threshold_for(ask, reach.thresholds, self.limits.default_fmr)
        seen = self._perception.look(probe, stages)
        face = _choose(seen, faces, quality)
        vector = self._embed(embedder, [face], stages)[0]
        with stages.stage("compare"):
            hit = reach.compare(vector)
        return _verified(hit.score, threshold, embedder, reach, seen, face, hit, stages)

    def _admit(self, image: bytes, stages: Stages, faces: FaceChoice, quality: QualityChoice) -> ImageOutcome:
        try:
            found = _choose(self._perception.look(image, stages), faces, quality)
        except (ImageError, FaceError) as error:
            return ImageOutcome(None, None, error)
        return ImageOutcome(new_id(), found, None)

    def _embed(self, embedder: Embedder, faces: Sequence[FaceFound], stages: Stages) -> NDArray[np.float32]:
        with stages.stage("embed"):
            if not faces:
                return np.empty((0, embedder.dim), dtype=np.float32)
            return embedder.embed(np.stack([face.crop for face in faces]))


def _verified(
    score: float,
    threshold: Threshold,
    embedder: Embedder,
    reach: Reach | None,
    seen: Scene,
    probe: FaceFound,
    reference: FaceFound | Hit,
    stages: Stages,
) -> Verification:
    matched = score >= threshold.value
    count = len(seen.faces)
    return Verification(matched, score, threshold, embedder, reach, probe, reference, count, stages.seconds)


def _choose(scene: Scene, faces: FaceChoice, quality: QualityChoice) -> FaceFound:
    face = scene.single() if faces == "single" else scene.prominent()
    if quality == "enforce" and face.quality.reasons:
        reasons = [str(reason) for reason in face.quality.reasons]
        raise FaceUnfit(f"the face is unfit: {', '.join(reasons)}", reasons)
    return face


def _measures(face: FaceFound) -> dict[str, float]:
    quality = face.quality
    return {
        "eye_distance": quality.eye_distance,
        "sharpness": quality.sharpness,
        "brightness": quality.brightness,
        "contrast": quality.contrast,
        "turn": quality.turn,
        "cut": quality.cut,
        "detection_score": face.detection.score,
    }
