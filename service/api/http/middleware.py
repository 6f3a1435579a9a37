"""The outermost layer: request ids, security headers, the access log, metrics, and the last resort for faults."""

from __future__ import annotations

import logging
import time
import unicodedata
from collections.abc import Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as AsgiScope

from service.api.http.errors import Fault, RequestInvalid
from service.api.http.problems import respond
from service.api.http.request_context import RequestContext, current_request_id, current_trace_id, request_id_from
from service.api.http.request_metrics import RequestMetrics
from service.engine.results import EnrolmentRefused
from service.face.errors import FaceUnfit, ImageCorrupt, ImageUnsupported, NoFace, SeveralFaces
from service.observers.decision_metrics import DecisionMetrics
from service.runtime.spans import Attributes, BeginSpan

access_log = logging.getLogger("facet.access")
log = logging.getLogger("facet")

SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
"""Headers of every response, unless its route says otherwise."""

NOT_ACQUIRED = frozenset(
    kind.code for kind in (NoFace, SeveralFaces, FaceUnfit, ImageUnsupported, ImageCorrupt, EnrolmentRefused)
)
"""Codes of problems by which no usable face was acquired from what was sent."""


def refuse_nul(scope: AsgiScope) -> None:
    """Refuse an address with a NUL character, which no name or id has and not every database can hold.

    Raises: RequestInvalid.
    """
    for part, text in (("path", scope["raw_path"]), ("query", scope["query_string"])):
        if b"%00" in text:
            raise RequestInvalid([Fault(part, "holds a NUL character (%00), which is in no name and no id")])


class RequestMiddleware:
    """ASGI middleware around the whole application."""

    def __init__(
        self,
        app: ASGIApp,
        requests: RequestMetrics,
        decisions: DecisionMetrics,
        note: Callable[[AsgiScope, RequestContext], None],
        begin_span: BeginSpan,
    ) -> None:
        """Wrap `app`; `note` is told of every request that came to its end."""
        self._app, self._note, self._begin_span = app, note, begin_span
        self._requests, self._decisions = requests, decisions

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Serve one request, and report how it went."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = time.perf_counter()
        headers = Headers(scope=scope)
        span = self._begin_span(headers, scope["path"])
        context = RequestContext(request_id_from(headers.get("x-request-id")), span=span)
        scope.setdefault("state", {})["context"] = context
        token = current_request_id.set(context.request_id)
        trace_token = current_trace_id.set(span.trace_id)
        status = 0

        async def send_marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = context.request_id
                for name, value in SECURITY.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            refuse_nul(scope)
            scope["path"] = unicodedata.normalize("NFC", scope["path"])  # names in it have one spelling
            await self._app(scope, receive, send_marked)
        except Exception as error:
            response = respond(Request(scope), error)
            if status == 0:
                await response(scope, receive, send_marked)
        finally:
            context.held.close()
            self._report(scope, context, status, time.perf_counter() - begun)
            self._note(scope, context)
            current_request_id.reset(token)
            current_trace_id.reset(trace_token)

    def _report(self, scope: AsgiScope, context: RequestContext, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
        method = scope["method"] if route != "unmatched" else ""
        self._requests.count_request(route, method, status, context.model, seconds)
        if context.code:
            self._requests.count_rejection(context.code, route)
            if context.collection is not None and context.code in NOT_ACQUIRED:
                self._decisions.count_acquisition(context.model, context.collection, context.code)
        context.span.end(
            f"{scope['method']} {route}", _attributes(scope, route, context, status), _fault(context, status)
        )
        if context.fault is not None:
            log.error("request failed", exc_info=context.fault)
        access_log.info(
            "%s %s %d",
            scope["method"],
            route,
            status,
            extra={
                "method": scope["method"],
                "route": route,
                "status": status,
                "milliseconds": round(seconds * 1000, 1),
                "principal": context.principal,
                "key": context.key,
                "client": (scope.get("client") or ("",))[0],
                "model": context.model,
                "code": context.code,
            },
        )


def _attributes(scope: AsgiScope, route: str, context: RequestContext, status: int) -> Attributes:
    """What a span tells of a request, in the words of OpenTelemetry's semantic conventions where they have any."""
    attributes = {
        "http.request.method": scope["method"],
        "http.route": route,
        "http.response.status_code": status,
        "facet.request_id": context.request_id,
        "facet.model": context.model,
        "facet.collection": context.collection or "",
        "facet.problem": context.code,
    }
    return {name: value for name, value in attributes.items() if value != ""}


def _fault(context: RequestContext, status: int) -> str | None:
    """The code of what went wrong where the service is to blame; 0 is an answer that never began."""
    return (context.code or "no_answer") if status >= 500 or status == 0 else None
