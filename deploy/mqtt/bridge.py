"""Publish what Facet tells by webhooks to an MQTT broker, as facet/COLLECTION/EVENT.

    FACET_WEBHOOK_SECRET=whsec_... python bridge.py --broker localhost:1883

A message is answered when the broker has it: what could not be published Facet sends again. docs/mqtt.md tells the
rest. It needs `paho-mqtt` and `standardwebhooks`.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from standardwebhooks import Webhook, WebhookVerificationError

LARGEST = 1 << 20
"""Bytes of one message."""
SILENCE = 30.0
"""Seconds that a sender may be silent for within a request."""
PUBLISHING = 8.0
"""Seconds for the broker to acknowledge; Facet waits longer."""
ESCAPED = str.maketrans({"%": "%25", "+": "%2B", "#": "%23", "/": "%2F", "\0": "%00"})
"""What a level of a topic may not hold."""
NOWHERE = "-"
"""The level of events that belong to no collection."""

log = logging.getLogger("facet.mqtt")


def topic_of(message: dict[str, Any], root: str) -> str:
    """The topic of a message: the collection's name, then the event's."""
    collection = message.get("data", {}).get("collection") or NOWHERE
    return "/".join([root, str(collection).translate(ESCAPED), str(message["type"]).translate(ESCAPED)])


class Bridge:
    """Publishes verified messages."""

    def __init__(self, webhook: Webhook, client: mqtt.Client, root: str) -> None:
        self._webhook, self._client, self._root = webhook, client, root

    def take(self, body: bytes, headers: dict[str, str]) -> int:
        """Publish a message; returns the HTTP status that tells its sender what became of it."""
        try:
            message = self._webhook.verify(body, headers)
            topic = topic_of(message, self._root)
        except (WebhookVerificationError, ValueError, KeyError, AttributeError, TypeError) as error:
            log.warning("refused a message: %s", error)
            return 401
        payload = json.dumps({"id": {name.lower(): value for name, value in headers.items()}["webhook-id"], **message})
        return 204 if self._publish(topic, payload) else 503

    def _publish(self, topic: str, payload: str) -> bool:
        """Whether the broker has acknowledged it."""
        if not self._client.is_connected():
            return False
        try:
            sent = self._client.publish(topic, payload, qos=1)
            sent.wait_for_publish(PUBLISHING)
            return sent.is_published()
        except (RuntimeError, ValueError) as error:
            log.warning("not published: %s", error)
            return False


def handler_of(bridge: Bridge) -> type[BaseHTTPRequestHandler]:
    """What answers requests, for the server of the standard library."""

    class Handler(BaseHTTPRequestHandler):
        timeout = SILENCE

        def do_POST(self) -> None:
            length = self.headers.get("Content-Length", "")
            if not length.isascii() or not length.isdigit():
                self._answer(411)
            elif int(length) > LARGEST:
                self._answer(413)
            else:
                self._answer(bridge.take(self.rfile.read(int(length)), dict(self.headers)))

        def _answer(self, status: int) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *values: Any) -> None:  # noqa: A002 - the standard library's name
            log.debug(format, *values)

    return Handler


def address_of(text: str) -> tuple[str, int]:
    """HOST:PORT as a pair."""
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def main() -> None:
    """Listen until stopped."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--listen", type=address_of, default=("127.0.0.1", 8090), help="host:port for Facet's messages")
    parser.add_argument("--broker", type=address_of, default=("127.0.0.1", 1883), help="host:port of the broker")
    parser.add_argument("--topic", default="facet", help="first level of the topics")
    parser.add_argument("--tls", action="store_true", help="speak TLS with the broker, whose certificate is checked")
    parser.add_argument("--authority", help="file of the authority that signed it; the system's when not given")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    client.enable_logger(log)
    if "MQTT_USERNAME" in os.environ:
        client.username_pw_set(os.environ["MQTT_USERNAME"], os.environ.get("MQTT_PASSWORD"))
    if arguments.tls or arguments.authority:
        client.tls_set(arguments.authority)
    client.reconnect_delay_set(1, 30)
    client.connect_async(*arguments.broker)
    client.loop_start()
    bridge = Bridge(Webhook(os.environ["FACET_WEBHOOK_SECRET"]), client, arguments.topic)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with ThreadingHTTPServer(arguments.listen, handler_of(bridge)) as server:
        log.info("listening at http://%s:%d/", *server.server_address[:2])
        try:
            server.serve_forever()
        finally:
            client.disconnect()
            client.loop_stop()


if __name__ == "__main__":
    main()
