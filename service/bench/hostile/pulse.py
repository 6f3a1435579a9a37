"""Whether the service answers while something else goes on: /livez, asked from a process of its own.

In the process that does the rest, the work of making requests would be taken for a stall of the service.
"""

from __future__ import annotations

import select
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from service.bench.hostile.sockets import exchange, status_of

EVERY_SECONDS = 0.05
PATIENCE = 300.0
FIRST = 5
"""Answers taken before the block runs: what the machine can do at this time."""
USUAL_SECONDS = 0.004
"""Of an answer on two quiet cores."""
LIVEZ = b"GET /livez HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n"


@dataclass(slots=True)
class Pulse:
    """How long each /livez took, in seconds, and how many were not answered with 200; known once it is over.

    `late` is the longest time, in seconds, by which a mere pause of this process came to be longer than it should:
    what the machine makes everybody wait, whatever the service does.
    """

    seconds: list[float] = field(default_factory=list)
    failures: int = 0
    late: float = 0.0

    @property
    def longest(self) -> float:
        """The longest of them."""
        return max(self.seconds)

    @property
    def slowness(self) -> float:
        """How many times as long as usual the machine takes for the same, at least 1; by the first answers."""
        return max(1.0, statistics.median(self.seconds[:FIRST]) / USUAL_SECONDS)

    def stalled(self, seconds: float) -> bool:
        """Whether an answer took longer than these seconds, beyond what the machine itself makes of them."""
        return self.longest > seconds * self.slowness + self.late


@contextmanager
def pulse(address: str) -> Iterator[Pulse]:
    """Ask for /livez on new connections, again and again while the block runs."""
    result = Pulse()
    with tempfile.NamedTemporaryFile("w") as output:
        answers = Path(output.name)  # read on its own: a shared handle would move the place where the other writes
        command = [sys.executable, "-m", __name__, address]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output)  # noqa: S603 - a module of ours
        try:
            while len(answers.read_text().splitlines()) < FIRST and process.poll() is None:
                time.sleep(EVERY_SECONDS)
            yield result
        finally:
            process.communicate()  # the end of its input ends it after the answer that it waits for
            for line in answers.read_text().splitlines():
                status, seconds, late = line.split()
                result.late = max(result.late, float(late))
                result.seconds.append(float(seconds))
                result.failures += status != "200"


def beat(address: str) -> tuple[int, float]:
    """Ask once; returns the status, 0 where none came, and the seconds."""
    begun = time.monotonic()
    try:
        status = status_of(exchange(address, LIVEZ, timeout=PATIENCE))
    except OSError:
        status = 0
    return status, time.monotonic() - begun


def main(address: str) -> None:
    """Print a line for each /livez until the input ends."""
    over, late = False, 0.0
    while not over:
        print(*beat(address), late, flush=True)
        begun = time.monotonic()
        over = is_over()
        late = time.monotonic() - begun - EVERY_SECONDS


def is_over() -> bool:
    """Wait a moment, and tell whether the input has ended."""
    ready, _, _ = select.select([sys.stdin], [], [], EVERY_SECONDS)
    return bool(ready)


if __name__ == "__main__":
    main(sys.argv[1])
