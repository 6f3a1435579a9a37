"""A real `facet serve` in a process of its own, for tests."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2 as httpx

from service.bench.server import free_port

ROOT = Path(__file__).parents[2]
START_SECONDS = 240.0  # a busy machine takes its time
KEY = re.compile(r"facet_[0-9a-f]{10}_[0-9a-f]{48}")


@dataclass
class Server:
    """A running server: its process, its address, the key it printed (None when it printed none), its output."""

    process: subprocess.Popen[bytes]
    address: str
    log: Path

    @property
    def printed(self) -> str:
        return self.log.read_text()

    @property
    def key(self) -> str | None:
        found = KEY.search(self.printed)
        return found.group() if found else None

    def client(self, key: str | None = None) -> httpx.Client:
        """A client with the key given, or else the one printed."""
        text = key or self.key
        return httpx.Client(base_url=self.address, headers={"Authorization": f"Bearer {text}"}, timeout=30)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; returns the exit status."""
        self.process.send_signal(how)
        return self.process.wait(40)


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
    """Start a server and wait until it is ready; it is stopped on leaving."""
    port = free_port()
    log = data.parent / f"server-{port}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "service.cli", "serve", "--port", str(port)],
            env=environment(data, model_dirs, **given),
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=data.parent,
        )
    server = Server(process, f"http://127.0.0.1:{port}", log)
    try:
        await_ready(server)
        yield server
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def await_ready(server: Server) -> None:
    """Wait until the server answers /readyz."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            raise AssertionError(f"the server ended:\n{server.printed}")
        try:
            if httpx.get(f"{server.address}/readyz", timeout=10).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError(f"the server is not ready:\n{server.printed}")
