"""The series of requests: how many, how long, refused why."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram

from service.metrics import SECONDS, STAGE_SECONDS


class RequestMetrics:
    """Counts and times requests."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register the series."""
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

    def count_request(self, route: str, method: str, status: int, model: str, seconds: float) -> None:
        """Count one finished request."""
        self._requests.labels(route, method, str(status), model).observe(seconds)

    def count_rejection(self, reason: str, route: str) -> None:
        """Count one request that ended in a problem."""
        self._rejections.labels(reason, route).inc()

    def time_stages(self, seconds: Mapping[str, float], model: str) -> None:
        """Observe the seconds of each stage of one request."""
        for stage, taken in seconds.items():
            self._stages.labels(stage, model).observe(taken)
