"""One connection: uvicorn's, with limits on everything that a client can do before anybody asks for its key.

uvicorn bounds neither the size of a request's head nor the time it takes, closes no connection that stays silent,
and waits for ever for a client that does not read its answer. All of these would cost memory, a descriptor or a
place for as long as the client likes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from service.api.http.connections import Connections, address_of
from service.api.http.errors import BadRequest, HeadTimeout, HeadTooLarge, TooManyConnections
from service.api.http.refusal import refusal
from service.errors import FacetError

MAX_HEADERS = 100
MAX_PIPELINED = 100
STALL_SECONDS = 30.0  # for a client that does not read what it asked for
HANG_UP_SECONDS = 0.1  # between looks whether a client that sends no more still listens
PROBE = b"HTTP/1.1 100 Continue\r\n\r\n"


@dataclass(frozen=True, slots=True)
class HeadLimits:
    """Bounds on what comes before a body: bytes of the request line and the headers, and seconds to send them."""

    max_bytes: int
    seconds: float


class Connection(HttpToolsProtocol):
    """An HTTP/1.1 connection. One timer runs whenever the client is the one to act."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        limits: HeadLimits,
        connections: Connections,
        count: Callable[[str], None],
    ) -> None:
        """`count` is told the code of every refusal."""
        super().__init__(config, server_state, app_state, _loop)
        self.address = ""
        self._limits = limits
        self._connections = connections
        self._count = count
        self._has_place = False
        self._refused = False
        self._head_complete = True
        self._quiet = 0  # bytes since the last that belonged to a body or completed a head
        self._timer: asyncio.TimerHandle | None = None
        self._stall: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a place, or refuse where all are taken."""
        super().connection_made(transport)
        self.address = address_of(self.client[0]) if self.client else ""
        self._has_place = self._connections.enter(self.address)
        if self._has_place:
            self._await_request(self._limits.seconds)
        else:
            self._refuse(TooManyConnections("all places for connections from this address are taken"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the place back."""
        self._set_timer(None)
        self.resume_writing()
        self._leave()
        super().connection_lost(exc)

    def give_way(self) -> None:
        """Leave, and close at once."""
        self._leave()
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Parse what came, within the limits of a head."""
        if self._refused:
            return
        self._unset_keepalive_if_required()
        self._quiet += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.cycle.keep_alive = False  # answered as if it had not asked for another protocol
        except httptools.HttpParserError as error:
            cause = error.__context__
            self._refuse(cause if isinstance(cause, FacetError) else BadRequest("this is not well-formed HTTP/1.1"))
        else:
            if self._quiet > self._limits.max_bytes:
                self._refuse(self._too_large())

    def eof_received(self) -> bool:  # type: ignore[override]
        """Answer a client that has sent its request and closes its sending side. It may as well have hung up."""
        if self.cycle is None or self.cycle.more_body or self.cycle.response_complete:
            return False
        if self.scope["http_version"] != "1.1":
            return False
        self.cycle.keep_alive = False
        self._look_for_hang_up()
        return True

    def on_message_begin(self) -> None:
        """Begin a head: from now on its time runs."""
        super().on_message_begin()
        self._head_complete = False
        if not self._is_busy():
            self._set_timer(self._limits.seconds)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header of a head, without the blanks after its value, which are no part of it (RFC 9110, 5.5)."""
        if not self._head_complete:  # what comes after a body is dropped
            super().on_header(name, value.rstrip(b" \t"))

    def on_headers_complete(self) -> None:
        """Check the head, and hand the request on."""
        self._head_complete = True
        self._quiet = 0
        self._check_head()
        if not self._is_busy():
            self._set_timer(None)
            self._connections.proceed(self)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of a body."""
        self._quiet = 0
        super().on_body(body)

    def on_response_complete(self) -> None:
        """Wait for the next request, or for the client to read the last of the answer."""
        super().on_response_complete()
        if self.transport.is_closing():
            self._set_timer(STALL_SECONDS)
        elif not self._is_busy():
            self._await_request(self.timeout_keep_alive)

    def pause_writing(self) -> None:
        """Give a client that does not read some time."""
        super().pause_writing()
        self._stall = self.loop.call_later(STALL_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on: the client reads."""
        super().resume_writing()
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    def _check_head(self) -> None:
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > self._limits.max_bytes or len(self.headers) > MAX_HEADERS:
            raise self._too_large()
        hosts = sum(name == b"host" for name, _ in self.headers)
        if hosts > 1 or (hosts == 0 and self.parser.get_http_version() != "1.0"):
            raise BadRequest("a request has one Host header")  # RFC 9112, section 3.2
        if len(self.pipeline) >= MAX_PIPELINED:
            raise BadRequest(f"more than {MAX_PIPELINED} requests were sent without waiting for an answer")

    def _too_large(self) -> HeadTooLarge:
        return HeadTooLarge(
            f"request line and headers may have {self._limits.max_bytes} bytes and {MAX_HEADERS} headers"
        )

    def _is_busy(self) -> bool:
        """Whether a request has not had all of its answer."""
        return bool(self.pipeline) or (self.cycle is not None and not self.cycle.response_complete)

    def _is_cut_short(self) -> bool:
        """Whether the request being served waits for a body that cannot come any more."""
        return not self.pipeline and self.cycle.more_body and not self.cycle.response_started

    def _await_request(self, seconds: float) -> None:
        self._connections.wait(self)
        self._set_timer(seconds)

    def _set_timer(self, seconds: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None else self.loop.call_later(seconds, self._expire)

    def _expire(self) -> None:
        if self.transport.is_closing():
            self.transport.abort()  # it does not read its last answer
        elif self._head_complete:
            self.transport.close()
            self._set_timer(STALL_SECONDS)
        else:
            self._refuse(HeadTimeout(f"the headers did not arrive within {self._limits.seconds:g} seconds"))

    def _refuse(self, error: FacetError) -> None:
        """Answer nothing further: at once, or after the answers that are still to come."""
        self._refused = True
        self._count(error.code)
        if self._is_busy() and not self._is_cut_short():
            self.cycle.keep_alive = False
        else:
            self.transport.write(refusal(error))
            self.transport.close()
            self._set_timer(STALL_SECONDS)

    def _look_for_hang_up(self) -> None:
        """Write what a client may ignore: where nobody listens any more, the system says so, and the task is ended."""
        if self._is_busy() and not self.transport.is_closing():
            if not self.pipeline and not self.cycle.response_started:
                self.transport.write(PROBE)
            self.loop.call_later(HANG_UP_SECONDS, self._look_for_hang_up)

    def _leave(self) -> None:
        if self._has_place:
            self._has_place = False
            self._connections.leave(self)
