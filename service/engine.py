"""The data flow: photographs in, decisions out.

    bytes -> Perception (decode, detect, align, assess) -> Embedder -> Gallery -> decision

Synchronous and free of web and storage details; it runs on worker threads. The caller resolves the embedder once, by
`Engine.embedder`, and passes it on: whatever is noted of a decision names the model that made it.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from service.database.schema import new_id
from service.decision import OperatingPoint, Outcome, decide, decide_open_set, threshold_for
from service.enrolment_report import (
    EnrolmentReport,
    FaceReport,
    ImageReport,
    ModelReport,
    Refusal,
    dump_report,
    load_report,
    measures,
)
from service.errors import FacetError
from service.face.cross_model import Thresholds
from service.face.decoding.image import encode_png
from service.face.detection.search import RIVAL_SHARE, Seek
from service.face.embedding.embed import Embedder, Templates
from service.face.errors import FaceError, FaceUnfit, ImageError
from service.face.quality import Reason
from service.face.score import Threshold, normalised
from service.gallery.gallery import Gallery
from service.gallery.records import DuplicateCheck, DuplicatePolicy, Enrolment, Hit, Idempotency, KeptReply, NewFace
from service.gallery_models import Reach, References
from service.models import Models
from service.pipeline import FaceFound, Perception, Scene, WholePicture
from service.runtime.timing import Stages

SPARE = 3  # subjects looked at beyond those that are shown: whose photographs are fewer may come before them

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
    face: str | None = None
    """Id of the only one of its faces to compare with; None for all of them."""


@dataclass(frozen=True, slots=True)
class Verification:
    """The decision of a comparison of two: `matched` when `score` reaches `threshold`."""

    matched: bool
    score: float
    threshold: Threshold
    model: Embedder
    point: OperatingPoint
    """What the caller wanted it decided at."""
    claim: SubjectRef | None
    """The stored subject compared with; None when two images were compared."""
    reach: Reach | None
    """What the stored subject's templates were; None when two images were compared."""
    thresholds: Thresholds
    """By which the score is judged."""
    probe: FaceFound
    reference: FaceFound | Hit
    pictures: int
    """Different photographs of the reference: the best of them is compared, each at its share of the rate."""
    probe_faces: int
    seconds: Mapping[str, float]
    """Of each stage."""


@dataclass(frozen=True, slots=True)
class VerificationRule:
    """What every face of a probe is decided by: the reference, the model's thresholds and the threshold in force."""

    model: Embedder
    point: OperatingPoint
    claim: SubjectRef | None
    reach: Reach | None
    thresholds: Thresholds
    pictures: int
    threshold: Threshold

    def apply(
        self, probe: FaceFound, reference: FaceFound | Hit, score: float, probe_faces: int, stages: Stages
    ) -> Verification:
        """Decide by a score; where a face is unrecognisable, the threshold is outside of what was calibrated."""
        known = all(_is_recognisable(each) for each in (probe, reference) if isinstance(each, FaceFound))
        threshold = self.threshold if known else self.threshold.outside()
        return Verification(
            matched=decide(score, threshold) == Outcome.MATCH,
            score=score,
            threshold=threshold,
            model=self.model,
            point=self.point,
            claim=self.claim,
            reach=self.reach,
            thresholds=self.thresholds,
            probe=probe,
            reference=reference,
            pictures=self.pictures,
            probe_faces=probe_faces,
            seconds=stages.seconds,
        )


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

    collection: str
    faces: tuple[FaceIdentification, ...]
    faces_total: int
    """Faces seen."""
    truncated: bool
    """Whether all were asked for, and there were too many."""
    threshold: Threshold
    comparisons: int
    people: int
    """Subjects behind those templates: the rate counts people, whatever the number of their photographs."""
    model: Embedder
    point: OperatingPoint
    """What the caller wanted it decided at."""
    depth: int
    """Most candidates for each face."""
    reach: Reach
    seconds: Mapping[str, float]
    """Of each stage."""


@dataclass(frozen=True, slots=True)
class ImageOutcome:
    """What became of one image of an enrolment: the id of its new face, or the error that kept it out."""

    face_id: str | None
    face: FaceFound | None
    error: FacetError | None

    def report(self) -> ImageReport:
        """Describe it as plain data."""
        return ImageReport(
            self.face_id,
            None if self.face is None else FaceReport.of(self.face),
            None if self.error is None else Refusal.of(self.error),
        )


