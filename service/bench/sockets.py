"""Clients that keep to no rules: sockets, written to byte by byte, and what the service does meanwhile."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit


def connect(address: str, timeout: float = 20.0) -> socket.socket:
    """A connection to the service at an address."""
    place = urlsplit(address)
    return socket.create_connection((place.hostname or "", place.port or 0), timeout=timeout)


def exchange(address: str, data: bytes, *, half_close: bool = False, timeout: float = 20.0) -> bytes:
    """Send bytes on a connection of their own; returns everything that comes until the server hangs up."""
    with connect(address, timeout) as connection:
        with contextlib.suppress(OSError):  # the server may answer and close before it has read everything
            connection.sendall(data)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
        return rest(connection)


def rest(connection: socket.socket) -> bytes:
    """What still comes on a connection until the server hangs up."""
    parts = []
    with contextlib.suppress(ConnectionError):
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


def status_of(answer: bytes) -> int:
    """The status of the first answer in these bytes; 0 when there is none."""
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else 0


@dataclass
class Pulse:
    """How long /livez took, asked again and again on new connections while something else went on."""

    seconds: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def longest(self) -> float:
        """Seconds of the slowest answer."""
        return max(self.seconds)


@contextmanager
def pulse(address: str, every: float = 0.05) -> Iterator[Pulse]:
    """Ask for /livez all the while the block runs."""
    found = Pulse()
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            begun = time.monotonic()
            try:
                answer = exchange(address, b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", timeout=60)
                if status_of(answer) != 200:
                    found.failures.append(answer[:200].decode(errors="replace") or "hung up on")
            except OSError as error:
                found.failures.append(repr(error))
            found.seconds.append(time.monotonic() - begun)
            over.wait(every)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()
