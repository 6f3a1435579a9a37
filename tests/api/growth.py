"""What a server process has grown to."""

from __future__ import annotations

import re
from pathlib import Path

import httpx2 as httpx

from tests.api.server import Server
from tests.waiting import PATIENCE


def resident(server: Server) -> int:
    """Resident memory of the server, in bytes."""
    lines = Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


def descriptors(server: Server) -> int:
    """Files and sockets that the server has open."""
    return len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))


def connections(server: Server) -> int:
    """Connections that the server has, the one that asks for their number included."""
    text = httpx.get(f"{server.address}/metrics", timeout=PATIENCE).text
    found = re.search(r"^facet_connections ([0-9.]+)$", text, re.MULTILINE)
    assert found is not None
    return int(float(found.group(1)))


def threads(server: Server) -> int:
    """Threads of the server."""
    return len(list(Path(f"/proc/{server.process.pid}/task").iterdir()))
