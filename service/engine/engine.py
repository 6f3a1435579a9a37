"""The data flow: photographs in, decisions out.

    bytes -> Perception (decode, detect, align, assess) -> Embedder -> Gallery -> decision

Synchronous and free of web and storage details; it runs on worker threads. The caller resolves the embedder once, by
`Engine.embedder`, and passes it on: whatever is noted of a decision names the model that made it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from service.decision import OperatingPoint, decide_open_set, is_match, threshold_for
from service.engine.enrolment import admit, describe_faces, fit_faces, judge
from service.engine.enrolment_report import EnrolmentReport, ModelReport, dump_report, load_report
from service.engine.faces import (
    FaceChoice,
    QualityChoice,
    choose,
    embed,
    naming,
    recognise,
    require_recognisable,
)
from service.engine.results import (
    Detection,
    Embedding,
    EnrolmentOutcome,
    EnrolmentRefused,
    FaceIdentification,
    Identification,
    Repetition,
    SubjectRef,
    Verification,
    VerificationRule,
)
from service.face.detection.search import RIVAL_SHARE, Seek
from service.face.embedding.embed import Embedder
from service.face.score import Threshold, normalised
from service.gallery.gallery import Gallery
from service.gallery.records import DuplicateCheck, DuplicatePolicy, Enrolment, Hit, Idempotency, KeptReply
from service.gallery_models import Reach, References
from service.models import Models
from service.pipeline import FaceFound, Perception, Scene, WholePicture
from service.runtime.timing import Stages

SPARE = 3  # subjects looked at beyond those that are shown: whose photographs are fewer may come before them


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
        templates = embed(embedder, scene.faces, stages)
        scene = replace(scene, faces=tuple(recognise(embedder, scene.faces, templates)))
        return Embedding(scene, templates.vectors, templates.offsets, embedder, stages.seconds)

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
        with naming("probe"):
            scene = self._perception.look(probe, stages, Seek(faces), 1)
            face = choose(scene, faces, quality)
        other: FaceFound | Hit
        if reach is not None:
            templates = embed(embedder, [face], stages)
            (face,) = recognise(embedder, [face], templates, quality, ("probe",))
            with stages.stage("compare"):
                other = reach.compare(templates.vectors[0])
            score = other.score
        else:
            assert isinstance(reference, bytes)  # noqa: S101 - it is no SubjectRef
            chosen, gate = reference_faces or faces, reference_quality or quality
            with naming("reference"):
                other = choose(self._perception.look(reference, stages, Seek(chosen), 1), chosen, gate)
            templates = embed(embedder, [face, other], stages)
            face, other = recognise(embedder, [face, other], templates)
            require_recognisable(face, quality, "probe")
            require_recognisable(other, gate, "reference")
            score = normalised(templates.vectors[0], templates.vectors[1], templates.offsets[0], templates.offsets[1])
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
            with naming("reference"):
                others = [choose(self._perception.look(reference, stages, Seek(faces), 1), faces, "report")]
        with naming("probe"):
            scene = self._perception.look(image, stages, Seek.SINGLE, self.limits.max_faces, RIVAL_SHARE)
            scene.prominent()
        templates = embed(embedder, [*scene.faces, *others], stages)
        judged = recognise(embedder, [*scene.faces, *others], templates)
        probes = judged[: len(scene.faces)]
        compared: list[tuple[float, FaceFound | Hit]] = []
        if reach is None:
            other, vectors, offsets = judged[-1], templates.vectors, templates.offsets
            compared = [
                (normalised(vectors[row], vectors[-1], offsets[row], offsets[-1]), other) for row in range(len(probes))
            ]
        else:
            with stages.stage("compare"):
                hits = [reach.compare(vector) for vector in templates.vectors]
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
            probes = [choose(scene, faces, quality)]
        templates = embed(embedder, probes, stages)
        probes = recognise(embedder, probes, templates, "report" if faces == "all" else quality)
        if probes and not any(face.quality.fit for face in probes):
            threshold = threshold.outside()
        with stages.stage("search"):
            ranked = self.search(reach, templates.vectors, max(2, top_k), people, point, threshold) if probes else []
        decisions = []
        for face, hits in zip(probes, ranked, strict=True):
            outcome, margin = decide_open_set(hits, threshold, self.limits.ambiguous_margin)
            passing = tuple(hit for hit in hits if is_match(hit.score, threshold))
            decisions.append(FaceIdentification(face, outcome, tuple(hits[:top_k]), margin, passing))
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
        judged = [admit(self._perception, image, stages, faces, gate) for image in images]
        outcomes, own = judge(embedder, judged, stages, gate)
        fit = fit_faces(outcomes)
        if not fit:
            raise EnrolmentRefused(outcomes)
        loaded = self.models.embedders  # once: models may come and go meanwhile
        if all(each.digest != embedder.digest for each in loaded):
            loaded = (*loaded, embedder)  # unloaded since it was asked for: duplicates are looked for by its templates
        others = [each for each in loaded if each is not embedder or not own]
        templates = {each.digest: embed(each, [face for *_, face in fit], stages).vectors for each in others}
        if own:
            templates[embedder.digest] = np.stack([own[index] for index, *_ in fit])
        records = describe_faces(fit, images, templates, place.keep_crops)
        report = EnrolmentReport(
            images=tuple(outcome.report() for outcome in outcomes),
            models=tuple(ModelReport.of(each) for each in loaded),
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


def _repetition(enrolment: Enrolment) -> Repetition:
    return Repetition(enrolment, load_report(enrolment.report or {}))
