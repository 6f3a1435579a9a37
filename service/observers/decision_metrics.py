"""The metrics' part of decisions: outcomes, scores, faces and their quality."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram

from service.engine.results import Detection, Embedding, EnrolmentOutcome, Identification, Verification
from service.face.errors import NoFace
from service.face.quality import Quality
from service.metrics import CollectionLabels
from service.observation import BroughtTemplates, DecisionEvent
from service.pipeline import FaceFound

FACES = (0, 1, 2, 3, 5, 10, 20, 50)
SCORES = tuple(step / 20 for step in range(-4, 21))
QUALITY = {
    "sharpness": (
        "facet_face_sharpness",
        "Sharpness",
        (0.02, 0.035, 0.05, 0.06, 0.07, 0.08, 0.09, 0.1, 0.12, 0.15, 0.2),
    ),
    "brightness": ("facet_face_brightness", "Mean luma, 0 to 1,", tuple(step / 20 for step in range(2, 17))),
    "contrast": ("facet_face_contrast", "Deviation of luma", (0.04, 0.08, 0.12, 0.16, 0.2, 0.24, 0.28, 0.32)),
    "eye_distance": ("facet_face_eye_pixels", "Distance of the eyes", (14, 20, 28, 40, 56, 80, 112, 160, 224)),
}
"""Measures of a face by their names in `Quality`: metric, description, bounds of its histogram."""


class DecisionMetrics:
    """Counts and measures what is decided."""

    def __init__(self, registry: CollectorRegistry, collections: CollectionLabels) -> None:
        """Register the series."""
        self._collections = collections
        labels = ("route", "model", "collection", "decision")
        self._faces = Histogram(
            "facet_faces_per_image", "Faces found in one image.", ("route",), buckets=FACES, registry=registry
        )
        self._scores = Histogram(
            "facet_score", "Comparison scores behind decisions.", labels, buckets=SCORES, registry=registry
        )
        self._decisions = Counter("facet_decisions_total", "Decisions made.", labels, registry=registry)
        self._acquisitions = Counter(
            "facet_acquisitions_total",
            "Requests to decide or enrol by whether a usable face was acquired, or the problem's code.",
            ("model", "collection", "outcome"),
            registry=registry,
        )
        self._measures = {
            measure: Histogram(
                name,
                f"{about} of faces decided on or enrolled.",
                ("model", "collection"),
                buckets=bounds,
                registry=registry,
            )
            for measure, (name, about, bounds) in QUALITY.items()
        }
        self._reasons = Counter(
            "facet_quality_reasons_total", "Reasons why faces were found unfit.", ("reason",), registry=registry
        )

    def observe(self, event: DecisionEvent) -> None:
        """Count one event, face by face."""
        collection = event.context.collection or ""
        match event.decision:
            case Verification() as result:
                model = result.model.manifest.identity
                pair = (result.probe, result.reference) if isinstance(result.reference, FaceFound) else (result.probe,)
                self._count_faces("verify", result.probe_faces, pair)
                self._acquire(model, collection, pair)
                self.count_decision(
                    "verify", model, collection, "match" if result.matched else "no_match", result.score
                )
            case Identification() as result:
                model = result.model.manifest.identity
                faces = [each.face for each in result.faces]
                self._count_faces("identify", result.faces_total, faces)
                self._acquire(model, collection, faces)
                for each in result.faces:
                    score = each.candidates[0].score if each.candidates else None
                    self.count_decision("identify", model, collection, each.outcome, score)
            case EnrolmentOutcome() as result:
                enrolled = [image.face for image in result.images if image.face is not None]
                for face in enrolled:
                    self._count_faces("enroll", 1, (face,))
                for image in result.images:
                    if isinstance(image.error, NoFace):  # of others that are refused nobody said how many they show
                        self._count_faces("enroll", 0, ())
                self._acquire(result.model.manifest.identity, collection, enrolled)
            case BroughtTemplates(action, embedder, _, outcomes):
                for outcome in outcomes:
                    identity = embedder.manifest.identity
                    self.count_decision(action, identity, collection, outcome.outcome, outcome.score)
            case Detection(scene=scene):
                self._count_faces("detect", scene.total, scene.faces)
            case Embedding(scene=scene):
                self._count_faces("embed", scene.total, scene.faces)

    def count_decision(self, route: str, model: str, collection: str, decision: str, score: float | None) -> None:
        """Count one decision and, where there was something to compare with, observe its score."""
        place = self._collections.label(collection)
        self._decisions.labels(route, model, place, decision).inc()
        if score is not None:
            self._scores.labels(route, model, place, decision).observe(score)

    def count_acquisition(self, model: str, collection: str, outcome: str) -> None:
        """Count one request by whether a usable face was acquired: `acquired`, or the code of what stood in the way."""
        self._acquisitions.labels(model, self._collections.label(collection), outcome).inc()

    def _acquire(self, model: str, collection: str, faces: Iterable[FaceFound]) -> None:
        qualities = [face.quality for face in faces]
        self.count_acquisition(model, collection, "acquired" if qualities else NoFace.code)
        for quality in qualities:
            self._measure(model, collection, quality)

    def _measure(self, model: str, collection: str, quality: Quality) -> None:
        place = self._collections.label(collection)
        for measure, histogram in self._measures.items():
            histogram.labels(model, place).observe(getattr(quality, measure))

    def _count_faces(self, route: str, count: int, faces: Iterable[FaceFound]) -> None:
        """Count the faces that one image showed, and why those looked at are unfit."""
        self._faces.labels(route).observe(count)
        for face in faces:
            for reason in face.quality.reasons:
                self._reasons.labels(str(reason)).inc()
