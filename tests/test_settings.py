"""Every setting is described once, read from one variable, and checked."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from service.settings import Settings, SettingsInvalid, read_settings
from service.settings.table import with_tables

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
    assert documented == {name: settings.text_of(name) for name in Settings.variables()}


def test_the_document_is_written_from_the_descriptions() -> None:
    written = DOCUMENT.read_text()
    assert with_tables(written) == written, "make docs writes the tables again"


def test_every_setting_describes_itself() -> None:
    assert [name for name in Settings.variables() if not Settings.description_of(name)] == []


def test_each_setting_lies_with_what_it_sets() -> None:
    settings = read_settings(database="postgresql://facet@db/facet", database_password="secret", milvus_seconds=3)
    assert settings.database.password.get_secret_value() == "secret"
    assert (settings.milvus.seconds, settings.index) == (3, "pgvector")
    assert Settings.variables()["FACET_DATABASE"] == ("database", "url")
    assert Settings.variables()["FACET_MAX_IMAGE_BYTES"] == ("limits", "max_image_bytes")


def test_what_is_printed_can_be_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    given = read_settings(
        model_dirs=(Path("a"), Path("b")), models=("x", "y@1.0.0"), anonymous=True, default_model="x", rate="5/second"
    )
    for name in Settings.variables():
        monkeypatch.setenv(name, given.text_of(name))
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
        ("DATABASE", "mysql://host/name"),
        ("DATABASE_CONNECTIONS", "1"),
        ("INDEX", "milvus"),
    ],
)
def test_a_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"FACET_{name}", value)
    with pytest.raises(SettingsInvalid, match=rf"FACET_({name}|\*)"):
        read_settings()


def test_every_wrong_setting_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACET_PORT", "http")
    monkeypatch.setenv("FACET_RATE", "quick")
    with pytest.raises(SettingsInvalid, match=r"FACET_PORT: .*; FACET_RATE: "):
        read_settings()


def test_a_wrong_secret_is_named_and_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACET_TEMPLATE_KEYS", "geheim")
    with pytest.raises(SettingsInvalid, match="FACET_TEMPLATE_KEYS") as caught:
        read_settings()
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "near"), [("FACET_DEFAULT_FMRR", "FACET_DEFAULT_FMR"), ("facet_prot", "FACET_PORT"), ("FACET_XYZZY", "")]
)
def test_a_variable_that_is_no_setting_is_refused_with_the_nearest_that_is_one(
    monkeypatch: pytest.MonkeyPatch, name: str, near: str
) -> None:
    monkeypatch.setenv(name, "1")
    with pytest.raises(SettingsInvalid, match=f"{name.upper()} is no setting of Facet") as caught:
        read_settings()
    assert (f"did you mean {near}?" in str(caught.value)) == bool(near)


def test_a_misspelt_line_of_the_dotenv_file_is_refused_too(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("FACET_PROT=1\n")
    with pytest.raises(SettingsInvalid, match="did you mean FACET_PORT"):
        read_settings()
    assert read_settings(env_file=None).server.port == 8000


def test_a_misnamed_secret_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Or templates would be stored in the clear without a word."""
    (tmp_path / "facet_template_key").write_text("2026a:x")
    (tmp_path / "of_something_else").write_text("x")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    with pytest.raises(
        SettingsInvalid, match="FACET_TEMPLATE_KEY is no setting of Facet; did you mean FACET_TEMPLATE_KEYS"
    ):
        read_settings()


def test_a_value_that_comes_from_a_file_has_no_line_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACET_DATABASE", "postgresql://facet@db:5432/facet\n")
    monkeypatch.setenv("FACET_DATABASE_PASSWORD", " a word \r\n")
    settings = read_settings()
    assert settings.database.url == "postgresql://facet@db:5432/facet"
    assert settings.database.password.get_secret_value() == " a word "


def test_variables_of_training_and_of_the_compose_file_are_let_be(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FACET_TRAIN_DATA", "FACET_PUBLISH", "FACET_MEMORY", "FACET_WEBHOOK_SECRET"):
        monkeypatch.setenv(name, "x")
    assert read_settings().server.port == 8000


@pytest.mark.parametrize("level", ["INFO", "Info", "info"])
def test_words_are_read_in_any_case(monkeypatch: pytest.MonkeyPatch, level: str) -> None:
    monkeypatch.setenv("FACET_LOG_LEVEL", level)
    assert read_settings().logs.level == "info"


def test_false_is_false(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACET_ANONYMOUS", "false")
    assert read_settings().access.anonymous is False


def test_a_dotenv_file_is_read(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("FACET_PORT=8123\nUNRELATED=1\n")
    assert read_settings().server.port == 8123