@dataclass(frozen=True, slots=True)
class EnrolmentOutcome:
    """A committed enrolment: what the gallery did, and what became of each image in the order given."""

    enrolment: Enrolment
    report: EnrolmentReport
    images: tuple[ImageOutcome, ...]
    model: Embedder
    """By which duplicates are looked for."""


@dataclass(frozen=True, slots=True)
class Repetition:
    """The outcome kept of an enrolment whose request came again: no image is looked at, and nothing decided."""

    enrolment: Enrolment
    report: EnrolmentReport


@dataclass(frozen=True, slots=True)
class Detection:
    """The faces of one photograph."""

    scene: Scene
    seconds: Mapping[str, float]
    """Of each stage."""


@dataclass(frozen=True, slots=True)
class Embedding:
    """Templates of the faces of one photograph: float32 (N, D), rows of unit length, and their offsets (N,).

    The score of two templates is their inner product and both their offsets.
    """

    scene: Scene
    vectors: NDArray[np.float32]
    offsets: NDArray[np.float32]
    model: Embedder
    seconds: Mapping[str, float]
    """Of each stage."""


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """Defaults of decisions and bounds on answers."""

    default_fmr: float = 1e-3
    ambiguous_margin: float = 0.05
    max_faces: int = 512


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
        """Take the parts; `champion` says which embedder answers where none is named, or else the models' default."""
        self.models = models
        self.gallery = gallery
        self.references = References(models, gallery)
        self._perception = perception
        self.limits = limits
        self._champion = champion or (lambda: models.default)

    def embedder(self, name: str | None) -> Embedder:
        """Find the embedder of that name or `name@version`, or the champion.

        Raises:
            ModelNotFound, ChampionUnavailable.
        """
        return self._champion() if name is None else self.models.embedder(name)

    def looking(self, least_score: float = 0.0, most_faces: int | None = None, whole: bool = False) -> Engine:
        """The same engine with other eyes.

        Args:
            least_score: What the detector scores less is no face; its own least score stays.
            most_faces: Of a photograph, the most prominent ones; None for the usual bound.
            whole: Take each picture for the canonical crop of a face, and look for none in it.
        """
        other = copy.copy(self)
        seen = replace(self._perception, least_score=least_score)
        if whole:
            seen = WholePicture(seen.detector, seen.images, seen.quality)
        other._perception = seen
        if most_faces is not None:
            other.limits = replace(self.limits, max_faces=min(most_faces, self.limits.max_faces))
        return other

    def detect(self, image: bytes, stages: Stages) -> Detection:
        """Find all faces of a photograph, the most prominent first.

        Raises:
            ImageError.
        """
        return Detection(self._look_thoroughly(image, stages), stages.seconds)

    def embed(self, image: bytes, embedder: Embedder, stages: Stages) -> Embedding:
        """Make templates of all faces of a photograph.

        Raises:
            ImageError, ModelError.
        """
        scene = self._look_thoroughly(image, stages)
        made = self._embed(embedder, scene.faces, stages)
        scene = replace(scene, faces=tuple(_recognise(embedder, scene.faces, made)))
        return Embedding(scene, made.vectors, made.offsets, embedder, stages.seconds)

    def verify(
        self,
        probe: bytes,
        reference: bytes | SubjectRef,
        embedder: Embedder,
        point: OperatingPoint,
        stages: Stages,
        faces: FaceChoice = "prominent",
        quality: QualityChoice = "report",
        reference_faces: FaceChoice | None = None,
        reference_quality: QualityChoice | None = None,
    ) -> Verification:
        """Decide whether a probe shows the person of a reference image or of a stored subject.

        `faces` and `quality` hold for the reference image too, unless it has its own.

        Raises:
            ImageError, FaceError, ModelError, GalleryError.
        """
        rule = self._rule_for(reference, embedder, point)
        reach = rule.reach
        with _naming("probe"):
            scene = self._perception.look(probe, stages, Seek(faces), 1)
            face = _choose(scene, faces, quality)
        other: FaceFound | Hit
        if reach is not None:
            made = self._embed(embedder, [face], stages)
            (face,) = _recognise(embedder, [face], made, quality, ("probe",))
            with stages.stage("compare"):
                other = reach.compare(made.vectors[0])
            score = other.score
        else:
            assert isinstance(reference, bytes)  # noqa: S101 - it is no SubjectRef
            chosen, gate = reference_faces or faces, reference_quality or quality
            with _naming("reference"):
                other = _choose(self._perception.look(reference, stages, Seek(chosen), 1), chosen, gate)
            made = self._embed(embedder, [face, other], stages)
            face, other = _recognise(embedder, [face, other], made)
            _require_recognisable(face, quality, "probe")
            _require_recognisable(other, gate, "reference")
            score = normalised(made.vectors[0], made.vectors[1], made.offsets[0], made.offsets[1])
        return rule.apply(face, other, score, scene.total, stages)

    def verify_each(
        self,
        image: bytes,
        reference: bytes | SubjectRef,
        embedder: Embedder,
        point: OperatingPoint,
        stages: Stages,
        faces: FaceChoice = "single",
    ) -> tuple[Verification, ...]:
        """Decide for each face that an image may be of, the prominent one first, whether it is the reference's person.

        Faces much smaller than the prominent one are passers-by. `faces` chooses the face of a reference image.

        Raises:
            ImageError, FaceError, ModelError, GalleryError.
        """
        rule = self._rule_for(reference, embedder, point)
        reach = rule.reach
        others: list[FaceFound] = []
        if isinstance(reference, bytes):
            with _naming("reference"):
                others = [_choose(self._perception.look(reference, stages, Seek(faces), 1), faces, "report")]
        with _naming("probe"):
            scene = self._perception.look(image, stages, Seek.SINGLE, self.limits.max_faces, RIVAL_SHARE)
            scene.prominent()
        made = self._embed(embedder, [*scene.faces, *others], stages)
        judged = _recognise(embedder, [*scene.faces, *others], made)
        probes = judged[: len(scene.faces)]
        compared: list[tuple[float, FaceFound | Hit]] = []
        if reach is None:
            other, vectors, offsets = judged[-1], made.vectors, made.offsets
            compared = [
                (normalised(vectors[row], vectors[-1], offsets[row], offsets[-1]), other) for row in range(len(probes))
            ]
        else:
            with stages.stage("compare"):
                hits = [reach.compare(vector) for vector in made.vectors]
            compared = [(hit.score, hit) for hit in hits]
        return tuple(
            rule.apply(face, with_what, score, scene.total, stages)
            for face, (score, with_what) in zip(probes, compared, strict=True)
        )

    def identify(
        self,
        collection: str,
        image: bytes,
        embedder: Embedder,
        point: OperatingPoint,
        stages: Stages,
        top_k: int = 5,
        faces: Literal["prominent", "single", "all"] = "prominent",
        quality: QualityChoice = "report",
    ) -> Identification:
        """Find who is on a photograph among a collection's subjects, or that it is none of them.

        Raises:
            ImageError, FaceError, ModelError, GalleryError.
        """
        reach = self.references.of(embedder, collection)
        comparisons = reach.comparisons()
        people = reach.people(comparisons)
        threshold = threshold_for(point, reach.thresholds, self.limits.default_fmr, people)
        if faces == "all":
            scene = self._look_thoroughly(image, stages)
            probes = list(scene.faces)
        else:
            scene = self._perception.look(image, stages, Seek(faces), 1)
            probes = [_choose(scene, faces, quality)]
        made = self._embed(embedder, probes, stages)
        probes = _recognise(embedder, probes, made, "report" if faces == "all" else quality)
        if probes and not any(_is_recognisable(face) for face in probes):
            threshold = threshold.outside()
        with stages.stage("search"):
            ranked = self.search(reach, made.vectors, max(2, top_k), people, point, threshold) if probes else []
        decisions = []
        for face, hits in zip(probes, ranked, strict=True):
            outcome, margin = decide_open_set(hits, threshold, self.limits.ambiguous_margin)
            decisions.append(FaceIdentification(face, outcome, tuple(hits[:top_k]), margin))
        return Identification(
            collection=collection,
            faces=tuple(decisions),
            faces_total=scene.total,
            truncated=faces == "all" and scene.total > len(probes),
            threshold=threshold,
            comparisons=comparisons,
            people=people,
            model=embedder,
            point=point,
            depth=top_k,
            reach=reach,
            seconds=stages.seconds,
        )

    def search(
        self,
        reach: Reach,
        vectors: NDArray[np.float32],
        k: int,
        people: int,
        point: OperatingPoint,
        threshold: Threshold,
    ) -> list[list[Hit]]:
        """For each of (N, D) probes the k best of `people`, by scores of which the same threshold holds for everybody.

        A subject of several photographs is chosen by the best of them: its score is lowered by what that choice is
        worth, so that each of its photographs is decided at its share of one person's rate. A given threshold is taken
        at its word.

        Raises:
            GalleryError.
        """
        ranked = reach.search(vectors, k + SPARE, threshold.value)
        if point.threshold is None:

            def cost(pictures: int) -> float:
                alone = threshold_for(point, reach.thresholds, self.limits.default_fmr, people * pictures)
                return max(0.0, alone.value - threshold.value)

            ranked = reach.weigh(ranked, cost)
        return [hits[:k] for hits in ranked]

    def enroll(
        self,
        collection: str,
        subject: str,
        images: Sequence[bytes],
        embedder: Embedder,
        point: OperatingPoint,
        stages: Stages,
        *,
        metadata: Mapping[str, Any] | None = None,
        expires_at: datetime | None = None,
        duplicate: DuplicatePolicy = DuplicatePolicy.ALLOW,
        idempotency: Idempotency | None = None,
        faces: FaceChoice = "single",
        quality: QualityChoice | None = None,
    ) -> EnrolmentOutcome | Repetition | KeptReply:
        """Enrol one person from one or more photographs; the fit ones are kept, in one transaction.

        Every loaded embedder contributes a template of each face. `embedder` and `point` say by which model and at
        which rate duplicates are looked for. Unfit faces are refused, or only reported, as `quality` says, or else the
        collection. With `idempotency` the outcome is kept, and a repetition gets it again,
        or the answer's text where an earlier version kept that.

        Raises:
            EnrolmentRefused: no image is fit.
            ModelError, GalleryError.
        """
        if idempotency is not None:
            kept = self.gallery.replay(idempotency)
            if kept is not None:
                return kept if isinstance(kept, KeptReply) else _repetition(kept)
        place = self.gallery.collection(collection)  # first: where there is none, no image is looked at
        gate: QualityChoice = quality or ("report" if place.quality == "report" else "enforce")
        check = None
        if duplicate is not DuplicatePolicy.ALLOW:
            reach = self.references.of(embedder, collection)
            limit = threshold_for(point, reach.thresholds, self.limits.default_fmr, max(1, reach.comparisons()))
            check = DuplicateCheck(duplicate, embedder.digest, limit.value, reach.digests, reach.scoring)
        outcomes, own = self._recognised(
            embedder, [self._admit(image, stages, faces, gate) for image in images], stages, gate
        )
        fit = [(index, o.face_id, o.face) for index, o in enumerate(outcomes) if o.face_id and o.face]
        if not fit:
            raise EnrolmentRefused(outcomes)
        others = [each for each in self.models.embedders if each is not embedder or not own]
        by_model = {each.digest: self._embed(each, [face for *_, face in fit], stages).vectors for each in others}
        if own:
            by_model[embedder.digest] = np.stack([own[index] for index, *_ in fit])
        records = [
            NewFace(
                id=face_id,
                templates={digest: vectors[row] for digest, vectors in by_model.items()},
                quality={**measures(face.quality), "detection_score": face.detection.score},
                box=face.detection.box,
                landmarks=tuple((float(x), float(y)) for x, y in face.detection.landmarks),
                source_sha256=hashlib.sha256(images[index]).hexdigest(),
                crop=encode_png(face.crop) if place.keep_crops else None,
            )
            for row, (index, face_id, face) in enumerate(fit)
        ]
        report = EnrolmentReport(
            images=tuple(outcome.report() for outcome in outcomes),
            models=tuple(ModelReport.of(each) for each in self.models.embedders),
            seconds=dict(stages.seconds),
        )
        stages.rest()
        with stages.stage("commit"):
            enrolment = self.gallery.enroll(
                collection,
                subject,
                records,
                metadata=metadata,
                expires_at=expires_at,
                duplicate=check,
                idempotency=idempotency,
                report=None if idempotency is None else dump_report(report),
            )
        return _repetition(enrolment) if enrolment.replayed else EnrolmentOutcome(enrolment, report, outcomes, embedder)

    def _rule_for(self, reference: bytes | SubjectRef, embedder: Embedder, point: OperatingPoint) -> VerificationRule:
        claim = reference if isinstance(reference, SubjectRef) else None
        reach = None if claim is None else self._reach_of(embedder, claim)
        table = self.models.thresholds(embedder) if reach is None else reach.thresholds
        pictures = 1 if reach is None else reach.pictures()
        threshold = threshold_for(point, table, self.limits.default_fmr, pictures)
        return VerificationRule(embedder, point, claim, reach, table, pictures, threshold)

    def _reach_of(self, embedder: Embedder, claim: SubjectRef) -> Reach:
        return self.references.of(embedder, claim.collection, claim.subject, claim.face)

    def _look_thoroughly(self, image: bytes, stages: Stages) -> Scene:
        return self._perception.look(image, stages, Seek.ALL, self.limits.max_faces)

    def _admit(self, image: bytes, stages: Stages, faces: FaceChoice, quality: QualityChoice) -> ImageOutcome:
        try:
            face = _choose(self._perception.look(image, stages, Seek(faces), 1), faces, quality)
        except (ImageError, FaceError) as error:
            return ImageOutcome(None, None, error)
        return ImageOutcome(new_id(), face, None)

    def _recognised(
        self, embedder: Embedder, outcomes: Sequence[ImageOutcome], stages: Stages, quality: QualityChoice
    ) -> tuple[tuple[ImageOutcome, ...], dict[int, NDArray[np.float32]]]:
        """The same outcomes, those refused whose face the model cannot recognise; and the templates that told, (D,)."""
        if embedder.cut is None:
            return tuple(outcomes), {}
        judged: list[ImageOutcome] = []
        templates: dict[int, NDArray[np.float32]] = {}
        for index, outcome in enumerate(outcomes):
            face = outcome.face
            if face is not None and outcome.error is None:
                made = self._embed(embedder, [face], stages)
                templates[index] = made.vectors[0]
                try:
                    (face,) = _recognise(embedder, [face], made, quality)
                except FaceUnfit as error:
                    judged.append(ImageOutcome(None, None, error))
                    continue
            judged.append(replace(outcome, face=face))
        return tuple(judged), templates

    def _embed(self, embedder: Embedder, faces: Sequence[FaceFound], stages: Stages) -> Templates:
        with stages.stage("embed"):
            if not faces:
                return Templates(np.empty((0, embedder.dim), np.float32), np.empty(0, np.float32), None)
            return embedder.templates(np.stack([face.crop for face in faces]))


