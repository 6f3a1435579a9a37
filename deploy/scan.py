"""Looks up the known vulnerabilities of every package in requirements.lock, where an advisory source can be reached.

Ends with 1 when one is known. Ends with 0 when none is, and also when no source can be reached, which it then says: it
needs pip-audit (`make scan` installs it) and a network.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

SOURCES = ("pypi", "osv")
LOCK = "requirements.lock"
SECONDS = 180


def main() -> int:
    """Ask the sources in turn until one answers; returns the exit status."""
    for source in SOURCES:
        packages = ask(source)
        if packages is not None:
            return tell(source, packages)
    print("NOT SCANNED: no advisory source can be reached from here. Run `make scan` where one can.")
    return 0


def ask(source: str) -> list[dict[str, Any]] | None:
    """What a source knows of each package that it knows; None, with the reason printed, where it is not reached."""
    command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--no-deps", "--progress-spinner", "off"]
    command += ["--vulnerability-service", source, "--format", "json", "--requirement", LOCK]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)  # noqa: S603
        packages: list[dict[str, Any]] = json.loads(run.stdout)["dependencies"]
    except subprocess.TimeoutExpired:
        print(f"{source}: no answer in {SECONDS} s")
        return None
    except ValueError:
        reason = run.stderr.strip().rpartition("\n")[2]
        print(f"{source}: not reached ({reason[:200]})")
        return None
    # A mirror of packages knows no advisories: it answers that it does not know the package.
    known = [package for package in packages if "skip_reason" not in package]
    if not known:
        print(f"{source}: knows none of {len(packages)} packages, so no advisories are behind it")
        return None
    if len(known) < len(packages):
        print(f"{source}: {len(packages) - len(known)} of {len(packages)} packages are not known there")
    return known


def tell(source: str, packages: list[dict[str, Any]]) -> int:
    """Print what is known; returns the exit status."""
    problems = [(package, problem) for package in packages for problem in package["vulns"]]
    for package, problem in problems:
        mended = ", ".join(problem["fix_versions"]) or "no version yet"
        print(f"{package['name']} {package['version']}: {problem['id']}, mended in {mended}")
    print(f"{len(problems)} known vulnerabilities in {len(packages)} packages, by {source}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
