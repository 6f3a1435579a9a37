"""The runtime keeps to itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

RUN_A_MODEL = """
import sys
from pathlib import Path
from service.face.registry import Registry
registry = Registry.scan([Path(folder) for folder in sys.argv[1:]])
registry.detector(registry.folders("detector")[0].manifest.identity)
"""


def test_the_runtime_leaves_no_device_id_and_reports_nothing(model_dirs: tuple[Path, ...], tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ORT_")}
    environment["HOME"] = str(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", RUN_A_MODEL, *map(str, model_dirs)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "telemetry" not in done.stderr
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
