"""The MQTT bridge between signed messages and a real mosquitto that is set up as the documents say."""

from __future__ import annotations

import http.client
import json
import os
import queue
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from standardwebhooks import Webhook

from service.bench.server import free_port
from tests.conftest import ROOT
from tests.waiting import PATIENCE, await_that

pytestmark = [pytest.mark.engines, pytest.mark.needs("mosquitto", "mosquitto_passwd")]

FOLDER = ROOT / "deploy" / "mqtt"
SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
LISTENING = re.compile(r"listening at (http://[0-9.:]+)/")


def message(kind: str = "identification.match", **data: Any) -> dict[str, Any]:
    return {"type": kind, "timestamp": "2026-01-02T03:04:05+00:00", "data": {"collection": "watchlist", **data}}


@dataclass(frozen=True)
class Broker:
    """A mosquitto that can be stopped and started again."""

    folder: Path
    port: int

    @contextmanager
    def running(self) -> Iterator[None]:
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(["mosquitto", "-c", self.folder / "mosquitto.conf"], stdout=log, stderr=log)
        try:
            yield
        finally:
            process.terminate()
            process.wait(PATIENCE)


@dataclass(frozen=True)
class Bridge:
    """A running bridge."""

    address: str
    log: Path

    def post(self, body: dict[str, Any] | bytes, name: str = "msg_1", secret: str = SECRET) -> int:
        """Send a message as Facet does; returns the answer's status."""
        content, now = body if isinstance(body, bytes) else json.dumps(body).encode(), datetime.now(UTC)
        headers = {
            "webhook-id": name,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": Webhook(secret).sign(name, now, content.decode()),
        }
        return httpx.post(self.address, content=content, headers=headers, timeout=PATIENCE).status_code

    def announce(self, size: int) -> int:
        """Send the head of a request with a body of so many bytes, and no body; returns the answer's status."""
        connection = http.client.HTTPConnection(self.address.removeprefix("http://"), timeout=PATIENCE)
        connection.putrequest("POST", "/")
        connection.putheader("Content-Length", str(size))
        connection.endheaders()
        try:
            return connection.getresponse().status
        finally:
            connection.close()


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Broker:
    """A mosquitto of the repository's configuration, its paths and its port changed, not yet started."""
    folder, port = tmp_path_factory.mktemp("mosquitto"), free_port()
    text = (FOLDER / "mosquitto.conf").read_text()
    for old, new in (("1883", str(port)), ("/etc/mosquitto/", f"{folder}/")):
        assert old in text
        text = text.replace(old, new)
    text = f"persistence true\npersistence_location {folder}/\n{text}"  # as Debian's own file says before it reads ours
    (folder / "mosquitto.conf").write_text(f"{text}user root\n" if os.geteuid() == 0 else text)
    (folder / "facet.acl").write_text((FOLDER / "facet.acl").read_text())
    (folder / "facet.passwords").touch(mode=0o600)
    for user in ("bridge", "reader"):
        subprocess.run(["mosquitto_passwd", "-b", folder / "facet.passwords", user, f"{user}-word"], check=True)
    return Broker(folder, port)


@pytest.fixture(scope="module")
def bridge(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    log = tmp_path_factory.mktemp("bridge") / "log"
    own = {"FACET_WEBHOOK_SECRET": SECRET, "MQTT_USERNAME": "bridge", "MQTT_PASSWORD": "bridge-word"}
    words = ["--listen", "127.0.0.1:0", "--broker", f"127.0.0.1:{broker.port}"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, str(FOLDER / "bridge.py"), *words], env={**os.environ, **own}, stdout=output, stderr=output
        )
    try:
        await_that(lambda: LISTENING.search(log.read_text()) or process.poll() is not None)
        listening = LISTENING.search(log.read_text())
        assert listening is not None, log.read_text()
        yield Bridge(listening.group(1), log)
    finally:
        process.terminate()
        assert process.wait(PATIENCE) == 0, log.read_text()