def _repetition(enrolment: Enrolment) -> Repetition:
    return Repetition(enrolment, load_report(enrolment.report or {}))


def _recognise(
    embedder: Embedder,
    faces: Sequence[FaceFound],
    made: Templates,
    quality: QualityChoice = "report",
    images: Sequence[str | None] = (),
) -> list[FaceFound]:
    """The faces with the model's word on their templates, if it can tell.

    Raises:
        FaceUnfit: one is unrecognisable, and that is enforced; `images` has the names of their images.
    """
    if made.recognisability is None or embedder.cut is None:
        return list(faces)
    judged = [
        replace(face, quality=face.quality.recognised(float(value), embedder.cut))
        for face, value in zip(faces, made.recognisability, strict=True)
    ]
    for face, image in zip(judged, images or [None] * len(judged), strict=True):
        _require_recognisable(face, quality, image)
    return judged


def _require_recognisable(face: FaceFound, quality: QualityChoice, image: str | None) -> None:
    """Raises: FaceUnfit when it is unrecognisable, and that is enforced."""
    if quality == "enforce" and not _is_recognisable(face):
        error = FaceUnfit("the face is unrecognisable", [str(Reason.UNRECOGNISABLE)])
        error.image = image
        raise error


def _is_recognisable(face: FaceFound) -> bool:
    return Reason.UNRECOGNISABLE not in face.quality.reasons


@contextmanager
def _naming(image: str) -> Iterator[None]:
    """Say in an error which image of the request it is about."""
    try:
        yield
    except (ImageError, FaceError) as error:
        error.image = image
        raise


def _choose(scene: Scene, faces: FaceChoice, quality: QualityChoice) -> FaceFound:
    face = scene.single() if faces == "single" else scene.prominent()
    if quality == "enforce" and face.quality.reasons:
        reasons = [str(reason) for reason in face.quality.reasons]
        raise FaceUnfit(f"the face is unfit: {', '.join(reasons)}", reasons)
    return face
