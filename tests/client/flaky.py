"""A proxy before a real service that refuses some requests, and loses some answers."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

import httpx

Fault = Literal["busy", "later", "lost", "page", "broken", "failed", "garbled", "elsewhere"]
REFUSALS = {
    "busy": b'{"code":"overloaded","title":"Overloaded","status":503,"detail":"later"}',
    "page": b"<html>",
    "failed": b'{"code":"internal_error","title":"Internal error","status":500,"detail":"a fault"}',
}


@dataclass
class Flaky:
    """The faults that the next requests meet, one each, and what has been asked so far."""

    target: str
    faults: list[Fault | None] = field(default_factory=list)
    seen: list[tuple[str, str, str]] = field(default_factory=list)
    """Method, path and idempotency key of each request."""
    address: str = ""

    def next_fault(self) -> Fault | None:
        return self.faults.pop(0) if self.faults else None


@contextmanager
def flaky(target: str) -> Iterator[Flaky]:
    """Serve on a port of its own, and pass on to `target`."""
    state = Flaky(target)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            state.seen.append((self.command, self.path, self.headers.get("Idempotency-Key", "")))
            fault = state.next_fault()
            if fault in ("busy", "later", "page"):
                headers = {"Retry-After": "7"} if fault == "later" else {}
                self.give(503, REFUSALS["page" if fault == "page" else "busy"], headers)
                return
            if fault == "failed":
                self.give(500, REFUSALS["failed"], {})
                return
            if fault == "garbled":
                self.give(200, b"no gzip", {"Content-Encoding": "gzip"})
                return
            if fault == "elsewhere":
                self.give(302, b"", {"Location": self.path})
                return
            if fault == "broken":
                self.close_connection = True
                return
            passed = {name: value for name, value in self.headers.items() if name.lower() != "host"}
            answer = httpx.request(self.command, state.target + self.path, headers=passed, content=body, timeout=120)
            if fault == "lost":
                self.close_connection = True
                return
            kept = ("Content-Type", "X-Request-ID", "Idempotency-Replayed")
            headers = {name: answer.headers[name] for name in kept if name in answer.headers}
            self.give(answer.status_code, answer.content, headers)

        def give(self, status: int, content: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_DELETE = do_PATCH = handle_any  # noqa: N815 - the library's names

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        state.address = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()
