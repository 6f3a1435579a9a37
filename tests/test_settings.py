"""Every setting is documented, read from one variable, and checked."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from service.settings import Settings, SettingsInvalid, read_settings

DOCUMENT = Path(__file__).parents[1] / "docs" / "operations.md"
ROW = re.compile(r"^\| `(FACET_[A-Z_]+)` \| (?:`(.*?)`)? ?\| (.+) \|$", re.MULTILINE)


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("FACET_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_every_setting_is_documented_with_its_default() -> None:
    documented = {name: default for name, default, _ in ROW.findall(DOCUMENT.read_text())}
    settings = read_settings()
    assert documented == {f"FACET_{name.upper()}": settings.text_of(name) for name in Settings.model_fields}


def test_every_setting_describes_itself() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_what_is_printed_can_be_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    given = read_settings(
        model_dirs=(Path("a"), Path("b")), models=("x", "y@1.0.0"), anonymous=True, default_model="x", rate="5/second"
    )
    for name in Settings.model_fields:
        monkeypatch.setenv(f"FACET_{name.upper()}", given.text_of(name))
    assert read_settings() == given


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "99999"),
        ("PORT", "http"),
        ("ANONYMOUS", "maybe"),
        ("DEFAULT_FMR", "0"),
        ("RATE", "quick"),
        ("QUEUE_LIMIT", "-1"),
        ("LOG_FORMAT", "xml"),
        ("MAX_PENDING_BYTES", "4096"),
    ],
)
def test_a_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"FACET_{name}", value)
    with pytest.raises(SettingsInvalid, match=rf"FACET_({name}|\*)"):
        read_settings()


def test_false_is_false(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACET_ANONYMOUS", "false")
    assert read_settings().anonymous is False


def test_a_dotenv_file_is_read(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("FACET_PORT=8123\nUNRELATED=1\n")
    assert read_settings().port == 8123
