"""The parts that routes use, opened at the start and closed at the end, and how work gets to the workers.

A route that decides asks for the embedder once, decides on a worker, where the decision is published, and renders it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import anyio.to_thread
from fastapi import Depends, Request
from prometheus_client import CollectorRegistry
from starlette.types import Scope

from service.api.http.body import BodyLimits, Intake
from service.api.http.limits import RateLimit
from service.api.http.request_context import RequestContext, context_of, current_request_id, current_trace_id
from service.api.http.request_metrics import RequestMetrics
from service.api.readiness import Readiness
from service.engine.engine import Engine
from service.errors import FacetError
from service.face.embedding.embed import Embedder
from service.face.registry import Registry
from service.gallery.gallery import Gallery
from service.gallery.records import Receipt
from service.keys import Keys
from service.observation import Access, Decision, DecisionContext, DecisionEvent, Erasure, Observers
from service.rollout.backfill.observed_templates import ObservedTemplates
from service.rollout.backfill.reembeddings import Reembeddings
from service.rollout.backfill.worker import Reembedder
from service.rollout.decision_log import DecisionLog
from service.rollout.model_loading import ModelLoading
from service.rollout.roles import Roles
from service.rollout.shadow import Shadow
from service.runtime.executor import Executor, Turn, Unsettled
from service.runtime.timing import Abandoned, Stages
from service.settings import Settings

API_PREFIXES = ("/v1/", "/api/v1/")
"""Of the routes whose requests are noted."""

T = TypeVar("T")
D = TypeVar("D", bound=Decision)


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that one running service consists of."""

    settings: Settings
    registry: Registry
    engine: Engine
    gallery: Gallery
    roles: Roles
    decision_log: DecisionLog
    shadow: Shadow
    model_loading: ModelLoading
    reembeddings: Reembeddings
    reembedder: Reembedder
    observed_templates: ObservedTemplates
    keys: Keys
    executor: Executor
    intake: Intake
    body_limits: BodyLimits
    rate: RateLimit
    series: CollectorRegistry
    request_metrics: RequestMetrics
    observers: Observers
    readiness: Readiness

    async def embedder_for(self, request: Request, name: str | None, collection: str | None = None) -> Embedder:
        """Find the embedder that answers a request, and note it, and where it decides or enrols: '' for two images.

        To be called once for a request: the roles may change at any moment.

        Raises:
            ModelNotFound, ChampionUnavailable, StorageError.
        """
        if name is None and not self.roles.is_fresh():  # a database that hangs must not hold up the event loop
            embedder = await anyio.to_thread.run_sync(self.engine.embedder, name)
        else:
            embedder = self.engine.embedder(name)
        context = context_of(request.scope)
        context.model, context.collection = embedder.manifest.identity, collection
        return embedder

    async def decide(self, request: Request, work: Callable[[Stages], D]) -> D:
        """Decide on a worker, as `perform` does, and publish the decision from there.

        So a decision that was made is noted also where its client has left. It is answered once all is noted.

        Raises:
            Overloaded, Stopping, Abandoned, and what `work` or an observer raises.
        """
        (decision,) = await self.decide_each(request, lambda stages: [work(stages)])
        return decision

    async def decide_each(self, request: Request, work: Callable[[Stages], Sequence[D]]) -> Sequence[D]:
        """Decide several things of one request on a worker, as `decide` decides one, and publish each.

        Raises:
            Overloaded, Stopping, Abandoned, and what `work` or an observer raises.
        """
        span = context_of(request.scope).span
        decided: float | None = None

        def job(stages: Stages) -> Unsettled[Sequence[D]]:
            nonlocal decided
            with span.part("decide"):
                decisions = work(stages)
            decided = time.perf_counter()
            return Unsettled(decisions, [each for one in decisions for each in self._tell(request, one, stages)])

        try:
            return await self.perform(request, job)
        finally:
            if decided is not None:
                span.note_past("publish", time.perf_counter() - decided)

    def publish(self, request: Request, decision: Decision, collection: str | None = None) -> None:
        """Tell the observers of a decision, in a collection where there is one.

        Raises:
            FacetError: an observer refuses the answer.
        """
        self.observers.publish(_event(request, decision, collection))

    def noting(self, request: Request, collection: str) -> Callable[[Receipt], None]:
        """Return what tells the observers of an erasure in a collection: the gallery calls it with the receipt."""
        return lambda receipt: self.publish(request, Erasure(receipt), collection)

    def _tell(self, request: Request, decision: Decision, stages: Stages) -> list[Future[Any]]:
        """Tell the observers, and return what has to end before the decision is answered."""
        if self.settings.webhooks.endpoints:
            stages.rest()  # a message to a receiver waits for the disk
        return self.observers.tell(_event(request, decision, context_of(request.scope).collection or None))

    def note_access(self, scope: Scope, context: RequestContext) -> None:
        """Tell the observers of a request of the API that nothing was published of: a read, a change, a refusal."""
        route = scope.get("route")
        if context.noted or not getattr(route, "path", "").startswith(API_PREFIXES):
            return
        context.noted = True
        collection = context.collection or scope.get("path_params", {}).get("collection")
        access = Access(getattr(route, "name", ""), context.code or "done", context.target)
        event = DecisionEvent(DecisionContext(context.request_id, context.principal, collection), access)
        with suppress(FacetError):  # it is answered already: metrics and log have it, and nothing waits
            self.observers.tell(event)

    async def perform(self, request: Request, work: Callable[[Stages], T | Unsettled[T]]) -> T:
        """Run `work` on a worker for as long as the client stays; its stages are timed, the wait included.

        The request's body must have been read.

        Raises:
            Overloaded, Stopping, Abandoned, and what `work` raises.
        """
        context = context_of(request.scope)
        begun = time.perf_counter()

        def job(turn: Turn) -> T | Unsettled[T]:
            current_request_id.set(context.request_id)
            current_trace_id.set(context.span.trace_id)
            stages = Stages(turn, turn.rest, context.span.part)
            stages.seconds["wait"] = waited = time.perf_counter() - begun
            context.span.note_past("wait", waited)
            try:
                with context.span.active():
                    return work(stages)
            finally:
                self.request_metrics.time_stages(stages.seconds, context.model)

        task = asyncio.ensure_future(self.executor.run(job, context.principal))
        gone = asyncio.ensure_future(_disconnected(request))
        try:
            await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            raise Abandoned("the client went away")
        finally:
            task.cancel()
            gone.cancel()


def _event(request: Request, decision: Decision, collection: str | None) -> DecisionEvent:
    """What is told of a decision; its request counts as noted."""
    context = context_of(request.scope)
    context.noted = True
    return DecisionEvent(DecisionContext(context.request_id, context.principal, collection), decision)


def services_of(request: Request) -> Services:
    """Give the services of the application that a request came to."""
    services: Services = request.app.state.services
    return services


async def _services(request: Request) -> Services:
    """Give them to a route; a coroutine, though it waits for nothing: FastAPI would send a function to a thread."""
    return services_of(request)


ServicesDep = Annotated[Services, Depends(_services)]


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
