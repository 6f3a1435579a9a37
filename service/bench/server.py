"""A real service in a process of its own, with a data folder of its own."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import closing, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from service.bench.errors import BenchError
from service.database.sqlite.engine import open_engine
from service.keys import Keys, Scope

START_SECONDS = 120.0
QUEUE_LIMIT = 256
STOP_SECONDS = 40.0
LASTING_PORTS = range(20_000, 32_000)  # below where Linux begins to choose


def make_key(data: Path) -> str:
    """Make an admin key in the data folder, which is made if need be; returns its text."""
    engine = open_engine(data)
    try:
        return Keys(engine).create("bench", [Scope.ADMIN])[1]
    finally:
        engine.dispose()


def free_port() -> int:
    """A port of the loopback interface that nobody listens on now.

    It is none of those that the system gives to connections: such a port could be taken before it is listened on.
    """
    for port in random.sample(LASTING_PORTS, len(LASTING_PORTS)):
        with closing(socket.socket()) as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise BenchError("no port is free")


class Server:
    """The service as `facet serve` starts it, on loopback, without a rate limit; stopped on leaving.

    One key asks for all, so the queue has room for twice as many as it sends: a lone key gets half of the places.

    `startup_seconds` is the time from starting the process to the first good answer of /readyz.
    """

    def __init__(self, data: Path) -> None:
        self._data = data
        self._port = free_port()
        self._log = data.parent / "server.log"
        self.address = f"http://127.0.0.1:{self._port}"
        self.startup_seconds = float("nan")

    def __enter__(self) -> Self:
        own = {"HOST": "127.0.0.1", "PORT": str(self._port), "DATA": str(self._data), "RATE": "off"}
        own["QUEUE_LIMIT"] = str(QUEUE_LIMIT)
        environment = {**os.environ, **{f"FACET_{name}": value for name, value in own.items()}}
        begun = time.perf_counter()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "service.cli", "serve"], env=environment, stdout=log, stderr=log
            )
        try:
            self._await_ready(begun + START_SECONDS)
        except BaseException:
            self._stop()
            raise
        self.startup_seconds = time.perf_counter() - begun
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def memory(self) -> int:
        """Resident memory of the process, in bytes."""
        return self._status("VmRSS")

    def descriptors(self) -> int:
        """Files and connections that the process has open."""
        return len(list(Path(f"/proc/{self._process.pid}/fd").iterdir()))

    def threads(self) -> int:
        """Threads of the process."""
        return len(list(Path(f"/proc/{self._process.pid}/task").iterdir()))

    def peak(self) -> int:
        """The most resident memory since the start, or since `forget_peak`, in bytes."""
        return self._status("VmHWM")

    def forget_peak(self) -> None:
        """Begin to look for the peak again."""
        Path(f"/proc/{self._process.pid}/clear_refs").write_text("5")

    def cpu_seconds(self) -> float:
        """CPU time that the process has used so far, user and system together."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _status(self, name: str) -> int:
        for line in Path(f"/proc/{self._process.pid}/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
        raise BenchError("the server process has ended")

    def _await_ready(self, deadline: float) -> None:
        while time.perf_counter() < deadline:
            if self._process.poll() is not None:
                raise BenchError(f"the server ended at its start:\n{self._tail()}")
            try:
                with urllib.request.urlopen(f"{self.address}/readyz", timeout=10):  # noqa: S310 - own address
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.01)
        raise BenchError(f"the server was not ready after {START_SECONDS:.0f} s:\n{self._tail()}")

    def _stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _tail(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-15:])
