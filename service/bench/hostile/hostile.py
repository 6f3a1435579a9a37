"""What the most expensive things that a client can send do to the service, and to others meanwhile."""

from __future__ import annotations

import contextlib
import io
import json
import socket
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from service.bench.hostile.pulse import pulse
from service.bench.hostile.sockets import connect, exchange, rest, status_of
from service.bench.images import tiled_tiff
from service.bench.server import Server, make_key

MIB = 1024 * 1024
OUTCOME = "/v1/decisions/x/outcome"
IDLE_SECONDS = 12.0
PATIENCE = 120.0  # seconds to wait for an answer


@dataclass(frozen=True, slots=True)
class Harm:
    """What one attack did.

    Its answer, the seconds it took, the longest /livez meanwhile and how many were not answered, and the bytes by which
    the service grew at most.
    """

    attack: str
    answer: str
    seconds: float
    stall: float
    missed: int
    growth: int


@dataclass(frozen=True, slots=True)
class Target:
    """The service under attack, the attacker's key, and somebody else's."""

    address: str
    key: str
    other_key: str

    def post(self, path: str, body: bytes, length: int | None = None, key: str = "") -> bytes:
        """The bytes of a POST, with the attacker's key unless another is given."""
        size = len(body) if length is None else length
        head = (
            f"POST {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {key or self.key}\r\n"
            f"Connection: close\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n\r\n"
        )
        return head.encode() + body

    def answer(self, data: bytes) -> str:
        """The status that these bytes are answered with."""
        try:
            return str(status_of(exchange(self.address, data, timeout=PATIENCE)) or "hung up")
        except TimeoutError:
            return "none"


Attack = Callable[[Target], str]


def answer_on(connection: socket.socket) -> str:
    """The status that comes on a connection, or that none does."""
    try:
        return str(status_of(rest(connection)) or "hung up")
    except TimeoutError:
        return "none"


def _endless_head(piece: bytes, total: int) -> Attack:
    def attack(target: Target) -> str:
        sent = 0
        with connect(target.address, PATIENCE) as connection:
            connection.sendall(b"GET /livez HTTP/1.1\r\nHost: bench\r\nX-First: ")
            with contextlib.suppress(OSError):
                while sent < total:
                    connection.sendall(piece)
                    sent += len(piece)
                return f"{sent / MIB:.0f} MiB taken"
            return answer_on(connection) + f" after {sent / MIB:.1f} MiB"

    return attack


def _silent(count: int) -> Attack:
    def attack(target: Target) -> str:
        with ExitStack() as stack:
            held = [stack.enter_context(connect(target.address, 0.01)) for _ in range(count)]
            for connection in held:
                with contextlib.suppress(OSError):
                    connection.sendall(b"GET /livez HTTP/1.1\r\nX-Half: ")
            time.sleep(IDLE_SECONDS)
            return f"{sum(_is_open(connection) for connection in held)} open after {IDLE_SECONDS:.0f} s"

    return attack


def _is_open(connection: socket.socket) -> bool:
    try:
        rest(connection)
    except TimeoutError:
        return True
    return False


def _json(path: str, body: bytes) -> Attack:
    return lambda target: target.answer(target.post(path, body))


def _image(data: bytes, times: int = 1) -> Attack:
    """The image in each of `times` requests that are sent at the same time."""

    def attack(target: Target) -> str:
        body = json.dumps({"image": b64encode(data).decode()}).encode()
        with ExitStack() as stack:
            held = [stack.enter_context(connect(target.address, PATIENCE)) for _ in range(times)]
            for connection in held:
                with contextlib.suppress(OSError):  # it may be answered before all of it is read
                    connection.sendall(target.post("/v1/detect", body))
            return ", ".join(answer_on(connection) for connection in held)

    return attack


def _bodies_that_never_come(count: int) -> Attack:
    def attack(target: Target) -> str:
        with ExitStack() as stack:
            for _ in range(count):
                connection = stack.enter_context(connect(target.address, PATIENCE))
                connection.sendall(target.post("/v1/enroll", b"{", length=64 * MIB))
            time.sleep(1)
            request = target.post(OUTCOME, b'{"outcome":"genuine"}', key=target.other_key)
            return f"another key's: {target.answer(request)}"

    return attack


def _tiff(pixels: np.ndarray[tuple[int, int], np.dtype[np.generic]]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "TIFF", compression="tiff_adobe_deflate")
    return buffer.getvalue()


def attacks() -> dict[str, Attack]:
    """Every attack by its name, the bytes to send among them."""
    lists = b"[" + b",".join([b"[]"] * (2 * MIB)) + b"]"
    fields = b"{" + b",".join(b'"%x":1' % number for number in range(MIB // 2)) + b"}"
    return {
        "headers without end, up to 64 MiB": _endless_head(b"a" * 1000 + b"\r\nX: ", 64 * MIB),
        "one header without end, up to 24 MiB": _endless_head(b"a" * 65536, 24 * MIB),
        "200 connections with half a head": _silent(200),
        "6 MiB of lists, where 40 bytes are meant": _json(OUTCOME, lists),
        "5 MiB of unknown fields, likewise": _json(OUTCOME, fields),
        "6 MiB of lists for an image": _json("/v1/detect", lists),
        "8 bodies of 64 MiB that never come": _bodies_that_never_come(8),
        "TIFF, 100x100 in a tile of 20,000": _image(tiled_tiff(100, 100, 20_000)),
        "the same twice at once": _image(tiled_tiff(100, 100, 20_000), 2),
        "TIFF, 36 million pixels of 16 bits": _image(_tiff(np.zeros((6000, 6000), np.uint16))),
        "TIFF, 40 million floats": _image(_tiff(np.zeros((5000, 8000), np.float32))),
    }


def measure_harm(folder: Path, tell: Callable[[str], None]) -> Iterator[Harm]:
    """Attack a service of its own, one way after the other, asking for /livez all the while."""
    data = folder / "data"
    keys = make_key(data), make_key(data)
    with Server(data) as server:
        target = Target(server.address, *keys)
        for name, attack in attacks().items():
            tell(name)
            server.forget_peak()
            before = server.memory()
            with pulse(server.address) as live:
                begun = time.monotonic()
                answer = attack(target)
                seconds = time.monotonic() - begun
            yield Harm(name, answer, seconds, live.longest, live.failures, server.peak() - before)
