"""The series of templates made again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter

from service.metrics import LabelledGauge, Sample
from service.rollout.backfill.jobs import Job


class BackfillMetrics:
    """Counts templates made for people enrolled before."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register the series."""
        self._made = Counter(
            "facet_templates_made_total",
            "Templates made for people enrolled before, from kept crops or as they were seen again.",
            ("model", "source"),
            registry=registry,
        )

    def count_templates(self, model: str, source: str, count: int) -> None:
        """Count templates; `source` is `crop`, or `sight` where they were seen again."""
        self._made.labels(model, source).inc(count)


def register_jobs(
    registry: CollectorRegistry, jobs: Callable[[], Iterable[Job]], name_of: Callable[[str], str]
) -> None:
    """Register a gauge of how far templates are made again, by the newest job of each model and collection."""

    def faces() -> Iterator[Sample]:
        for job in jobs():
            for state, count in (("left", job.left), ("made", job.made), ("failed", job.failed)):
                yield (name_of(job.model), job.collection or "", state), count

    about = "Faces of the newest job that makes a model's templates from kept crops."
    registry.register(LabelledGauge("facet_reembedding_faces", about, ("model", "collection", "state"), faces))
