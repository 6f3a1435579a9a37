"""What the service tells Prometheus, in one registry that is passed in and belongs to one service."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy.pool import Pool, QueuePool

from service.database.errors import StorageError
from service.executor import Load
from service.face.manifest import Manifest
from service.face.quality import Quality
from service.gallery.records import Size
from service.index.base import Backlog
from service.rollout.backfill.jobs import Job
from service.rollout.challenger_result import Opinion
from service.rollout.roles import Assignment

SECONDS = (0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0, 30.0)
STAGE_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
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
OTHER = "(other)"
"""Stands for all collections beyond those that have series of their own."""
DIFFERENCES = (-0.5, -0.3, -0.2, -0.15, -0.1, -0.05, -0.02, 0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5)


class Metrics:
    """The series of one service. Names and labels are documented in docs/operations.md."""

    def __init__(self, registry: CollectorRegistry, collections: int = 20) -> None:
        """`collections` is how many of them get series of their own: each costs hundreds."""
        self.registry = registry
        self._most_collections = collections
        self._collections: dict[str, str] = {"": ""}
        self._requests = Histogram(
            "facet_request_seconds",
            "Time from the request's first byte to the end of its response.",
            ("route", "method", "status", "model"),
            buckets=SECONDS,
            registry=registry,
        )
        self._stages = Histogram(
            "facet_stage_seconds",
            "Time that one stage of a request took.",
            ("stage", "model"),
            buckets=STAGE_SECONDS,
            registry=registry,
        )
        self._rejections = Counter(
            "facet_rejections_total", "Requests refused, by the problem's code.", ("reason", "route"), registry=registry
        )
        self._faces = Histogram(
            "facet_faces_per_image", "Faces found in one image.", ("route",), buckets=FACES, registry=registry
        )
        self._scores = Histogram(
            "facet_score",
            "Comparison scores behind decisions.",
            ("route", "model", "collection", "decision"),
            buckets=SCORES,
            registry=registry,
        )
        self._decisions = Counter(
            "facet_decisions_total", "Decisions made.", ("route", "model", "collection", "decision"), registry=registry
        )
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
        self._quality = Counter(
            "facet_quality_reasons_total", "Reasons why faces were found unfit.", ("reason",), registry=registry
        )
        self._models = Gauge(
            "facet_model_info",
            "Models loaded; always 1.",
            ("name", "version", "task", "digest", "licence"),
            registry=registry,
        )
        self._startup = Gauge(
            "facet_startup_seconds", "Time from the start to readiness, gallery and models included.", registry=registry
        )
        pair = ("route", "champion", "challenger")
        self._comparisons = Counter(
            "facet_comparisons_total",
            "Decisions that champion and challenger both made.",
            (*pair, "champion_decision", "challenger_decision", "agree"),
            registry=registry,
        )
        self._differences = Histogram(
            "facet_comparison_score_difference",
            "Score of the challenger less that of the champion.",
            pair,
            buckets=DIFFERENCES,
            registry=registry,
        )
        self._comparison_seconds = Histogram(
            "facet_comparison_seconds",
            "Time to embed and to compare or search, in each role.",
            ("route", "role", "model"),
            buckets=STAGE_SECONDS,
            registry=registry,
        )
        self._dropped = Counter(
            "facet_shadow_dropped_total",
            "Sampled decisions that the challenger did not decide.",
            ("reason",),
            registry=registry,
        )
        self._outcomes = Counter(
            "facet_comparison_outcomes_total",
            "Decisions that a client told the truth about.",
            ("route", "role", "model", "outcome", "accepted"),
            registry=registry,
        )
        self._storage = Histogram(
            "facet_storage_seconds",
            "Time that one call of the gallery took.",
            ("operation",),
            buckets=STAGE_SECONDS,
            registry=registry,
        )
        self._made = Counter(
            "facet_templates_made_total",
            "Templates made for people enrolled before, from kept crops or as they were seen again.",
            ("model", "source"),
            registry=registry,
        )
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)

    def watch_load(self, load: Callable[[], Load]) -> None:
        """Report the executor's load whenever somebody asks."""
        self.registry.register(_LoadCollector(load))

    def watch_gallery(self, sizes: Callable[[], Iterable[Size]]) -> None:
        """Report the gallery's size whenever somebody asks."""
        self.registry.register(_GalleryCollector(sizes))

    def watch_readiness(self, ready: Callable[[], bool]) -> None:
        """Report whenever somebody asks whether the service can answer."""
        self.registry.register(_ReadinessCollector(ready))

    def watch_disk(self, directory: Path) -> None:
        """Report the disk of the storage whenever somebody asks."""
        self.registry.register(_DiskCollector(directory))

    def watch_pool(self, pool: Pool) -> None:
        """Report the connections to the record whenever somebody asks."""
        if isinstance(pool, QueuePool):
            self.registry.register(_PoolCollector(pool))

    def watch_backlog(self, waiting: Callable[[], int], backlog: Callable[[], Backlog]) -> None:
        """Report the calls that wait for the record, and the changes that wait for the index, whenever asked."""
        self.registry.register(_BacklogCollector(waiting, backlog))

    def watch_roles(
        self, roles: Callable[[], Assignment], name: Callable[[str], str], waiting: Callable[[], int]
    ) -> None:
        """Report who is champion and challenger, and how many decisions wait to be compared, whenever asked."""
        self.registry.register(_RolesCollector(roles, name, waiting))

    def storage(self, operation: str, seconds: float) -> None:
        """Record one call of the gallery."""
        self._storage.labels(operation).observe(seconds)

    def watch_reembedding(self, jobs: Callable[[], Iterable[Job]], name: Callable[[str], str]) -> None:
        """Report how far templates are made again, by the newest job of each model and collection, whenever asked."""
        self.registry.register(_ReembeddingCollector(jobs, name))

    def request(self, route: str, method: str, status: int, model: str, seconds: float) -> None:
        """Count one finished request."""
        self._requests.labels(route, method, str(status), model).observe(seconds)

    def rejection(self, reason: str, route: str) -> None:
        """Count one request that ended in a problem."""
        self._rejections.labels(reason, route).inc()

    def stages(self, timings: Mapping[str, float], model: str) -> None:
        """Record the seconds of each stage of one request."""
        for stage, seconds in timings.items():
            self._stages.labels(stage, model).observe(seconds)

    def faces(self, route: str, count: int) -> None:
        """Record how many faces one image showed."""
        self._faces.labels(route).observe(count)

    def decision(self, route: str, model: str, collection: str, decision: str, score: float | None) -> None:
        """Record one decision and, where there was something to compare with, its score."""
        place = self._place(collection)
        self._decisions.labels(route, model, place, decision).inc()
        if score is not None:
            self._scores.labels(route, model, place, decision).observe(score)

    def acquisition(self, model: str, collection: str, outcome: str) -> None:
        """Count one request by whether a usable face was acquired: `acquired`, or the code of what stood in the way."""
        self._acquisitions.labels(model, self._place(collection), outcome).inc()

    def quality(self, model: str, collection: str, quality: Quality) -> None:
        """Record how good one face was."""
        place = self._place(collection)
        for measure, histogram in self._measures.items():
            histogram.labels(model, place).observe(getattr(quality, measure))

    def comparison(self, route: str, names: tuple[str, str], champion: Opinion, challenger: Opinion) -> None:
        """Record what champion and challenger, so named, made of one probe."""
        agree = "yes" if champion.agrees(challenger) else "no"
        self._comparisons.labels(route, *names, champion.decision, challenger.decision, agree).inc()
        if champion.score is not None and challenger.score is not None:
            self._differences.labels(route, *names).observe(challenger.score - champion.score)
        for role, name, opinion in zip(("champion", "challenger"), names, (champion, challenger), strict=True):
            self._comparison_seconds.labels(route, role, name).observe(opinion.seconds)

    def shadow_dropped(self, reason: str) -> None:
        """Count a sampled decision that the challenger did not decide."""
        self._dropped.labels(reason).inc()

    def outcome(self, route: str, role: str, model: str, outcome: str, accepted: bool) -> None:
        """Count a decision that a client told the truth about."""
        self._outcomes.labels(route, role, model, outcome, "yes" if accepted else "no").inc()

    def templates_made(self, model: str, source: str, count: int) -> None:
        """Count templates made for people enrolled before; `source` is `crop` or `sight`."""
        self._made.labels(model, source).inc(count)

    def unfit(self, reasons: Iterable[str]) -> None:
        """Count the reasons why one face was unfit."""
        for reason in reasons:
            self._quality.labels(reason).inc()

    def model(self, manifest: Manifest) -> None:
        """Tell that a model is loaded."""
        self._models.labels(manifest.name, manifest.version, manifest.task, manifest.sha256, manifest.licence.id).set(1)

    def started(self, seconds: float) -> None:
        """Record how long the start took."""
        self._startup.set(seconds)

    def _place(self, collection: str) -> str:
        """The label of a collection: the first to come have their own, so that the series stay bounded."""
        if collection not in self._collections and len(self._collections) > self._most_collections:
            return OTHER
        return self._collections.setdefault(collection, collection)


