"""A real `facet serve` in a process of its own, for tests."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2 as httpx

from tests.waiting import PATIENCE, await_that

ROOT = Path(__file__).parents[2]
KEY = re.compile(r"facet_[0-9a-f]{10}_[0-9a-f]{48}")
ADDRESS = re.compile(r"^Facet at (http://[0-9.:]+)/", re.MULTILINE)


@dataclass
class Server:
    """A running server: its process, its address, its output."""

    process: subprocess.Popen[bytes]
    address: str
    log: Path
    earlier_key: str | None = None
    """A key that an earlier start printed; only the first prints one."""

    @property
    def printed(self) -> str:
        return self.log.read_text()

    @property
    def key(self) -> str | None:
        """The key of an earlier start, or else the one printed; None when there is neither."""
        if self.earlier_key is not None:
            return self.earlier_key
        found = KEY.search(self.printed)
        return found.group() if found else None

    def client(self, key: str | None = None) -> httpx.Client:
        """A client with the key given, or else the server's own."""
        text = key or self.key
        return httpx.Client(base_url=self.address, headers={"Authorization": f"Bearer {text}"}, timeout=PATIENCE)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; returns the exit status."""
        self.process.send_signal(how)
        return self.process.wait(PATIENCE)


def environment(data: Path, model_dirs: tuple[Path, ...], **given: str) -> dict[str, str]:
    """The environment of a `facet` command: nothing of this machine's own settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FACET_")}
    own = {
        "DATA": str(data),
        "MODEL_DIRS": os.pathsep.join(map(str, model_dirs)),
        "RATE": "off",
        **{name.upper(): value for name, value in given.items()},
    }
    return {**kept, "PYTHONPATH": str(ROOT), **{f"FACET_{name}": value for name, value in own.items()}}


@contextmanager
def serving(data: Path, model_dirs: tuple[Path, ...], **given: str) -> Iterator[Server]:
    """Start a server on a port that is free and wait until it is ready; it is stopped on leaving."""
    descriptor, name = tempfile.mkstemp(".log", "server-", data.parent)
    with os.fdopen(descriptor, "wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "service.cli", "serve", "--port", "0"],
            env=environment(data, model_dirs, **given),
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=data.parent,
        )
    server = Server(process, "", Path(name))
    try:
        server.address = await_that(lambda: announced(server))
        await_ready(server)
        yield server
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def announced(server: Server) -> str:
    """The address that the server says it answers at; '' while it says none."""
    assert server.process.poll() is None, f"the server ended:\n{server.printed}"
    found = ADDRESS.search(server.printed)
    return found.group(1) if found else ""


def await_ready(server: Server) -> None:
    """Wait until the server answers /readyz."""

    def is_ready() -> bool:
        assert server.process.poll() is None, f"the server ended:\n{server.printed}"
        try:
            return httpx.get(f"{server.address}/readyz", timeout=PATIENCE).status_code == 200
        except httpx.TransportError:
            return False

    await_that(is_ready)
