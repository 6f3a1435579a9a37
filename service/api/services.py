"""The parts that routes use, opened at the start and closed at the end, and how work gets to the workers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, TypeVar

from fastapi import Depends, Request

from service.api.http.body import BodyLimits, Intake
from service.api.http.limits import RateLimit
from service.api.http.request_context import current_request_id, trace_of
from service.api.readiness import Readiness
from service.database.audit_log import AuditLog
from service.engine import Engine
from service.executor import Executor
from service.face.registry import Registry
from service.gallery.gallery import Gallery
from service.keys import Keys
from service.metrics import Metrics
from service.rollout.backfill.observed_templates import Sightings
from service.rollout.backfill.reembeddings import Reembeddings
from service.rollout.backfill.worker import Reembedder
from service.rollout.decision_log import Cases
from service.rollout.roles import Roles
from service.rollout.shadow import Shadow
from service.settings import Settings
from service.timing import Abandoned, Stages

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that one running service consists of."""

    settings: Settings
    registry: Registry
    engine: Engine
    gallery: Gallery
    audit_log: AuditLog
    roles: Roles
    cases: Cases
    shadow: Shadow
    reembeddings: Reembeddings
    reembedder: Reembedder
    sightings: Sightings
    keys: Keys
    executor: Executor
    intake: Intake
    body_limits: BodyLimits
    rate: RateLimit
    metrics: Metrics
    readiness: Readiness

    async def perform(self, request: Request, work: Callable[[Stages], T]) -> T:
        """Run `work` on a worker for as long as the client stays; its stages are timed, the wait included.

        The request's body must have been read. Raises: Overloaded, Stopping, Abandoned, and what `work` raises.
        """
        trace = trace_of(request.scope)
        asked = time.perf_counter()

        def job(cancelled: Callable[[], bool]) -> T:
            current_request_id.set(trace.request_id)
            stages = Stages(cancelled)
            stages.seconds["wait"] = time.perf_counter() - asked
            try:
                return work(stages)
            finally:
                self.metrics.stages(stages.seconds, trace.model)

        task = asyncio.ensure_future(self.executor.run(job))
        gone = asyncio.ensure_future(_disconnected(request))
        try:
            await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            raise Abandoned("the client went away")
        finally:
            task.cancel()
            gone.cancel()


async def services_of(request: Request) -> Services:
    """The services of the application that a request came to.

    A coroutine, though it waits for nothing: FastAPI would send a function to another thread.
    """
    services: Services = request.app.state.services
    return services


ServicesDep = Annotated[Services, Depends(services_of)]


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
