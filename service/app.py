"""The application: opened from settings, served by uvicorn, closed gracefully."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from prometheus_client import CollectorRegistry, Gauge
from starlette.middleware.cors import CORSMiddleware
from starlette.types import Scope

from service.api import openapi_document
from service.api.http import problems
from service.api.http.body import BodyLimits, Intake
from service.api.http.connections import Connections
from service.api.http.limits import RateLimit
from service.api.http.middleware import RequestMiddleware
from service.api.http.path_prefix import PathPrefix
from service.api.http.request_context import RequestContext
from service.api.http.request_metrics import RequestMetrics
from service.api.readiness import Readiness
from service.api.routes import ROUTERS, health, web_page
from service.api.schemas.requests import DEFAULT_COLLECTION, MAX_IMAGES
from service.api.services import Services
from service.compreface.routes import ROUTERS as COMPREFACE
from service.database.audit_log import AuditLog, prune_audit
from service.database.audit_log import note as audit_note
from service.database.pruning import prune_all
from service.engine.engine import Engine, EngineLimits
from service.errors import FacetError
from service.face.decoding.image import ImageLimits
from service.face.quality import QualityLimits
from service.face.registry import Registry
from service.gallery.errors import CollectionExists
from service.gallery.maintenance.expiry import Expiry
from service.gallery.maintenance.upkeep import Upkeep
from service.gallery.metrics import register_disk, register_gallery, storage_seconds
from service.gallery.records import Receipt
from service.gallery_factory import open_gallery
from service.index.base import Progress
from service.keys import Keys
from service.metrics import CollectionLabels, register_process
from service.models import load_models, require_rate, runtime_for
from service.observation import DecisionContext, DecisionEvent, DecisionObserver, Erasure, Observers
from service.observers.audit import Auditor
from service.observers.decision_metrics import DecisionMetrics
from service.observers.webhooks import WebhookSender
from service.pipeline import Perception
from service.rollout.backfill.metrics import BackfillMetrics, register_jobs
from service.rollout.backfill.observed_templates import ObservedTemplates
from service.rollout.backfill.reembeddings import Reembeddings
from service.rollout.backfill.worker import Reembedder
from service.rollout.decision_log import DecisionLog, Retention
from service.rollout.metrics import RolloutMetrics, register_roles
from service.rollout.model_loading import FOLLOW_SECONDS, ModelLoading
from service.rollout.roles import Roles
from service.rollout.shadow import Budget, Shadow
from service.rollout.shadow_evaluation import ShadowEvaluation
from service.runtime.executor import Executor
from service.runtime.spans import begin_none
from service.settings import Settings
from service.version import VERSION

if TYPE_CHECKING:
    from service.tracing import RequestTracing

log = logging.getLogger("facet")

FIELDS_BESIDES_IMAGES = 16
PROGRESS_SECONDS = 2.0
CROSS_ORIGIN: dict[str, Any] = {
    "allow_methods": ["GET", "POST", "PUT", "PATCH", "DELETE"],
    "allow_headers": ["Authorization", "X-API-Key", "Content-Type", "Idempotency-Key", "X-Request-ID"],
    "expose_headers": ["X-Request-ID", "Retry-After", "Idempotency-Replayed"],
    "max_age": 3600,
}
"""What pages of other origins may send and read. Keys come in headers, so no credentials of the browser are needed."""

UNTOLD: TelemetryConfig = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
}
"""The framework's own telemetry would tell a collector the addresses of requests, and people's names with them."""


@dataclass(frozen=True, slots=True)
class Series:
    """The registry of one service's series, and those that the web layer and the decisions share."""

    registry: CollectorRegistry
    requests: RequestMetrics
    decisions: DecisionMetrics

    @classmethod
    def register(cls, collections: int) -> Self:
        """Make a registry; so many collections get series of their own."""
        registry = CollectorRegistry()
        register_process(registry)
        return cls(registry, RequestMetrics(registry), DecisionMetrics(registry, CollectionLabels(collections)))


