"""Replicas that deliver the messages of one PostgreSQL: each message is sent once."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, closing
from typing import Any

import pytest
import sqlalchemy as sa
from prometheus_client import CollectorRegistry

from service.database.base import Database
from service.database.schema import new_id, now, webhook_messages
from service.settings.webhooks import Endpoint
from service.webhooks import outbox
from service.webhooks.delivery import Deliverer, Patience
from service.webhooks.metrics import WebhookMetrics
from service.webhooks.outbox import Message
from tests.engines.conftest import Places
from tests.waiting import PATIENCE, await_that
from tests.webhooks.receiver import receiving

pytestmark = pytest.mark.engines
COUNT = 100


def put(database: Database[Any], messages: list[Message]) -> None:
    database.change(lambda open_: outbox.put(open_.connection, "desk", messages, COUNT))


def test_replicas_share_the_messages(places: Places) -> None:
    place: Callable[..., Any] = places("pgvector")
    messages = [Message(new_id(), now(), "enrolment.done", {"faces": number}) for number in range(COUNT)]
    with ExitStack() as stack, receiving() as receiver:
        first, second = (stack.enter_context(closing(place())).database for _ in range(2))
        endpoint = Endpoint.model_validate(receiver.endpoint())
        put(first, messages)
        for database in (first, second):
            patience, metrics = Patience(PATIENCE, 3, 0.001), WebhookMetrics(CollectorRegistry(), ())
            stack.enter_context(closing(Deliverer(endpoint, database, patience, metrics)))
        receiver.await_taken(COUNT)
        left = sa.select(sa.func.count()).select_from(webhook_messages)
        await_that(lambda: first.read(lambda connection: connection.scalar(left)) == 0)
    assert sorted(message for message, _ in receiver.requests) == sorted(message.id for message in messages)


def test_what_one_replica_has_taken_no_other_takes(places: Places) -> None:
    place: Callable[..., Any] = places("pgvector")
    with closing(place()) as gallery, closing(place()) as other:
        put(gallery.database, [Message(new_id(), now(), "enrolment.done", {})])
        with gallery.database.engine.connect() as connection, connection.begin():
            assert outbox.take(connection, "desk", 3600.0) is not None
            take = lambda open_: outbox.take(open_.connection, "desk", 3600.0)  # noqa: E731
            assert other.database.change(take) is None  # not even while the first is at it
        assert other.database.change(take) is None
