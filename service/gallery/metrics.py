"""The series of the gallery: what it holds, how long it takes, what waits, and the disk."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy.pool import QueuePool

from service.database.errors import StorageError
from service.gallery.gallery import Gallery
from service.gallery.records import Size
from service.index.base import Backlog
from service.metrics import STAGE_SECONDS, LabelledGauge, register_gauge


def storage_seconds(registry: CollectorRegistry) -> Callable[[str, float], None]:
    """Register a histogram of the gallery's calls. Returns what observes one: the operation and its seconds."""
    seconds = Histogram(
        "facet_storage_seconds",
        "Time that one call of the gallery took.",
        ("operation",),
        buckets=STAGE_SECONDS,
        registry=registry,
    )
    return lambda operation, taken: seconds.labels(operation).observe(taken)


def register_gallery(registry: CollectorRegistry, gallery: Gallery) -> None:
    """Register gauges of what the gallery holds, of its connections and of what waits."""
    registry.register(_Sizes(gallery.counts.sizes))
    registry.register(_Outbox(lambda: gallery.index.backlog))
    damaged = "Templates found damaged, and set aside, since the start."
    register_gauge(registry, "facet_templates_damaged", damaged, lambda: gallery.damaged)
    waiting = "Calls that wait for the database: for a connection or their turn."
    register_gauge(registry, "facet_storage_waiting", waiting, lambda: gallery.database.waiting)
    pool = gallery.database.engine.pool
    if isinstance(pool, QueuePool):
        states = {"in_use": pool.checkedout, "idle": pool.checkedin}
        about = "Connections to the database."
        registry.register(
            LabelledGauge(
                "facet_storage_connections",
                about,
                ("state",),
                lambda: [((state,), count()) for state, count in states.items()],
            )
        )
        most = pool.size() + max(0, pool._max_overflow)  # SQLAlchemy tells the second nowhere else
        register_gauge(registry, "facet_storage_connections_limit", "Most connections to the database.", lambda: most)


def register_disk(registry: CollectorRegistry, directory: Path) -> None:
    """Register gauges of the disk that holds a directory."""
    size, free = "Size of the storage's disk.", "Free bytes on the storage's disk."
    register_gauge(registry, "facet_disk_size_bytes", size, lambda: shutil.disk_usage(directory).total)
    register_gauge(registry, "facet_disk_free_bytes", free, lambda: shutil.disk_usage(directory).free)


class _Sizes(Collector):
    """Both families from one reading: it takes time."""

    def __init__(self, read: Callable[[], Iterable[Size]]) -> None:
        self._read = read

    def collect(self) -> Iterator[GaugeMetricFamily]:
        labels = ("collection", "model")
        templates = GaugeMetricFamily("facet_gallery_templates", "Templates enrolled.", labels=labels)
        memory = GaugeMetricFamily("facet_gallery_index_bytes", "Memory of the indexes.", labels=labels)
        with suppress(StorageError):  # the other series must not be lost with the database
            for size in self._read():
                templates.add_metric((size.collection, size.model), size.templates)
                memory.add_metric((size.collection, size.model), size.memory)
        yield templates
        yield memory


class _Outbox(Collector):
    """Both families from one reading: they belong together."""

    def __init__(self, read: Callable[[], Backlog]) -> None:
        self._read = read

    def collect(self) -> Iterator[GaugeMetricFamily]:
        backlog = self._read()
        changes = "Changes that the index has still to follow."
        seconds = "How long the oldest of these changes has waited."
        yield GaugeMetricFamily("facet_outbox_changes", changes, value=backlog.changes)
        yield GaugeMetricFamily("facet_outbox_seconds", seconds, value=backlog.seconds)
