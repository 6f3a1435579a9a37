"""What a server process has grown to."""

from __future__ import annotations

from pathlib import Path

from tests.api.server import Server


def resident(server: Server) -> int:
    """Resident memory of the server, in bytes."""
    lines = Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


def descriptors(server: Server) -> int:
    """Files and sockets that the server has open."""
    return len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))


def threads(server: Server) -> int:
    """Threads of the server."""
    return len(list(Path(f"/proc/{server.process.pid}/task").iterdir()))
