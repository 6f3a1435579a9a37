"""What models cost on execution providers, measured; what crashes is said."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest

from service.bench.errors import BenchError
from service.bench.providers import Worker, measure_providers
from service.face.registry import MODEL, Registry
from service.face.session import PROVIDERS, installed_providers
from service.settings import read_settings


def test_a_model_is_measured_and_what_is_not_installed_is_said(
    model_dirs: tuple[Path, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Registry.scan(model_dirs).folders("embedder")[0].path
    shutil.copytree(source, tmp_path / "models" / source.name)
    monkeypatch.setattr("service.settings.settings.BUNDLED", tmp_path / "nothing")
    settings = read_settings(env_file=None, data=tmp_path)
    missing = next(name for name in PROVIDERS if name not in installed_providers())
    costs = list(measure_providers(settings, [missing], turns=2, inferences=1))
    own, other = costs
    identity = Registry.scan(settings.model_directories).folders()[0].manifest.identity
    assert [(cost.model, cost.provider) for cost in costs] == [(identity, "cpu"), (identity, missing)]
    assert own.failure is None
    assert len(own.turns) == 2
    assert own.typical.cpu > 0
    assert own.ratio_to(own) == 1
    assert own.difference == 0
    assert other.failure is not None
    assert f"not available here: {missing}" in other.failure
    assert other.turns == []


def test_a_provider_that_there_is_not_is_refused_before_anything_is_measured() -> None:
    with pytest.raises(BenchError, match="no execution provider gpu; there are cpu, cuda, "):
        next(measure_providers(read_settings(env_file=None), ["gpu"], turns=1, inferences=1))


def test_a_provider_that_crashes_ends_no_measurement(model_dirs: tuple[Path, ...]) -> None:
    with Worker(Registry.scan(model_dirs).folders()[0].path / MODEL, "cpu") as worker:
        worker.loaded()
        worker.process.kill()
        with pytest.raises(BenchError, match=signal.SIGKILL.name):
            worker.run(1)


def test_a_measurement_has_something_to_measure(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="at least one"):
        list(measure_providers(read_settings(env_file=None, data=tmp_path), [], turns=0, inferences=1))
