"""The service keeps to its OpenAPI document under generated requests (schemathesis)."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.api.server import Server, serving

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "ignored_auth",
    "unsupported_method",
)


def probe(server: Server, phases: str, cases: int) -> str:
    """Run phases of schemathesis over the whole document, `cases` an operation; returns its report."""
    done = subprocess.run(
        [
            str(Path(sys.executable).parent / "schemathesis"),
            "run",
            f"{server.address}/openapi.json",
            "--header",
            f"Authorization: Bearer {server.key}",
            "--checks",
            ",".join(CHECKS),
            "--phases",
            phases,
            "--max-examples",
            str(cases),
            "--generation-deterministic",
            "--request-timeout",
            "20",
            "--no-color",
        ],
        capture_output=True,
        text=True,
        timeout=3000,
        check=False,
        cwd=server.log.parent,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return done.stdout


def cases_of(report: str) -> int:
    """How many requests a report speaks of, all of them passed."""
    found = re.search(r"(\d+) generated, (\d+) passed", report)
    assert found is not None, report[-2000:]
    assert found.group(1) == found.group(2)
    return int(found.group(1))


def test_a_few_generated_requests(models: tuple[Path, ...], tmp_path: Path) -> None:
    with serving(tmp_path / "data", models) as server:
        assert cases_of(probe(server, "examples,fuzzing", 1)) > 30


@pytest.mark.slow
def test_many_generated_requests(models: tuple[Path, ...], tmp_path: Path) -> None:
    with serving(tmp_path / "data", models) as server:
        report = probe(server, "examples,coverage,fuzzing", 40)
    print(report[report.index("SUMMARY") :])
    assert cases_of(report) > 2000
