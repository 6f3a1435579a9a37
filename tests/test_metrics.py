"""However many collections there are, the series stay bounded."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from service.metrics import OTHER, CollectionLabels
from service.observers.decision_metrics import DecisionMetrics


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
