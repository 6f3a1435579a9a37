"""Writes the requirements of the images with the SHA-256 of every file, for `pip install --require-hashes`.

`make hashes` calls it. The versions are those of requirements.lock; a package that is added there is added here by the
next call. One file for each part that an image may hold: `cpu` or `cuda`, and beside it `postgres`,
`milvus`, `tracing`.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
LOCK = ROOT / "requirements.lock"
CPU, CUDA = "onnxruntime", "onnxruntime-gpu"
BUILDER = "setuptools"
"""What makes a wheel of the service; the image loses it again."""


def parts() -> dict[str, list[str]]:
    """The requirements of each part, as pyproject.toml names them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed, extras = project["dependencies"], project["optional-dependencies"]
    (pin,) = [line.partition("==")[2] for line in LOCK.read_text().splitlines() if line.startswith(f"{CPU}==")]
    return {
        "cpu": [*needed, BUILDER],
        "cuda": [*(f"{CUDA}=={pin}" if name == CPU else name for name in needed), BUILDER],
        "postgres": extras["postgres"],
        "milvus": extras["milvus"],
        "tracing": extras["tracing"],
    }


def lock(name: str, requirements: list[str], target: Path) -> None:
    """Resolve one part and write it."""
    source = target.with_suffix(".in")
    source.write_text("\n".join(requirements) + "\n", encoding="utf-8")
    options = ["--generate-hashes", "--strip-extras", "--allow-unsafe", "--no-annotate", "--no-header"]
    options += [
        "--no-emit-options",
        "--no-emit-index-url",
        "--no-emit-find-links",
        "--quiet",
        "--constraint",
        str(LOCK),
    ]
    try:
        command = [sys.executable, "-m", "piptools", "compile", *options, "--output-file", str(target), str(source)]
        subprocess.run(command, check=True, cwd=ROOT)  # noqa: S603 - this repository's own words
    finally:
        source.unlink()
    lines = target.read_text(encoding="utf-8").splitlines(keepends=True)
    target.write_text("".join(line for line in lines if line.strip() and not line.startswith("#")), encoding="utf-8")
    print(f"{name}: {target.read_text(encoding='utf-8').count('==')} packages")


def main() -> None:
    """Write every part, or those that are named."""
    for name, requirements in parts().items():
        if name in sys.argv[1:] or len(sys.argv) == 1:
            lock(name, requirements, HERE / f"{name}.txt")


if __name__ == "__main__":
    main()
