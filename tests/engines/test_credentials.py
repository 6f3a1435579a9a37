"""TLS and passwords towards real servers, given as settings; and nowhere to be read afterwards."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from service.database.errors import StorageUnavailable
from service.gallery_factory import connect_database, open_gallery
from service.settings import Settings, SettingsInvalid, read_settings
from tests.engines.certificates import Authority
from tests.engines.postgres import PASSWORD, Postgres, debian

pytestmark = pytest.mark.engines


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority") / "trusted")


@pytest.fixture(scope="module")
def server(authority: Authority) -> Iterator[Postgres]:
    """Takes connections with TLS only."""
    made = Postgres(debian(), ssl="on")
    try:
        for source, name in zip(authority.sign("127.0.0.1"), ("server.crt", "server.key"), strict=True):
            made.give(source, name)
        made.allow("hostssl all all 127.0.0.1/32 scram-sha-256")
        made.start()
        yield made
    finally:
        made.remove()


def settings(server: Postgres, host: str = "127.0.0.1", **given: object) -> Settings:
    named = {
        "database": f"postgresql://facet@{host}:{server.port}/postgres",
        "database_password": PASSWORD,
        "database_sslmode": "verify-full",
        **given,
    }
    return read_settings(env_file=None, **named)


def test_verify_full_passes_with_the_authority(server: Postgres, authority: Authority) -> None:
    engine = connect_database(settings(server, database_sslrootcert=authority.file))
    with engine.connect() as connection:
        encrypted = connection.scalar(sa.text("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"))
    engine.dispose()
    assert encrypted is True


@pytest.mark.parametrize("what", ["no authority", "another authority", "another name", "no TLS", "password", "user"])
def test_what_does_not_fit_fails_clearly_and_tells_no_secret(
    server: Postgres,
    authority: Authority,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    what: str,
) -> None:
    wrong = "wrong-" + PASSWORD
    given: dict[str, object] = {
        "no authority": {"database_sslrootcert": tmp_path / "nothing.crt"},
        "another authority": {"database_sslrootcert": Authority(tmp_path / "other").file},
        "another name": {"database_sslrootcert": authority.file, "host": "localhost"},
        "no TLS": {"database_sslmode": "disable"},
        "password": {"database_sslrootcert": authority.file, "database_password": wrong},
        "user": {"database_sslrootcert": authority.file, "database": f"postgresql://eve@127.0.0.1:{server.port}/x"},
    }[what]  # type: ignore[assignment]
    with caplog.at_level(logging.DEBUG), pytest.raises(StorageUnavailable) as failed:
        open_gallery(settings(server, **given))  # type: ignore[arg-type]
    hint = "FACET_DATABASE_PASSWORD" if what in ("password", "user") else "FACET_DATABASE_SSL"
    assert hint in str(failed.value)
    told = "".join(traceback.format_exception(failed.value)) + caplog.text
    assert PASSWORD not in told
    assert PASSWORD not in (server.folder / "log").read_text()


def test_settings_show_no_password(server: Postgres) -> None:
    with pytest.raises(SettingsInvalid, match="FACET_DATABASE_PASSWORD") as refused:
        read_settings(database=f"postgresql://facet:{PASSWORD}@127.0.0.1/x")
    assert PASSWORD not in "".join(traceback.format_exception(refused.value))
    made = settings(server)
    assert PASSWORD not in f"{made!r} {made} {made.model_dump_json()}"
    assert PASSWORD not in "".join(made.text_of(name) for name in Settings.variables())
