"""Requests as OpenTelemetry spans, sent by OTLP over HTTP. Imported only where tracing is set.

A request is a span; below it are `wait` (for a worker), the stages of the pipeline, for a decision within `decide`,
and `publish`, in which the observers are told. Spans hold routes, models and codes: no names of people, no addresses.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer, format_trace_id, set_span_in_context, use_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from service.runtime.spans import NO_SPAN, Attributes, RequestSpan
from service.settings.tracing import Tracing
from service.version import VERSION

TRACED = ("/v1/", "/api/v1/")
"""Beginnings of paths whose requests are traced; probes and scrapes would drown them."""
PATH = "/v1/traces"


class TracedRequest(RequestSpan):
    """A request in a trace."""

    def __init__(self, tracer: Tracer, span: Span) -> None:
        """Take its span, which has begun."""
        self._tracer, self._span = tracer, span
        self.trace_id = format_trace_id(span.get_span_context().trace_id)

    def active(self) -> AbstractContextManager[object]:
        """Let the parts that this thread opens be parts of this request."""
        return use_span(self._span, end_on_exit=False, record_exception=False, set_status_on_exception=False)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Open a part; where it fails it says by which kind of error, whose message may name people."""
        with self._tracer.start_as_current_span(name, record_exception=False, set_status_on_exception=False) as span:
            try:
                yield
            except BaseException as error:
                span.set_status(StatusCode.ERROR, str(getattr(error, "code", type(error).__name__)))
                raise

    def note_past(self, name: str, seconds: float) -> None:
        """Note a part that ends now and took so long."""
        ended = time.time_ns()
        parent = set_span_in_context(self._span, Context())
        self._tracer.start_span(name, parent, start_time=ended - round(seconds * 1e9)).end(ended)

    def end(self, name: str, attributes: Attributes, fault: str | None) -> None:
        """End it."""
        self._span.update_name(name)
        self._span.set_attributes(dict(attributes))
        if fault is not None:
            self._span.set_status(StatusCode.ERROR, fault)
        self._span.end()


class RequestTracing:
    """Begins the spans of requests, in the trace that the caller names by `traceparent` (W3C Trace Context)."""

    def __init__(self, processor: SpanProcessor, service: str, share: float) -> None:
        """Give ended spans to `processor`; `share` is that of requests traced where the caller does not say."""
        resource = Resource.create({"service.name": service, "service.version": VERSION})
        sampler = ParentBased(TraceIdRatioBased(share))
        self._provider = TracerProvider(sampler, resource, shutdown_on_exit=False)
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("facet", VERSION)
        self._propagator = TraceContextTextMapPropagator()

    @classmethod
    def to_collector(cls, settings: Tracing, endpoint: str) -> RequestTracing:
        """Send spans to a collector, in batches and in a thread of its own; while it is away they are dropped."""
        address = endpoint if endpoint.endswith(PATH) else endpoint.rstrip("/") + PATH
        return cls(BatchSpanProcessor(OTLPSpanExporter(address)), settings.service, settings.share)

    def begin(self, headers: Mapping[str, str], path: str) -> RequestSpan:
        """Begin the span of a request of the API; others are in no trace."""
        if not path.startswith(TRACED):
            return NO_SPAN
        caller = self._propagator.extract(headers, Context())
        return TracedRequest(self._tracer, self._tracer.start_span("request", caller, SpanKind.SERVER))

    def close(self) -> None:
        """Send what has ended."""
        self._provider.shutdown()
