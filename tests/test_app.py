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
from service.settings import read_settings


def test_a_long_start_tells_how_far_it_has_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(app, "PROGRESS_SECONDS", 0.0)
    with closing(open_embedded(tmp_path)) as gallery:
        gallery.create_collection("visitors")
        vector = np.eye(1, 8, dtype=np.float32)[0]
        gallery.enroll("visitors", "one", [NewFace(new_id(), {"ab" * 32: vector}) for _ in range(3)])
    settings = read_settings(data=tmp_path, _env_file=None)
    with caplog.at_level(logging.INFO, "facet"), app.opened(settings, app.Series.register(20)):
        pass
    assert "reading templates of the collection visitors from the record: 3 of 3" in caplog.messages
