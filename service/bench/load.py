"""Load from outside: plans of prepared requests, sent by wrk, a separate process that costs little CPU."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from service.bench.errors import BenchError

PATIENCE_SECONDS = 60
SCRIPT = Path(__file__).with_name("wrk.lua")


@dataclass(frozen=True, slots=True)
class Shot:
    """One request, ready to send."""

    method: str
    path: str
    kind: str = ""
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Pace:
    """Requests of independent callers, `gap` seconds apart in the mean. One seed gives one schedule."""

    gap: float
    seed: int


@dataclass(frozen=True, slots=True)
class Load:
    """What one run of the generator saw.

    Answers below 400, from 400 and from 500; connections lost or timed out; seconds it took; latency percentiles in
    seconds; CPU seconds of the generator itself; where the requests had a pace, every latency in rising order, and the
    seconds between requests as they were scheduled. Without a pace wrk counts a late answer also for the requests that
    its connection would have sent meanwhile, so that percentiles do not hide a stall; with one they are of answers.
    """

    ok: int
    refused: int
    failed: int
    lost: int
    seconds: float
    p50: float
    p95: float
    p99: float
    generator_seconds: float
    latencies: tuple[float, ...] = ()
    gaps: tuple[float, ...] = ()

    @property
    def rate(self) -> float:
        """Successful answers a second."""
        return self.ok / self.seconds if self.seconds else 0.0


def form(path: str, fields: Mapping[str, str], files: Sequence[tuple[str, bytes]]) -> Shot:
    """A multipart POST of text fields and files, each file under the field of its name."""
    boundary = f"facet-{uuid.uuid4().hex}"
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    for name, data in files:
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="photo"\r\n'
        parts += [f"{head}Content-Type: application/octet-stream\r\n\r\n".encode(), data, b"\r\n"]
    parts.append(f"--{boundary}--\r\n".encode())
    return Shot("POST", path, f"multipart/form-data; boundary={boundary}", b"".join(parts))


def write_plan(shots: Sequence[Shot], key: str, folder: Path) -> Path:
    """Write the plan and its bodies into an empty folder; returns the plan's file."""
    folder.mkdir(parents=True)
    lines = []
    for number, shot in enumerate(shots):
        body = folder / f"{number}.body"
        body.write_bytes(shot.body)
        lines.append("\t".join((shot.method, shot.path, shot.kind, f"Bearer {key}", str(body) if shot.body else "")))
    plan = folder / "plan.tsv"
    plan.write_text("\n".join(lines) + "\n")
    return plan


def send(
    address: str,
    plan: Path,
    connections: int,
    seconds: float | None = None,
    count: int | None = None,
    pace: Pace | None = None,
    patience: int = PATIENCE_SECONDS,
) -> Load:
    """Send a plan's requests over and over on open connections, for `seconds` or until `count` answers.

    Without `pace` each connection sends its next request as soon as it has an answer. One that comes after more than
    `patience` seconds counts as lost too; of a request that is never answered wrk tells nothing.

    Raises: BenchError.
    """
    wrk = shutil.which("wrk")
    if wrk is None:
        raise BenchError("the load generator wrk is missing: `apt install wrk`, or your system's package of it")
    span = "24h" if seconds is None else f"{max(1, round(seconds))}s"
    command = [wrk, "--threads", "1", "--connections", str(connections), "--duration", span]
    command += ["--timeout", f"{patience}s", "--script", str(SCRIPT), address, "--", str(plan), str(count or 0)]
    command += [] if pace is None else [str(1000 * pace.gap), str(pace.seed)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - no shell, own words
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if run.returncode:
        raise BenchError(f"wrk failed: {run.stderr.strip() or run.stdout.strip()}")
    seen = json.loads(run.stdout.splitlines()[-1])
    between = seen["microseconds"] // max(1, seen["answers"] // connections)
    answers = take_out_fills(dict(seen["seen"]), between)
    latencies = [n / 1e6 for n, count in sorted(answers.items()) for _ in range(count)]
    counted = [seen[name] / 1e6 for name in ("p50", "p95", "p99")]
    p50, p95, p99 = np.percentile(latencies, [50, 95, 99]) if latencies else counted
    return Load(
        ok=seen["ok"],
        refused=seen["refused"],
        failed=seen["failed"],
        lost=seen["lost"],
        seconds=seen["microseconds"] / 1e6,
        p50=float(p50),
        p95=float(p95),
        p99=float(p99),
        generator_seconds=after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        latencies=tuple(latencies),
        gaps=tuple(milliseconds / 1e3 for milliseconds in seen["gaps"]),
    )


def take_out_fills(counts: Mapping[int, int], between: int) -> dict[int, int]:
    """How often each latency was that of an answer, of what wrk counts. All in microseconds.

    For every answer that took `n >= 2 * between`, wrk counts others of `n - between`, `n - 2 * between` and so on above
    `between`, the mean time between two answers of a connection (`stats_correct` in wrk 4.1). A pace sends requests
    whatever became of those before: none was left unsent, and none is to be filled in.
    """
    answers = Counter(counts)
    for latency in sorted(counts, reverse=True):
        for fill in range(latency - between, between, -between) if latency >= 2 * between else ():
            answers[fill] -= answers[latency]
    return +answers
