"""A real Milvus on this machine, from a package, with what it takes to hurt it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from service.bench.server import free_port
from tests.waiting import PATIENCE

PASSWORD = "Milvus"
"""Of `root`, before anybody changes it."""
PARTS = ("proxy", "rootCoord", "queryCoord", "queryNode", "indexNode", "dataCoord", "dataNode")
PORTS = (
    "etcd",
    "root-coord",
    "proxy",
    "proxy-internal",
    "query-coord",
    "query-node",
    "index-coord",
    "index-node",
    "data-coord",
    "data-node",
)


class Milvus:
    """One standalone server; `start` may be called again after `kill`. Guarded, it asks for `root`'s password."""

    def __init__(self, guarded: bool = False) -> None:
        self._guarded = guarded
        memory = Path("/dev/shm")
        self.folder = Path(tempfile.mkdtemp(prefix="facet-milvus-", dir=memory if memory.is_dir() else None))
        self._ports = {name: free_port() for name in PORTS}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._ports['proxy']}"

    def start(self, seconds: float = PATIENCE) -> None:
        """Start it and wait until it answers."""
        from pymilvus import MilvusClient, MilvusException  # noqa: PLC0415 - an extra

        local = [word for part in PARTS for word in ("--extra-config", f"{part}.ip=127.0.0.1")]
        ports = [word for name, port in self._ports.items() for word in (f"--{name}-port", str(port))]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    Path(sys.executable).parent / "milvus-server",
                    *("--data", self.folder),
                    *(("--authorization-enabled", "true") if self._guarded else ()),  # it takes any word for yes
                    *local,
                    *ports,
                ],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        end = time.monotonic() + seconds
        while True:
            try:
                client = MilvusClient(self.address, user="root", password=PASSWORD, timeout=5)
                client.list_collections(timeout=5)
                client.close()
                return
            except MilvusException:
                assert time.monotonic() < end, (self.folder / "log").read_text()[-2000:]
                time.sleep(0.5)

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def remove(self) -> None:
        """Stop it and delete its files."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
