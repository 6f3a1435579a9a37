"""Clients that keep to no rules: sockets, written to byte by byte."""

from __future__ import annotations

import contextlib
import socket
from urllib.parse import urlsplit

PATIENCE = 300.0
"""Seconds that a machine, however busy, may take to send something."""


def connect(address: str, timeout: float = PATIENCE) -> socket.socket:
    """A connection to the service at an address."""
    place = urlsplit(address)
    return socket.create_connection((place.hostname or "", place.port or 0), timeout=timeout)


def exchange(address: str, data: bytes, *, half_close: bool = False, timeout: float = PATIENCE) -> bytes:
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
