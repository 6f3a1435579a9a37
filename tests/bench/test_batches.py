"""What batching would gain, measured."""

from __future__ import annotations

from pathlib import Path

from service.bench.batches import measure_batches
from service.settings import read_settings


def test_every_embedder_is_measured_at_every_size(model_dirs: tuple[Path, ...], tmp_path: Path) -> None:
    settings = read_settings(env_file=None, data=tmp_path, model_dirs=model_dirs)
    found = measure_batches(settings, rounds=1, sizes=(1, 2))
    assert found
    for times in found.values():
        assert list(times) == [1, 2]
        assert all(0.01 < milliseconds < 10_000 for milliseconds in times.values())
