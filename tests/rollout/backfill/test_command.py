"""`facet reembed`, as a person types it, beside a service or with it stopped."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry
from typer.testing import CliRunner

from service.cli import app
from service.database.encryption import Keyring
from service.gallery.embedded import open_embedded
from service.rollout.backfill.metrics import BackfillMetrics
from service.rollout.backfill.reembeddings import Reembeddings
from service.rollout.backfill.worker import Reembedder
from service.rollout.roles import Roles
from tests.rollout.backfill.conftest import KEYRING, Load, ended, fill


def facet(*words: str) -> str:
    result = CliRunner().invoke(app, ["reembed", *words])
    assert result.exit_code == 0, result.output
    return result.stdout


def row(printed: str, word: str) -> list[str]:
    """The cells of the table's line that holds a word."""
    (line,) = [line for line in printed.splitlines() if word in line]
    return [cell.strip() for cell in line.split("│")[1:-1]]


@pytest.fixture
def data(
    load: Load,
    crop: NDArray[np.uint8],
    zoo: Path,
    model_dirs: tuple[Path, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    given = {"DATA": tmp_path / "data", "TEMPLATE_KEYS": KEYRING, "MODELS": "teacher,stranger"}
    given["MODEL_DIRS"] = ":".join(map(str, (zoo, *model_dirs)))
    for name, value in given.items():
        monkeypatch.setenv(f"FACET_{name}", str(value))
    monkeypatch.setenv("COLUMNS", "200")
    fill(tmp_path / "data", load, crop, 4)
    return tmp_path / "data"


def test_a_job_is_asked_for_watched_and_its_old_templates_dropped(data: Path, load: Load) -> None:
    assert row(facet("coverage", "stranger"), "visitors")[1:] == ["4", "0", "0", "4", "4", "0"]
    assert ": 4 faces" in facet("start", "stranger", "--collection", "visitors", "--rate", "0.01")
    cells = row(facet("status"), "stranger")
    assert cells[1:] == ["stranger@1.0.0", "visitors", "running", "4", "0", "0", "4", "0.01"]
    assert "after 0 of 4" in facet("cancel", cells[0])
    facet("start", "stranger", "--rate", "1000")
    models = load("teacher", "stranger")
    with (
        closing(open_embedded(data, keyring=Keyring.parse(KEYRING))) as gallery,
        closing(
            Reembedder(
                models, gallery.database, Keyring.parse(KEYRING), BackfillMetrics(CollectorRegistry()), lambda: False
            )
        ),
    ):
        roles = Roles(models, gallery.database)
        desk = Reembeddings(models, gallery.database, roles)
        (job, _) = desk.jobs().items
        ended(desk, job)
        roles.assign("test", "stranger", None, 0.0)
    assert row(facet("status"), "done")[4:8] == ["4", "4", "0", "0"]
    assert row(facet("coverage", "stranger"), "visitors")[1:] == ["4", "4", "0", "0", "0", "0"]
    assert facet("drop", "teacher").startswith("4 templates dropped")
    assert row(facet("coverage", "teacher"), "visitors")[1:] == ["4", "0", "0", "4", "4", "0"]


def test_a_user_without_a_name_asks_for_a_job(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("os.getuid", lambda: 2_147_483_000)
    assert ": 4 faces" in facet("start", "stranger")
