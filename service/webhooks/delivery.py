"""Delivers the messages of one receiver, signed as the Standard Webhooks specification 1.0.0 has it.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import json
import logging
import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
from standardwebhooks import Webhook

from service.database.base import Database
from service.database.errors import StorageError
from service.database.schema import now
from service.settings.webhooks import Endpoint
from service.version import VERSION
from service.webhooks import outbox
from service.webhooks.metrics import WebhookMetrics
from service.webhooks.outbox import Delivery, Message

log = logging.getLogger("facet")

LOOK_EVERY = 1.0
"""Seconds after which a process looks for what others have put in, and for what is due again."""
LONGEST_PAUSE = 3600.0
LONGEST_RETRY_AFTER = 24 * 3600.0
GONE = 410
"""The answer of a receiver that wants a message never again."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long one try waits, how many there are, and how long the pause after the first one is."""

    seconds: float
    tries: int
    retry_seconds: float

    @property
    def lease(self) -> float:
        """Seconds for which a message is one process's: connecting, sending and reading each wait so long at most."""
        return 4 * self.seconds + 5

    def pause(self, tries: int, chance: float) -> float:
        """Seconds after the `tries`-th failure: doubled with each, and moved by `chance` in 0..1 to 0.5..1 of it."""
        doubled = self.retry_seconds * 2.0 ** min(tries - 1, 30)
        return min(doubled, LONGEST_PAUSE) * (0.5 + 0.5 * chance)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a try failed, in words without the receiver's address, and how long it asks to be left alone."""

    why: str
    retry_after: float = 0.0
    final: bool = False


class Deliverer:
    """One thread that delivers to one receiver: a receiver that is slow or away holds up no other."""

    def __init__(
        self,
        endpoint: Endpoint,
        database: Database[Any],
        patience: Patience,
        metrics: WebhookMetrics,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Begin to deliver."""
        self._endpoint, self._database = endpoint, database
        self._patience, self._metrics, self._chance = patience, metrics, chance
        self._closing, self._wake = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"facet-webhook-{endpoint.name}", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Look for messages now."""
        self._wake.set()

    def close(self) -> None:
        """Finish the try at hand; what waits stays in the database."""
        self._closing.set()
        self._wake.set()
        self._thread.join()

    def _run(self) -> None:
        with httpx.Client(timeout=self._patience.seconds, follow_redirects=False) as client:
            while not self._closing.is_set():
                self._wake.clear()
                try:
                    while not self._closing.is_set() and self._deliver(client):
                        pass
                except StorageError as error:
                    log.warning("webhooks to %s wait: %s", self._endpoint.name, error)
                except Exception:  # the thread must not end: messages would gather unnoticed
                    log.exception("webhooks to %s failed", self._endpoint.name)
                self._wake.wait(LOOK_EVERY)

    def _deliver(self, client: httpx.Client) -> bool:
        """Try the message that is due first; False where there is none."""
        name, lease = self._endpoint.name, self._patience.lease
        delivery = self._database.change(lambda open_: outbox.take(open_.connection, name, lease))
        if delivery is None:
            return False
        failure = self._try(client, delivery.message)
        if failure is None:
            self._database.change(lambda open_: outbox.drop(open_.connection, delivery))
            self._metrics.count_try(name, "delivered")
        elif failure.final or delivery.tries >= self._patience.tries:
            self._give_up(delivery, failure)
        else:
            pause = max(failure.retry_after, self._patience.pause(delivery.tries, self._chance()))
            self._database.change(lambda open_: outbox.postpone(open_.connection, delivery, pause))
            self._metrics.count_try(name, "failed")
        return True

    def _try(self, client: httpx.Client, message: Message) -> Failure | None:
        try:
            names = self._database.read(lambda connection: outbox.names_of(connection, message))
            return self._send(client, message, names)
        except StorageError:  # of no message and no receiver
            raise
        except Exception as error:  # whatever it is, the message must not come again for ever
            log.exception("a try of webhook %s to %s failed", message.id, self._endpoint.name)
            return Failure(type(error).__name__)

    def _give_up(self, delivery: Delivery, failure: Failure) -> None:
        self._database.change(lambda open_: outbox.drop(open_.connection, delivery))
        self._metrics.count_try(self._endpoint.name, "given_up")
        log.error(
            "webhook %s (%s) to %s is given up after %d tries: %s",
            delivery.message.id,
            delivery.message.event,
            self._endpoint.name,
            delivery.tries,
            failure.why,
        )

    def _send(self, client: httpx.Client, message: Message, names: Mapping[str, str]) -> Failure | None:
        body = body_of(message, names)
        headers = {**sign(message.id, body, self._endpoint.secrets, now()), "User-Agent": f"facet/{VERSION}"}
        try:
            with client.stream("POST", str(self._endpoint.url), content=body, headers=headers) as response:
                if response.is_success:
                    return None
                wait = retry_after(response.headers.get("retry-after", ""), now())
                return Failure(f"it answered {response.status_code}", wait, response.status_code == GONE)
        except httpx.HTTPError as error:
            return Failure(type(error).__name__)


def body_of(message: Message, names: Mapping[str, str]) -> str:
    """A message as JSON; its people have the `names` that they have at this moment, by id."""
    data = dict(message.data)
    if "subjects" in data:
        data["subjects"] = [{**each, "name": names.get(each["id"])} for each in data["subjects"]]
    body = {"type": message.event, "timestamp": message.at.astimezone(UTC).isoformat(), "data": data}
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"))


def sign(message_id: str, body: str, secrets: tuple[str, ...], at: datetime) -> dict[str, str]:
    """The headers that prove who sent a body and when: a signature by each secret."""
    signatures = [Webhook(secret).sign(message_id, at.astimezone(UTC), body) for secret in secrets]
    return {
        "Content-Type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


def retry_after(value: str, at: datetime) -> float:
    """Seconds that a `Retry-After` asks for, given as such or as a date (RFC 9110, 10.2.3); 0 for what is neither."""
    if value.strip().isdecimal():
        return min(float(value), LONGEST_RETRY_AFTER)
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, OverflowError):  # whatever stands there, the message is tried again, and given up in the end
        return 0.0
    until = date if date.tzinfo else date.replace(tzinfo=UTC)
    return min(max(0.0, (until - at).total_seconds()), LONGEST_RETRY_AFTER)