class _LoadCollector(Collector):
    def __init__(self, load: Callable[[], Load]) -> None:
        self._load = load

    def collect(self) -> Iterator[GaugeMetricFamily]:
        load = self._load()
        yield GaugeMetricFamily("facet_queue_depth", "Requests waiting for a worker.", value=load.queued)
        yield GaugeMetricFamily("facet_in_flight", "Requests on a worker.", value=load.running)
        yield GaugeMetricFamily("facet_workers", "Worker threads.", value=load.workers)
        yield GaugeMetricFamily("facet_queue_limit", "Requests that may wait.", value=load.queue_limit)


class _GalleryCollector(Collector):
    def __init__(self, sizes: Callable[[], Iterable[Size]]) -> None:
        self._sizes = sizes

    def collect(self) -> Iterator[GaugeMetricFamily]:
        labels = ("collection", "model")
        templates = GaugeMetricFamily("facet_gallery_templates", "Templates enrolled.", labels=labels)
        memory = GaugeMetricFamily("facet_gallery_index_bytes", "Memory of the indexes.", labels=labels)
        with suppress(StorageError):  # the other series must not be lost with the database
            for size in self._sizes():
                templates.add_metric((size.collection, size.model), size.templates)
                memory.add_metric((size.collection, size.model), size.memory)
        yield templates
        yield memory


