"""Opening the service."""

from __future__ import annotations

import logging
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from service import app
from service.database.schema import new_id
from service.gallery.embedded import open_embedded
from service.gallery.records import NewFace
from service.settings import SettingsInvalid, read_settings


def test_a_long_start_tells_how_far_it_has_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(app, "PROGRESS_SECONDS", 0.0)
    with closing(open_embedded(tmp_path)) as gallery:
        gallery.create_collection("visitors")
        vector = np.eye(1, 8, dtype=np.float32)[0]
        gallery.enroll("visitors", "one", [NewFace(new_id(), {"ab" * 32: vector}) for _ in range(3)])
    settings = read_settings(data=tmp_path, env_file=None)
    with caplog.at_level(logging.INFO, "facet"), app.opened(settings, app.Series.register(20)):
        pass
    assert "reading templates of the collection visitors from the database: 3 of 3" in caplog.messages


@pytest.mark.parametrize("variable", ["default_fmr", "renew_fmr"])
def test_a_rate_that_no_model_supports_refuses_to_start_before_a_store_is_made(
    tmp_path: Path, model_dirs: tuple[Path, ...], variable: str
) -> None:
    settings = read_settings(data=tmp_path / "data", env_file=None, model_dirs=model_dirs, **{variable: 1e-9})
    with (
        pytest.raises(SettingsInvalid, match=rf"FACET_{variable.upper()}: .* 1e-09; supported: .* to "),
        app.opened(settings, app.Series.register(20)),
    ):
        pass
    assert not (tmp_path / "data").exists()
