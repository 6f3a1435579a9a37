"""A real receiver of webhooks: an HTTP server that checks signatures as the specification's own library does."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook

from tests.waiting import await_that

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
OTHER_SECRET = "whsec_" + base64.b64encode(bytes(range(1, 33))).decode()

Answer = tuple[int, dict[str, str]]
TAKEN: Answer = (204, {})


@dataclass
class Receiver:
    """What came, in order; `answer` says what the next request gets, and may wait before it does."""

    address: str = ""
    answer: Callable[[], Answer] = lambda: TAKEN
    secrets: tuple[str, ...] = (SECRET,)
    requests: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    """Id and content of each request, also of those refused."""
    taken: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    faults: list[Exception] = field(default_factory=list)

    def endpoint(self, name: str = "desk", **given: Any) -> dict[str, Any]:
        """What FACET_WEBHOOKS says of it."""
        return {"name": name, "url": self.address, "secret": ",".join(self.secrets), **given}

    def await_taken(self, count: int) -> list[dict[str, Any]]:
        """Wait until so many messages were taken, all soundly signed; returns what they say."""
        await_that(lambda: self.faults or len(self.taken) >= count)
        assert self.faults == []
        return [content for _, content in self.taken]

    def receive(self, headers: dict[str, str], body: bytes) -> Answer:
        """Take one request: every secret must verify its signature."""
        try:
            for secret in self.secrets:
                Webhook(secret).verify(body, headers)
            assert headers["content-type"] == "application/json"
            message = (headers["webhook-id"], json.loads(body))
        except Exception as error:
            self.faults.append(error)
            return 400, {}
        self.requests.append(message)
        status, more = self.answer()
        if status < 300:
            self.taken.append(message)
        return status, more


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver on a free port."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, more = receiver.receive({name.lower(): value for name, value in self.headers.items()}, body)
            self.send_response(status)
            for name, value in {"Content-Length": "0", **more}.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.address = f"http://127.0.0.1:{server.server_port}/hook"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