class _ReadinessCollector(Collector):
    def __init__(self, ready: Callable[[], bool]) -> None:
        self._ready = ready

    def collect(self) -> Iterator[GaugeMetricFamily]:
        yield GaugeMetricFamily("facet_ready", "1 when the service can answer.", value=float(self._ready()))


class _DiskCollector(Collector):
    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def collect(self) -> Iterator[GaugeMetricFamily]:
        usage = shutil.disk_usage(self._directory)
        yield GaugeMetricFamily("facet_disk_size_bytes", "Size of the storage's disk.", value=usage.total)
        yield GaugeMetricFamily("facet_disk_free_bytes", "Free bytes on the storage's disk.", value=usage.free)


class _PoolCollector(Collector):
    def __init__(self, pool: QueuePool) -> None:
        self._pool = pool

    def collect(self) -> Iterator[GaugeMetricFamily]:
        used = GaugeMetricFamily("facet_storage_connections", "Connections to the record.", labels=("state",))
        used.add_metric(("in_use",), self._pool.checkedout())
        used.add_metric(("idle",), self._pool.checkedin())
        yield used
        limit = self._pool.size() + max(0, self._pool._max_overflow)
        yield GaugeMetricFamily("facet_storage_connections_limit", "Most connections to the record.", value=limit)


class _BacklogCollector(Collector):
    def __init__(self, waiting: Callable[[], int], backlog: Callable[[], Backlog]) -> None:
        self._waiting, self._backlog = waiting, backlog

    def collect(self) -> Iterator[GaugeMetricFamily]:
        yield GaugeMetricFamily(
            "facet_storage_waiting",
            "Calls that wait for the record: for a connection or their turn.",
            value=self._waiting(),
        )
        backlog = self._backlog()
        yield GaugeMetricFamily(
            "facet_outbox_changes", "Changes that the index has still to follow.", value=backlog.changes
        )
        yield GaugeMetricFamily(
            "facet_outbox_seconds", "How long the oldest of these changes has waited.", value=backlog.seconds
        )


class _RolesCollector(Collector):
    def __init__(self, roles: Callable[[], Assignment], name: Callable[[str], str], waiting: Callable[[], int]) -> None:
        self._roles, self._name, self._waiting = roles, name, waiting

    def collect(self) -> Iterator[GaugeMetricFamily]:
        with suppress(StorageError):
            yield from self._of(self._roles())
        yield GaugeMetricFamily(
            "facet_shadow_queue_depth", "Sampled decisions waiting to be compared.", value=self._waiting()
        )

    def _of(self, roles: Assignment) -> Iterator[GaugeMetricFamily]:
        info = GaugeMetricFamily(
            "facet_role_info", "Models in their roles; always 1.", labels=("role", "model", "digest")
        )
        for role, digest in (("champion", roles.champion), ("challenger", roles.challenger)):
            if digest is not None:
                info.add_metric((role, self._name(digest), digest), 1)
        yield info
        yield GaugeMetricFamily("facet_role_sample", "Share of decisions sampled for comparison.", value=roles.sample)


class _ReembeddingCollector(Collector):
    def __init__(self, jobs: Callable[[], Iterable[Job]], name: Callable[[str], str]) -> None:
        self._jobs, self._name = jobs, name

    def collect(self) -> Iterator[GaugeMetricFamily]:
        faces = GaugeMetricFamily(
            "facet_reembedding_faces",
            "Faces of the newest job that makes a model's templates from kept crops.",
            labels=("model", "collection", "state"),
        )
        with suppress(StorageError):
            for job in self._jobs():
                for state, count in (("left", job.left), ("made", job.made), ("failed", job.failed)):
                    faces.add_metric((self._name(job.model), job.collection or "", state), count)
        yield faces
