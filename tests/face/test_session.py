"""The runtime keeps to itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import onnxruntime
import pytest

from service.face.errors import ModelInvalid
from service.face.registry import Registry
from service.face.session import PROVIDERS, ModelSession, Runtime, installed_providers
from service.settings.decisions import PROVIDER_NAMES

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


@pytest.fixture
def model(model_dirs: tuple[Path, ...]) -> Path:
    return Registry.scan(model_dirs).folders("embedder")[0].model_path


def test_a_session_says_what_it_runs_on(model: Path) -> None:
    assert ModelSession(model).provider == "cpu"
    assert "cpu" in installed_providers()
    assert tuple(PROVIDERS) == PROVIDER_NAMES, "the settings offer what a session knows"


def test_what_is_not_in_this_build_is_refused_with_what_is(model: Path) -> None:
    missing = next(name for name in PROVIDERS if name not in installed_providers())
    with pytest.raises(ModelInvalid, match=rf"not available here: {missing}; this build of ONNX Runtime has .*cpu"):
        ModelSession(model, Runtime.on(missing))


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_provider_that_could_not_be_started_is_not_replaced_by_the_cpu(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = next(name for name in PROVIDERS if name not in installed_providers())
    # As on a machine with a build for the device, and without the device: the runtime then takes the CPU by itself.
    claimed = [*onnxruntime.get_available_providers(), PROVIDERS[missing]]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: claimed)
    with pytest.raises(ModelInvalid, match=f"has the execution provider {missing}, and could not start it"):
        ModelSession(model, Runtime.on(missing))
