"""One receiver's messages: signed, tried again, given up, and taken by one process at a time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from prometheus_client import CollectorRegistry

from service.database.base import Database
from service.database.schema import new_id, now, webhook_messages
from service.gallery.embedded import open_embedded
from service.gallery.records import NewFace
from service.settings.webhooks import Endpoint
from service.webhooks import outbox
from service.webhooks.delivery import Deliverer, Patience, retry_after
from service.webhooks.metrics import WebhookMetrics
from service.webhooks.outbox import Message
from tests.gallery.vectors import people
from tests.waiting import PATIENCE, await_that
from tests.webhooks.receiver import OTHER_SECRET, SECRET, Answer, Receiver, receiving

AT = datetime(2026, 1, 1, tzinfo=UTC)
QUICK = Patience(PATIENCE, 3, 0.001)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database[Any]]:
    with closing(open_embedded(tmp_path_factory.mktemp("store"))) as gallery:
        yield gallery.database


@pytest.fixture
def database(store: Database[Any]) -> Database[Any]:
    """A database without messages."""
    store.write(lambda connection: connection.execute(sa.delete(webhook_messages)))
    return store


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


Deliver = Callable[..., Deliverer]


@pytest.fixture
def deliver(database: Database[Any], receiver: Receiver, registry: CollectorRegistry) -> Iterator[Deliver]:
    """Begins to deliver to the receiver."""
    metrics = WebhookMetrics(registry, ())
    with ExitStack() as stack:

        def begin(patience: Patience = QUICK) -> Deliverer:
            endpoint = Endpoint.model_validate(receiver.endpoint())
            return stack.enter_context(closing(Deliverer(endpoint, database, patience, metrics)))

        yield begin


def put(database: Database[Any], count: int = 1, most: int = 1000) -> list[str]:
    messages = [Message(new_id(), now(), "enrolment.done", {"faces": number}) for number in range(count)]
    kept = database.change(lambda open_: outbox.put(open_.connection, "desk", messages, most))
    return [message.id for message in messages[:kept]]


def waiting(database: Database[Any]) -> list[sa.Row[Any]]:
    return database.read(lambda connection: list(connection.execute(sa.select(webhook_messages))))


def tries(registry: CollectorRegistry, outcome: str) -> float:
    value = registry.get_sample_value("facet_webhook_tries_total", {"receiver": "desk", "outcome": outcome})
    return value or 0.0


def test_a_message_refused_first_comes_again_as_the_same(
    database: Database[Any], receiver: Receiver, registry: CollectorRegistry, deliver: Deliver
) -> None:
    answers: list[Answer] = [(204, {}), (302, {"Location": receiver.address}), (500, {})]
    receiver.answer = answers.pop
    (message,) = put(database)
    deliver()
    assert receiver.await_taken(1)[0]["data"] == {"faces": 0}
    await_that(lambda: not waiting(database))
    assert [each for each, _ in receiver.requests] == [message] * 3
    await_that(lambda: tries(registry, "delivered") == 1)
    assert tries(registry, "failed") == 2


def test_what_is_never_taken_is_given_up_and_said(
    database: Database[Any],
    receiver: Receiver,
    registry: CollectorRegistry,
    deliver: Deliver,
    caplog: pytest.LogCaptureFixture,
) -> None:
    receiver.answer = lambda: (500, {})
    (message,) = put(database)
    with caplog.at_level(logging.ERROR, "facet"):
        deliver()
        await_that(lambda: caplog.messages)
    assert caplog.messages == [f"webhook {message} (enrolment.done) to desk is given up after 3 tries: it answered 500"]
    assert (len(receiver.requests), waiting(database)) == (3, [])
    assert (tries(registry, "given_up"), tries(registry, "failed")) == (1, 2)


def test_a_try_that_goes_wrong_in_no_known_way_counts(
    database: Database[Any], receiver: Receiver, registry: CollectorRegistry, deliver: Deliver
) -> None:
    nameless = Message(new_id(), now(), "enrolment.done", {"subjects": [{}]})
    database.change(lambda open_: outbox.put(open_.connection, "desk", [nameless], 1000))
    deliver()
    await_that(lambda: tries(registry, "given_up") == 1)
    assert (receiver.requests, waiting(database), tries(registry, "failed")) == ([], [], 2)


def test_gone_is_given_up_at_once(
    database: Database[Any], receiver: Receiver, registry: CollectorRegistry, deliver: Deliver
) -> None:
    receiver.answer = lambda: (410, {})
    put(database)
    deliver()
    await_that(lambda: tries(registry, "given_up") == 1)
    assert (len(receiver.requests), waiting(database)) == (1, [])


def test_a_receiver_that_asks_for_time_gets_it(
    database: Database[Any], receiver: Receiver, registry: CollectorRegistry, deliver: Deliver
) -> None:
    receiver.answer = lambda: (503, {"Retry-After": "7200"})
    put(database)
    deliver()
    await_that(lambda: tries(registry, "failed") == 1)
    (row,) = waiting(database)
    assert row.due_at - row.at >= timedelta(hours=2)


def test_nobody_who_listens_is_a_failed_try(
    database: Database[Any], receiver: Receiver, registry: CollectorRegistry, deliver: Deliver
) -> None:
    receiver.address = "http://127.0.0.1:9/"  # the port of `discard`, which nobody serves
    put(database)
    deliver()
    await_that(lambda: tries(registry, "given_up") == 1)


def test_every_secret_signs(database: Database[Any], receiver: Receiver, deliver: Deliver) -> None:
    receiver.secrets = (SECRET, OTHER_SECRET)
    put(database)
    deliver()
    receiver.await_taken(1)


def test_two_who_deliver_share_the_messages(database: Database[Any], receiver: Receiver, deliver: Deliver) -> None:
    messages = put(database, 40)
    deliver()
    deliver()
    receiver.await_taken(40)
    await_that(lambda: not waiting(database))
    assert sorted(message for message, _ in receiver.requests) == sorted(messages)


def test_what_a_dead_process_took_is_due_again(database: Database[Any]) -> None:
    (message,) = put(database)
    taken = database.change(lambda open_: outbox.take(open_.connection, "desk", 0.0))
    again = database.change(lambda open_: outbox.take(open_.connection, "desk", 3600.0))
    assert taken is not None
    assert again is not None
    assert (taken.message.id, again.message.id, again.tries) == (message, message, 2)
    assert database.change(lambda open_: outbox.take(open_.connection, "desk", 3600.0)) is None
    database.change(lambda open_: outbox.postpone(open_.connection, taken, 0.0))  # comes too late to say anything
    assert database.change(lambda open_: outbox.take(open_.connection, "desk", 3600.0)) is None


def test_no_more_wait_than_may(database: Database[Any]) -> None:
    assert len(put(database, 3, most=4)) == 3
    assert len(put(database, 3, most=4)) == 1
    assert len(waiting(database)) == 4


def test_old_messages_are_forgotten(database: Database[Any]) -> None:
    put(database)
    old = Message(new_id(), now() - timedelta(days=8), "erasure.done", {})
    database.change(lambda open_: outbox.put(open_.connection, "gone", [old], 10))
    assert database.write(lambda connection: outbox.prune(connection, 7.0)) == 1
    assert [row.endpoint for row in waiting(database)] == ["desk"]


def test_pauses_double_and_end_at_an_hour() -> None:
    patience = Patience(10, 15, 5)
    assert [patience.pause(tries, 1.0) for tries in (1, 2, 3)] == [5, 10, 20]
    assert [patience.pause(tries, 0.0) for tries in (1, 2, 3)] == [2.5, 5, 10]
    assert patience.pause(100, 1.0) == 3600


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120),
        ("Thu, 01 Jan 2026 00:05:00 GMT", 300),
        ("Wed, 31 Dec 2025 00:00:00 GMT", 0),
        ("99999999999", 86400),
        ("soon", 0),
        ("", 0),
        ("²", 0.0),
        ("Mon, 01 Jan 99999999999999999999 00:00:00 GMT", 0.0),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str, seconds: float) -> None:
    assert retry_after(value, AT) == seconds


def test_nobody_is_named_whose_date_has_come(tmp_path: Path) -> None:
    with closing(open_embedded(tmp_path / "gallery")) as gallery:
        gallery.create_collection("main")
        vectors = people(2, 1, 32)
        dates = {"ann": AT, "bo": now() + timedelta(days=1)}
        ids = {}
        for vector, (name, date) in zip(vectors, dates.items(), strict=True):
            face = NewFace(new_id(), {"a" * 64: vector})
            ids[name] = gallery.enroll("main", name, [face], expires_at=date).subject.id
        told = Message(new_id(), now(), "enrolment.done", {"subjects": [{"id": each} for each in ids.values()]})
        assert gallery.database.read(lambda connection: outbox.names_of(connection, told)) == {ids["bo"]: "bo"}
