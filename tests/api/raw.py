"""What hardly is HTTP, made from a seed, to write to a socket as it stands."""

from __future__ import annotations

import random
from collections.abc import Callable

HOST = b"\r\nHost: x\r\n"
LINES = (b"GET /livez HTTP/1.1", b"POST /v1/detect HTTP/1.1", b"DELETE /v1/collections/x HTTP/1.1")
HOSTS = (b"\r\n", b"\r\nHost: x\r\nHost: y\r\n", b"\nHost: x\n", b"\r\n Host: x\r\n")
LENGTHS = (b"-1", b"+5", b"0x5", b"5, 6", b"9" * 30, b"1e3", b" ", b"5\r\nContent-Length: 6")
CODINGS = (b"chunked", b"gzip", b"chunked, identity", b"\x0bchunked", b"chunked\r\nContent-Length: 3")
CHUNKS = (b"5\r\nhello\r\n0\r\n\r\n", b"F" * 17 + b"\r\n", b"-1\r\n", b"5;" + b"x" * 50_000, b"g\r\n")
METHODS = (b"CONNECT", b"PRI", b"BREW", b"get", b"")
UPGRADES = (b"websocket", b"h2c", b"TLS/1.0")
VERSIONS = (b"1.0", b"0.9", b"2.0", b"1.", b"11")

Make = Callable[[random.Random, bytes], bytes]

KINDS: dict[str, Make] = {
    "noise": lambda chance, line: chance.randbytes(chance.randrange(1, 3000)),
    "cut short": lambda chance, line: (line + HOST + b"\r\n")[: chance.randrange(1, len(line) + 10)],
    "long value": lambda chance, line: line + HOST + b"X: " + b"a" * chance.randrange(60_000) + b"\r\n\r\n",
    "many headers": lambda chance, line: line + HOST + b"A: b\r\n" * chance.randrange(400) + b"\r\n",
    "odd host": lambda chance, line: line + chance.choice(HOSTS) + b"\r\n",
    "odd length": lambda chance, line: line + HOST + b"Content-Length: " + chance.choice(LENGTHS) + b"\r\n\r\nhello",
    "odd chunks": lambda chance, line: (
        line + HOST + b"Transfer-Encoding: " + chance.choice(CODINGS) + b"\r\n\r\n" + chance.choice(CHUNKS)
    ),
    "pipelined": lambda chance, line: (LINES[0] + HOST + b"\r\n") * chance.randrange(2, 300),
    "odd path": lambda chance, line: b"GET /" + chance.randbytes(chance.randrange(300)) + b" HTTP/1.1" + HOST + b"\r\n",
    "odd header": lambda chance, line: line + HOST + chance.randbytes(200) + b"\r\n\r\n",
    "odd method": lambda chance, line: chance.choice(METHODS) + b" * HTTP/1.1" + HOST + b"\r\n",
    "upgrade": lambda chance, line: (
        line + HOST + b"Connection: Upgrade\r\nUpgrade: " + chance.choice(UPGRADES) + b"\r\n\r\n" + chance.randbytes(40)
    ),
    "odd version": lambda chance, line: line.replace(b"1.1", chance.choice(VERSIONS)) + HOST + b"\r\n",
    "expected body": lambda chance, line: (
        line + HOST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n" + chance.choice((b"", b"hello"))
    ),
}


def raw_attacks(seed: int, count: int) -> list[bytes]:
    """`count` of them, every kind in turn."""
    chance = random.Random(seed)
    kinds = list(KINDS.values())
    return [kinds[number % len(kinds)](chance, chance.choice(LINES)) for number in range(count)]
