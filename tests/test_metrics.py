"""However many collections there are, the series stay bounded."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from prometheus_client import CollectorRegistry

from service.decision import OperatingPoint
from service.engine.results import Detection, EnrolmentOutcome, Identification, ImageOutcome
from service.face.errors import FaceUnfit, ImageCorrupt, NoFace, SeveralFaces
from service.face.registry import Registry
from service.face.score import Threshold
from service.metrics import OTHER, CollectionLabels
from service.observation import DecisionContext, DecisionEvent
from service.observers.decision_metrics import DecisionMetrics
from service.pipeline import Scene


def labels(registry: CollectorRegistry) -> set[str]:
    """Collections that decisions are counted under."""
    return {
        sample.labels["collection"]
        for family in registry.collect()
        if family.name == "facet_decisions"
        for sample in family.samples
    }


def test_the_first_collections_have_their_own_series_and_the_others_share_one() -> None:
    registry = CollectorRegistry()
    metrics = DecisionMetrics(registry, CollectionLabels(3))
    for _ in range(2):
        for number in range(10):
            metrics.count_decision("identify", "m", f"c{number}", "match", 0.5)
            metrics.count_acquisition("m", f"c{number}", "acquired")
        metrics.count_decision("verify", "m", "", "match", 0.5)
    assert labels(registry) == {"", "c0", "c1", "c2", OTHER}
    shared = {"route": "identify", "model": "m", "collection": OTHER, "decision": "match"}
    assert registry.get_sample_value("facet_decisions_total", shared) == 14


def test_no_collection_of_its_own_at_all() -> None:
    registry = CollectorRegistry()
    metrics = DecisionMetrics(registry, CollectionLabels(0))
    metrics.count_decision("identify", "m", "c", "match", None)
    assert labels(registry) == {OTHER}


def test_a_photograph_refused_for_enrolment_is_none_without_a_face(model_dirs: tuple[Path, ...]) -> None:
    registry, models = CollectorRegistry(), Registry.scan(model_dirs)
    metrics = DecisionMetrics(registry, CollectionLabels(3))
    refusals = (NoFace("none"), SeveralFaces("three"), FaceUnfit("dark", ["too_dark"]), ImageCorrupt("cut short"))
    images = tuple(ImageOutcome(None, None, error) for error in refusals)
    model = models.embedder(models.folders("embedder")[0].manifest.identity)
    outcome = EnrolmentOutcome(cast("Any", None), cast("Any", None), images, model)
    metrics.observe(DecisionEvent(DecisionContext("r", "k", "staff"), outcome))
    assert registry.get_sample_value("facet_faces_per_image_count", {"route": "enroll"}) == 1
    assert registry.get_sample_value("facet_faces_per_image_bucket", {"route": "enroll", "le": "0.0"}) == 1


def test_faces_of_an_image_are_those_that_were_seen(model_dirs: tuple[Path, ...]) -> None:
    """Of a group, a search decides about one face, and an answer holds so many at most."""
    registry, models = CollectorRegistry(), Registry.scan(model_dirs)
    metrics = DecisionMetrics(registry, CollectionLabels(3))
    context = DecisionContext("r", "k", "staff")
    search = Identification(
        collection="staff", faces=(), faces_total=7, truncated=False, threshold=Threshold(0.3, 1e-3, "measured"),
        comparisons=1, people=1, model=models.embedder(models.folders("embedder")[0].manifest.identity),
        point=OperatingPoint(), depth=5, reach=cast("Any", None), seconds={},
    )  # fmt: skip
    crowd = Scene(width=9000, height=9000, faces=(), total=600, rivals=0)
    metrics.observe(DecisionEvent(context, search))
    metrics.observe(DecisionEvent(context, Detection(crowd, {})))
    for route, faces in (("identify", 7), ("detect", 600)):
        assert registry.get_sample_value("facet_faces_per_image_sum", {"route": route}) == faces