def create_app(
    settings: Settings,
    announce: Callable[[str], None] | None = None,
    observers: Sequence[DecisionObserver] = (),
    tracing: RequestTracing | None = None,
) -> FastAPI:
    """Compose the ASGI application of one service.

    Args:
        settings: Of the service.
        announce: Is given the text of the first admin key, when the store has never had a key; without it, none is
            made.
        observers: Are told of every decision, after those that the service brings along.
        tracing: Traces requests; by default as the settings say.
    """
    tracing = tracing or _tracing(settings)
    series = Series.register(settings.limits.metric_collections)
    connections = Connections(settings.limits.max_connections, settings.server.trusted_proxies)
    connections.register(series.registry)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        begun = time.perf_counter()
        with ExitStack() as stack:
            if tracing is not None:
                stack.callback(tracing.close)
            app.state.services = services = _start(stack, settings, series, observers)
            if settings.access.anonymous:
                log.warning("FACET_ANONYMOUS is set: whoever reaches this port has every right")
            elif announce is not None and (key := services.keys.create_first()) is not None:
                audit_note(services.gallery.database.engine, "create_key", "first start")
                announce(key)
            seconds = time.perf_counter() - begun
            about = "Time from the start to readiness, gallery and models included."
            Gauge("facet_startup_seconds", about, registry=series.registry).set(seconds)
            log.info("ready after %.2f s with %d templates", seconds, services.gallery.index.loaded.templates)
            yield
            log.info("stopping: finishing what was admitted")

    app = FastAPI(
        telemetry=UNTOLD,
        title="Facet",
        version=VERSION,
        lifespan=lifespan,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        servers=[{"url": settings.server.path_prefix}] if settings.server.path_prefix else None,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.connections, app.state.requests = connections, series.requests

    def note(scope: Scope, context: RequestContext) -> None:
        if (services := getattr(app.state, "services", None)) is not None:
            services.note_access(scope, context)

    if settings.server.path_prefix:
        app.add_middleware(PathPrefix, prefix=settings.server.path_prefix)
    begin_span = begin_none if tracing is None else tracing.begin
    app.add_middleware(
        RequestMiddleware, requests=series.requests, decisions=series.decisions, note=note, begin_span=begin_span
    )
    if settings.server.cors_origins:
        app.add_middleware(CORSMiddleware, allow_origins=settings.server.cors_origins, **CROSS_ORIGIN)
    problems.install(app)
    for router in ROUTERS:
        app.include_router(router)
    for router in COMPREFACE:
        app.include_router(router, include_in_schema=False)
    app.include_router(health.router)
    app.include_router(web_page.router)
    web_page.mount_files(app)
    app.openapi = lambda: openapi_document.document(app)  # type: ignore[method-assign]
    app.state.document = openapi_document.DocumentText(app)
    return app


def _tracing(settings: Settings) -> RequestTracing | None:
    """What traces requests, None where the settings name no collector; only then its packages are imported."""
    if (endpoint := settings.tracing.endpoint) is None:
        return None
    from service.tracing import RequestTracing  # noqa: PLC0415 - as the docstring says

    return RequestTracing.to_collector(settings.tracing, endpoint)


def _start(stack: ExitStack, settings: Settings, series: Series, observers: Sequence[DecisionObserver]) -> Services:
    """Open the services, and report a failed start once, in one line where the cause is known."""
    try:
        return stack.enter_context(opened(settings, series, observers))
    except FacetError as error:
        log.critical("cannot start: %s", error)
        raise
    except Exception:
        log.exception("cannot start")
        raise


@contextmanager
def opened(settings: Settings, series: Series, observers: Sequence[DecisionObserver] = ()) -> Iterator[Services]:
    """Open models, gallery and workers, and close them in the opposite order.

    Raises:
        ModelError, StorageError.
    """
    with ExitStack() as stack:
        registry = Registry.scan(settings.model_directories)
        for fault in registry.faults:
            log.error("a model was left out: %s", fault)
        models = load_models(registry, settings.inference)
        require_rate(models, "FACET_DEFAULT_FMR", settings.decisions.default_fmr)
        if settings.rollout.renew_fmr is not None:
            require_rate(models, "FACET_RENEW_FMR", settings.rollout.renew_fmr)
        models.exercise()
        models.register(series.registry)
        gallery = stack.enter_context(closing(open_gallery(settings, _telling(), storage_seconds(series.registry))))
        database = gallery.database
        audit_log = AuditLog(database.defer, database.begin_write)
        forget = partial(prune_audit, days=settings.storage.audit_days)
        webhooks = stack.enter_context(closing(WebhookSender(settings.webhooks, database, series.registry)))
        note_expiry = partial(_note_expiry, webhooks)
        gallery.note_expiries(note_expiry)
        expiry = Expiry(gallery, note_expiry)
        decision_log = DecisionLog(
            database, Retention(rows=settings.rollout.comparison_rows, days=settings.rollout.comparison_days)
        )
        tasks: list[Callable[[], object]] = [
            gallery.prune,
            partial(prune_all, database, forget),
            decision_log.prune,
            webhooks.prune,
            expiry,
        ]
        stack.enter_context(closing(Upkeep(tasks)))
        if not gallery.collections(limit=1).items:
            with suppress(CollectionExists):  # another process starts beside this one
                gallery.create_collection(DEFAULT_COLLECTION)
        executor = stack.enter_context(closing(Executor(settings.inference.worker_count, settings.limits.queue_limit)))
        executor.register(series.registry)
        register_gallery(series.registry, gallery)
        if settings.database.url is None:
            register_disk(series.registry, settings.storage.data)
        perception = Perception(
            models.detector,
            ImageLimits(max_bytes=settings.limits.max_image_bytes, max_pixels=settings.limits.max_image_pixels),
            QualityLimits(),
        )
        engine_limits = EngineLimits(
            default_fmr=settings.decisions.default_fmr, ambiguous_margin=settings.decisions.ambiguous_margin
        )

        roles = Roles(models, database)

        def check() -> None:
            gallery.check()
            roles.champion()

        readiness = Readiness(quick=check, thorough=models.exercise)
        readiness.register(series.registry)
        engine = Engine(models, perception, gallery, engine_limits, roles.champion)
        model_loading = ModelLoading(
            models,
            registry,
            roles,
            database,
            lambda: settings.model_directories,
            partial(runtime_for, settings.inference),
            engine.references.forget,
        )
        stack.enter_context(closing(Upkeep([model_loading.follow], FOLLOW_SECONDS)))
        budget = Budget(queue=settings.rollout.shadow_queue, cpu=settings.rollout.shadow_cpu)
        rollout_metrics, backfill_metrics = RolloutMetrics(series.registry), BackfillMetrics(series.registry)
        shadow = stack.enter_context(
            closing(
                Shadow(roles, ShadowEvaluation(engine), decision_log, rollout_metrics, budget, executor.is_occupied)
            )
        )
        register_roles(series.registry, roles, shadow.waiting)
        reembeddings = Reembeddings(models, database, roles)
        register_jobs(series.registry, reembeddings.latest, roles.name_of)
        keyring, busy = settings.storage.keyring, executor.is_occupied
        reembedder = stack.enter_context(closing(Reembedder(models, database, keyring, backfill_metrics, busy)))
        observed_templates = stack.enter_context(
            closing(
                ObservedTemplates(
                    models, database, keyring, audit_log, backfill_metrics, settings.rollout.renew_fmr, busy
                )
            )
        )
        yield Services(
            settings=settings,
            registry=registry,
            engine=engine,
            gallery=gallery,
            roles=roles,
            decision_log=decision_log,
            shadow=shadow,
            model_loading=model_loading,
            reembeddings=reembeddings,
            reembedder=reembedder,
            observed_templates=observed_templates,
            keys=Keys(database.engine),
            executor=executor,
            intake=Intake(settings.limits.max_pending_bytes),
            body_limits=BodyLimits(
                max_bytes=settings.limits.max_body_bytes,
                max_image_bytes=settings.limits.max_image_bytes,
                max_parts=MAX_IMAGES + FIELDS_BESIDES_IMAGES,
                seconds=settings.limits.body_seconds,
            ),
            rate=RateLimit(settings.limits.rate_limit),
            series=series.registry,
            request_metrics=series.requests,
            observers=Observers(
                [
                    series.decisions,
                    Auditor(audit_log, durable=settings.storage.audit_durable),
                    rollout_metrics,
                    shadow,
                    observed_templates,
                    webhooks,
                    *observers,
                ]
            ),
            readiness=readiness,
        )


def _note_expiry(webhooks: WebhookSender, receipt: Receipt, collection: str) -> None:
    """Say to receivers that nobody asked for this erasure: its date had come."""
    webhooks.observe(DecisionEvent(DecisionContext("", "expiry", collection), Erasure(receipt)))


def _telling() -> Callable[[Progress], None]:
    """Logs how far a long start has come, every few seconds."""
    last = time.monotonic()

    def log_progress(progress: Progress) -> None:
        nonlocal last
        if time.monotonic() - last >= PROGRESS_SECONDS:
            last = time.monotonic()
            log.info(
                "reading templates of the collection %s from the %s: %d of %d",
                progress.collection,
                progress.source,
                progress.done,
                progress.total,
            )

    return log_progress
