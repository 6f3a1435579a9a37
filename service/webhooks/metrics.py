"""The series of webhooks: what became of messages, and what waits."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter

from service.database.errors import StorageBusy, StorageError, StorageFull, StorageReadOnly, StorageUnavailable
from service.metrics import LabelledGauge, Sample

OUTCOMES = ("delivered", "failed", "given_up")
FULL = "full"
UNKEPT = (StorageError, StorageBusy, StorageFull, StorageReadOnly, StorageUnavailable)
"""What keeps a message from being written down."""


class WebhookMetrics:
    """Counts what becomes of messages, by receiver."""

    def __init__(self, registry: CollectorRegistry, receivers: Iterable[str]) -> None:
        """Register the series; those of known receivers begin at 0, so that their first increase is seen."""
        self._tries = Counter(
            "facet_webhook_tries_total",
            "Tries to deliver a message by how they ended: delivered, failed, or given_up with the last one.",
            ("receiver", "outcome"),
            registry=registry,
        )
        self._dropped = Counter(
            "facet_webhook_dropped_total",
            "Messages that were not kept: too many waited, or the database did not take them.",
            ("receiver", "reason"),
            registry=registry,
        )
        for receiver in receivers:
            for reason in (FULL, *(error.code for error in UNKEPT)):
                self._dropped.labels(receiver, reason)
            for outcome in OUTCOMES:
                self._tries.labels(receiver, outcome)

    def count_try(self, receiver: str, outcome: str) -> None:
        """Count a try by its end."""
        self._tries.labels(receiver, outcome).inc()

    def count_dropped(self, receiver: str, reason: str, messages: int = 1) -> None:
        """Count messages that were not kept."""
        self._dropped.labels(receiver, reason).inc(messages)


def register_waiting(registry: CollectorRegistry, read: Callable[[], list[Sample]]) -> None:
    """Register the gauge of messages that wait, of each receiver."""
    about = "Messages that a receiver has still to be told."
    registry.register(LabelledGauge("facet_webhook_messages", about, ("receiver",), read))