@contextmanager
def reading(broker: Broker) -> Iterator[queue.Queue[mqtt.MQTTMessage]]:
    """What arrives below facet/ from now on."""
    arrived: queue.Queue[mqtt.MQTTMessage] = queue.Queue()
    subscribed: queue.Queue[int] = queue.Queue()
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    client.username_pw_set("reader", "reader-word")
    client.on_message = lambda _client, _data, each: arrived.put(each)
    client.on_connect = lambda _client, _data, _flags, _reason, _properties: client.subscribe("facet/#", qos=1)
    client.on_subscribe = lambda _client, _data, middle, _reasons, _properties: subscribed.put(middle)
    client.connect_async("127.0.0.1", broker.port)
    client.loop_start()
    try:
        subscribed.get(timeout=PATIENCE)
        yield arrived
    finally:
        client.disconnect()
        client.loop_stop()


def deliver(bridge: Bridge, body: dict[str, Any], name: str) -> None:
    """Send as Facet does: again until it is taken."""
    await_that(lambda: bridge.post(body, name) == 204)


def take(arrived: queue.Queue[mqtt.MQTTMessage], name: str) -> mqtt.MQTTMessage:
    """The next message, which has this id; repetitions of it are taken too, as of one that was acknowledged late."""
    first = arrived.get(timeout=PATIENCE)
    while not arrived.empty() and json.loads(arrived.queue[0].payload)["id"] == name:
        arrived.get()
    assert json.loads(first.payload)["id"] == name
    return first


def test_what_facet_tells_is_published_once_signed_and_survives_a_broker_that_is_away(
    broker: Broker, bridge: Bridge
) -> None:
    assert bridge.post(message()) == 503, "the broker is not there yet"
    with broker.running(), reading(broker) as arrived:
        told = message(subjects=[{"id": "1", "name": "Ann Ångström", "score": 0.7}])
        deliver(bridge, told, "msg_2")
        first = take(arrived, "msg_2")
        assert (first.topic, first.qos, first.retain) == ("facet/watchlist/identification.match", 1, False)
        assert json.loads(first.payload) == {"id": "msg_2", **told}

        assert bridge.post(message("erasure.done"), secret="whsec_" + "A" * 32) == 401
        assert bridge.post(b"not an object of JSON") == 401
        assert bridge.post(b"[]") == 401
        assert httpx.post(bridge.address, content=b"{}", timeout=PATIENCE).status_code == 401
        broken = {"webhook-id": "a", "webhook-timestamp": "1", "webhook-signature": "v1"}
        assert httpx.post(bridge.address, content=b"{}", headers=broken, timeout=PATIENCE).status_code == 401
        assert httpx.post(bridge.address, content=iter([b"{}"]), timeout=PATIENCE).status_code == 411
        assert bridge.announce((1 << 20) + 1) == 413

        deliver(bridge, message("enrolment.done", collection="a+b/#"), "msg_3")
        assert take(arrived, "msg_3").topic == "facet/a%2Bb%2F%23/enrolment.done", "what was refused was not published"
        deliver(bridge, message("verification.match", collection=None), "msg_4")
        assert take(arrived, "msg_4").topic == "facet/-/verification.match"

    await_that(lambda: bridge.post(message()) == 503)
    with broker.running(), reading(broker) as arrived:
        deliver(bridge, message("erasure.done"), "msg_5")
        await_that(lambda: json.loads(arrived.get(timeout=PATIENCE).payload)["id"] == "msg_5")


def test_the_page_names_what_there_is() -> None:
    page = (ROOT / "docs" / "mqtt.md").read_text()
    listing = subprocess.run(
        [sys.executable, str(FOLDER / "bridge.py"), "--help"], capture_output=True, text=True, check=True
    ).stdout
    for option in set(re.findall(r"--[a-z]+", page)) & {"--listen", "--broker", "--topic", "--tls", "--authority"}:
        assert option in listing
    for name in ("bridge.py", "mosquitto.conf", "facet.acl", "FACET_WEBHOOK_SECRET", "MQTT_USERNAME", "MQTT_PASSWORD"):
        assert name in page
