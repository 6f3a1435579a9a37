"""Series of receivers are there before anything happens to a message: Prometheus sees no increase of what appears."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from service.database.errors import StorageBusy, StorageFull, StorageReadOnly, StorageUnavailable
from service.webhooks.metrics import FULL, OUTCOMES, WebhookMetrics


@pytest.mark.parametrize(
    ("name", "label", "values"),
    [
        ("facet_webhook_tries_total", "outcome", OUTCOMES),
        (
            "facet_webhook_dropped_total",
            "reason",
            (FULL, *(error.code for error in (StorageBusy, StorageFull, StorageReadOnly, StorageUnavailable))),
        ),
    ],
)
def test_every_loss_of_a_message_is_an_increase(name: str, label: str, values: tuple[str, ...]) -> None:
    registry = CollectorRegistry()
    WebhookMetrics(registry, ["desk"])
    assert [registry.get_sample_value(name, {"receiver": "desk", label: value}) for value in values] == [0.0] * len(
        values
    )
