"""The application: opened from settings, served by uvicorn, closed gracefully."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager, suppress
from pathlib import Path

from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from service.api.http import openapi, problems
from service.api.http.body import BodyLimits, Intake
from service.api.http.limits import RateLimit
from service.api.http.middleware import Edge
from service.api.readiness import Readiness
from service.api.routes import backfill, comparisons, decisions, faces, gallery, health, models, web_page
from service.api.routes import roles as role_routes
from service.api.schemas.requests import DEFAULT_COLLECTION, MAX_IMAGES
from service.api.services import Services
from service.database.audit_log import AuditLog
from service.engine import Engine, EngineLimits
from service.errors import FacetError
from service.executor import Executor
from service.face.image import ImageLimits
from service.face.quality import QualityLimits
from service.face.registry import Registry
from service.gallery.errors import CollectionExists
from service.gallery_factory import open_gallery
from service.index.base import Progress
from service.keys import Keys
from service.metrics import Metrics
from service.models import Models
from service.pipeline import Perception
from service.rollout.backfill.observed_templates import Sightings
from service.rollout.backfill.reembeddings import Reembeddings
from service.rollout.backfill.worker import Reembedder
from service.rollout.decision_log import Cases, Retention
from service.rollout.roles import Roles
from service.rollout.shadow import Budget, Shadow
from service.rollout.shadow_evaluation import Trial
from service.settings import Settings
from service.version import VERSION

log = logging.getLogger("facet")

STARTER = Path(__file__).parent / "starter"
FIELDS_BESIDES_IMAGES = 16
PROGRESS_SECONDS = 2.0


def create_app(settings: Settings, announce: Callable[[str], None] | None = None) -> FastAPI:
    """The ASGI application of one service.

    `announce` is given the text of the first admin key, when the store has never had a key; without it, none is
    made.
    """
    metrics = Metrics(CollectorRegistry(), settings.metric_collections)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        begun = time.perf_counter()
        with ExitStack() as stack:
            app.state.services = services = _start(stack, settings, metrics)
            if settings.anonymous:
                log.warning("FACET_ANONYMOUS is set: whoever reaches this port has every right")
            elif announce is not None and (key := services.keys.create_first()) is not None:
                announce(key)
            seconds = time.perf_counter() - begun
            metrics.started(seconds)
            log.info("ready after %.2f s with %d templates", seconds, services.gallery.index.loaded.templates)
            yield
            log.info("stopping: finishing what was admitted")

    app = FastAPI(
        title="Facet", version=VERSION, lifespan=lifespan, docs_url=None, redoc_url=None, redirect_slashes=False
    )
    app.add_middleware(Edge, metrics=metrics)
    problems.install(app)
    for router in (
        decisions.router,
        faces.router,
        gallery.router,
        models.router,
        role_routes.router,
        comparisons.router,
        backfill.router,
    ):
        app.include_router(router)
    app.include_router(health.router)
    app.include_router(health.metrics_router, dependencies=health.metrics_access(settings.metrics_public))
    app.include_router(web_page.router)
    web_page.mount_files(app)
    app.openapi = lambda: openapi.document(app)  # type: ignore[method-assign]
    return app


def _start(stack: ExitStack, settings: Settings, metrics: Metrics) -> Services:
    """Open the services, and report a failed start once, in one line where the cause is known."""
    try:
        return stack.enter_context(opened(settings, metrics))
    except FacetError as error:
        log.critical("cannot start: %s", error)
        raise
    except Exception:
        log.exception("cannot start")
        raise


@contextmanager
def opened(settings: Settings, metrics: Metrics) -> Iterator[Services]:
    """Open models, gallery and workers, and close them in the opposite order. Raises: ModelError, StorageError."""
    with ExitStack() as stack:
        registry = Registry.scan(model_directories(settings))
        for fault in registry.faults:
            log.error("a model was left out: %s", fault)
        models = Models.load(registry, settings.detector, settings.models, settings.default_model)
        models.exercise()
        for manifest in (models.detector.manifest, *(embedder.manifest for embedder in models.embedders)):
            metrics.model(manifest)
        gallery = stack.enter_context(closing(open_gallery(settings, _telling(), metrics.storage)))
        database, audit_log = gallery.database, AuditLog(gallery.database.defer)
        if not gallery.collections(limit=1).items:
            with suppress(CollectionExists):  # another process starts beside this one
                gallery.create_collection(DEFAULT_COLLECTION)
        executor = stack.enter_context(closing(Executor(settings.worker_count, settings.queue_limit)))
        metrics.watch_load(executor.load)
        metrics.watch_gallery(gallery.sizes)
        metrics.watch_pool(database.engine.pool)
        metrics.watch_backlog(lambda: database.waiting, lambda: gallery.index.backlog)
        if settings.database is None:
            metrics.watch_disk(settings.data)
        perception = Perception(
            models.detector, ImageLimits(settings.max_image_bytes, settings.max_image_pixels), QualityLimits()
        )
        engine_limits = EngineLimits(settings.default_fmr, settings.ambiguous_margin)

        roles = Roles(models, database)

        def check() -> None:
            gallery.check()
            roles.champion()

        readiness = Readiness(quick=check, thorough=models.exercise)
        metrics.watch_readiness(readiness.is_ready)
        engine = Engine(models, perception, gallery, engine_limits, roles.champion)
        cases = Cases(database, Retention(settings.comparison_rows, settings.comparison_days))
        budget = Budget(settings.shadow_queue, settings.shadow_cpu)
        shadow = stack.enter_context(
            closing(Shadow(roles, Trial(engine), cases, metrics, budget, executor.is_occupied))
        )
        metrics.watch_roles(roles.current, roles.name_of, shadow.waiting)
        renewal = Reembeddings(models, database, roles)
        metrics.watch_reembedding(renewal.latest, roles.name_of)
        reembedder = stack.enter_context(
            closing(Reembedder(models, database, settings.keyring, metrics, executor.is_occupied))
        )
        sightings = stack.enter_context(
            closing(
                Sightings(
                    models,
                    database,
                    settings.keyring,
                    audit_log,
                    metrics,
                    settings.renew_fmr,
                    executor.is_occupied,
                )
            )
        )
        yield Services(
            settings=settings,
            registry=registry,
            engine=engine,
            gallery=gallery,
            audit_log=audit_log,
            roles=roles,
            cases=cases,
            shadow=shadow,
            reembeddings=renewal,
            reembedder=reembedder,
            sightings=sightings,
            keys=Keys(database.engine),
            executor=executor,
            intake=Intake(settings.max_pending_bytes),
            body_limits=BodyLimits(settings.max_body_bytes, MAX_IMAGES + FIELDS_BESIDES_IMAGES, settings.body_seconds),
            rate=RateLimit(settings.rate_limit),
            metrics=metrics,
            readiness=readiness,
        )


def _telling() -> Callable[[Progress], None]:
    """Logs how far a long start has come, every few seconds."""
    told = time.monotonic()

    def tell(progress: Progress) -> None:
        nonlocal told
        if time.monotonic() - told >= PROGRESS_SECONDS:
            told = time.monotonic()
            log.info(
                "reading templates of the collection %s from the %s: %d of %d",
                progress.collection,
                progress.source,
                progress.done,
                progress.total,
            )

    return tell


def model_directories(settings: Settings) -> list[Path]:
    """Where models are looked for, the first first: as set, then beside the data, then those that come along."""
    own = [directory for directory in (settings.data / "models", STARTER) if directory.is_dir()]
    return [*settings.model_dirs, *own]
