"""Three real services on one PostgreSQL behind haproxy, with everything killed, restarted and cut off under load."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx2 as httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from service.bench.server import free_port
from service.gallery.replicated import open_replicated
from tests.api.server import Server, await_ready, environment, serving
from tests.conftest import ROOT, encode
from tests.engines.postgres import PASSWORD, Postgres
from tests.waiting import PATIENCE, await_that

pytestmark = pytest.mark.engines
CABLE = """
global
    maxconn 200
defaults
    mode tcp
    timeout connect 2s
    timeout client 1h
    timeout server 1h
listen database
    bind 127.0.0.1:{near}
    server database 127.0.0.1:{far}
"""


@dataclass
class Cluster:
    """Three replicas, the balancer in front of them, and the cable between them and the database."""

    postgres: Postgres
    cable: subprocess.Popen[bytes]
    replicas: list[Server]
    address: str
    key: str
    name: str
    environment: dict[str, str]
    stack: ExitStack

    def client(self, number: int | None = None) -> httpx.Client:
        """A client of one replica, or of the balancer."""
        address = self.address if number is None else self.replicas[number].address
        return httpx.Client(base_url=address, headers={"Authorization": f"Bearer {self.key}"}, timeout=PATIENCE)

    def replace(self, number: int) -> None:
        """Start a replica again where one was killed, on its old port."""
        old = self.replicas[number]
        with old.log.open("ab") as log:
            arguments = [*old.process.args[:-1], old.address.rpartition(":")[2]]  # type: ignore[index]
            process = subprocess.Popen(arguments, env=self.environment, stdout=log, stderr=log)
        self.replicas[number] = Server(process, old.address, old.log)
        self.stack.callback(end, process)
        old.process.wait()
        await_ready(self.replicas[number])


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and wait for its end."""
    process.send_signal(signal.SIGCONT)
    process.kill()
    process.wait()


def haproxy(stack: ExitStack, config: Path, log_file: Path, **environment: str) -> subprocess.Popen[bytes]:
    log = stack.enter_context(log_file.open("wb"))
    process = subprocess.Popen(
        ["haproxy", "-db", "-f", str(config)], env={**os.environ, **environment}, stdout=log, stderr=log
    )
    stack.callback(end, process)
    return process


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, model_dirs: tuple[Path, ...]) -> Iterator[Cluster]:
    tmp = tmp_path_factory.mktemp("cluster")
    postgres = Postgres()
    with ExitStack() as stack:
        stack.callback(postgres.remove)
        postgres.start()
        database = postgres.database()
        near = free_port()
        config = tmp / "cable.cfg"
        config.write_text(CABLE.format(near=near, far=postgres.port))
        cable = haproxy(stack, config, tmp / "cable.log")
        given = {
            "database": f"postgresql://facet@127.0.0.1:{near}/{database.url.database}",
            "database_password": PASSWORD,
            "database_sslmode": "disable",
            "database_wait_seconds": "2",
            "database_statement_seconds": "3",
            "workers": "1",
            "log_format": "json",
        }
        folders = [tmp / f"replica-{number}" / "data" for number in range(3)]
        for folder in folders:
            folder.mkdir(parents=True)
        # All at once: one of them makes the tables and the key.
        with ThreadPoolExecutor(3) as pool:
            contexts = [serving(folder, model_dirs, **given) for folder in folders]
            replicas = list(pool.map(stack.enter_context, contexts))
        keys = [server.key for server in replicas if server.key is not None]
        assert len(keys) == 1
        balancer = free_port()
        addresses = dict(
            zip(("ONE", "TWO", "THREE"), (server.address.removeprefix("http://") for server in replicas), strict=True)
        )
        folder = ROOT / "deploy" / "haproxy"
        haproxy(
            stack,
            folder / "haproxy.cfg",
            tmp / "haproxy.log",
            FACET_BIND=f"127.0.0.1:{balancer}",
            FACET_ERRORS=str(folder),
            **{f"FACET_{name}": value for name, value in addresses.items()},
        )
        made = Cluster(
            postgres,
            cable,
            replicas,
            f"http://127.0.0.1:{balancer}",
            keys[0],
            str(database.url.database),
            environment(folders[0], model_dirs, **given),
            stack,
        )
        await_ready(Server(replicas[0].process, made.address, replicas[0].log))
        yield made


@pytest.fixture(scope="module")
def photo(astronaut: NDArray[np.uint8]) -> bytes:
    return encode(astronaut[:320, 60:380])


def enroll(client: httpx.Client, subject: str, photo: bytes, **given: str) -> httpx.Response:
    headers = {"Idempotency-Key": given.pop("key")} if "key" in given else {}
    return client.post(
        "/v1/enroll", data={"subject": subject, "threshold": "0.5", **given}, files={"images": photo}, headers=headers
    )


def found(client: httpx.Client, photo: bytes) -> list[str]:
    answer = client.post("/v1/identify", data={"threshold": "0.5", "top_k": "50"}, files={"image": photo})
    assert answer.status_code == 200, answer.text
    return [candidate["subject"] for candidate in answer.json()["faces"][0]["candidates"]]


def test_what_one_replica_does_the_others_know_at_once(cluster: Cluster, photo: bytes) -> None:
    with cluster.client(0) as one, cluster.client(1) as two, cluster.client(2) as three:
        for turn in range(3):
            assert enroll(one, f"astronaut{turn}", photo).status_code == 201
            assert f"astronaut{turn}" in found(two, photo)
            renamed = three.patch(f"/v1/collections/default/subjects/astronaut{turn}", json={"name": f"pilot{turn}"})
            assert renamed.status_code == 200, renamed.text
            names = found(one, photo)
            assert f"pilot{turn}" in names
            assert f"astronaut{turn}" not in names
            assert two.delete(f"/v1/collections/default/subjects/pilot{turn}").status_code == 200
            assert f"pilot{turn}" not in found(three, photo)


def test_of_fifty_who_enrol_one_person_through_all_replicas_one_gets_in(cluster: Cluster, photo: bytes) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(cluster.client(number)) for number in range(3)]
        with ThreadPoolExecutor(50) as pool:
            answers = list(pool.map(lambda n: enroll(clients[n % 3], f"twin{n}", photo, duplicate="reject"), range(50)))
        assert sorted(answer.status_code for answer in answers) == [201] + [409] * 49
        assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {"duplicate_subject"}
        (twin,) = [answer.json()["subject"]["name"] for answer in answers if answer.status_code == 201]
        for client in clients:
            assert found(client, photo) == [twin]
        assert clients[0].delete(f"/v1/collections/default/subjects/{twin}").status_code == 200


@dataclass
class Load:
    """Clients that enrol without a pause, and what they were told."""

    cluster: Cluster
    photo: bytes
    acknowledged: list[str] = field(default_factory=list)
    lost: list[tuple[str, str]] = field(default_factory=list)
    refusals: list[httpx.Response] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self, name: str) -> None:
        number = 0
        with self.cluster.client() as client:
            while not self.stop.is_set():
                number += 1
                subject = f"{name}-{number}"
                answer = enroll(client, subject, self.photo, key=subject)
                if answer.status_code == 201:
                    self.acknowledged.append(subject)
                    continue
                self.lost.append((subject, subject))
                (self.refusals if answer.status_code == 503 else self.others).append(
                    answer if answer.status_code == 503 else f"{answer.status_code} {answer.text}"  # type: ignore[arg-type]
                )
                time.sleep(0.2)


def await_load(load: Load, more: int) -> None:
    """Until so many further enrolments were acknowledged."""
    wanted = len(load.acknowledged) + more
    await_that(lambda: len(load.acknowledged) >= wanted or load.others)


def test_nothing_acknowledged_is_lost_and_everything_goes_on_by_itself(cluster: Cluster, photo: bytes) -> None:
    load = Load(cluster, photo)
    with ThreadPoolExecutor(4) as pool:
        runs = [pool.submit(load.run, f"load{number}") for number in range(4)]
        try:
            await_load(load, 8)
            # A replica dies.
            os.kill(cluster.replicas[2].process.pid, signal.SIGKILL)
            await_load(load, 8)
            cluster.replace(2)
            # The database is stopped in good order, and comes back.
            cluster.postgres.stop("fast")
            time.sleep(3)
            cluster.postgres.start()
            await_load(load, 8)
            # The database dies.
            cluster.postgres.kill()
            time.sleep(2)
            cluster.postgres.start()
            await_load(load, 8)
            # It cannot be reached: nothing answers, nothing is refused either.
            os.kill(cluster.cable.pid, signal.SIGSTOP)
            ready = f"{cluster.replicas[0].address}/readyz"
            await_that(lambda: httpx.get(ready, timeout=PATIENCE).status_code == 503)
            probe = httpx.get(ready, timeout=PATIENCE)
            assert probe.json()["code"] == "not_ready"
            assert httpx.get(f"{cluster.replicas[0].address}/livez").status_code == 200
            assert "facet_ready 0.0" in httpx.get(f"{cluster.replicas[0].address}/metrics", timeout=PATIENCE).text
            os.kill(cluster.cable.pid, signal.SIGCONT)
            await_load(load, 8)
        finally:
            os.kill(cluster.cable.pid, signal.SIGCONT)
            load.stop.set()
        for run in runs:
            run.result()
    assert load.others == []
    assert load.refusals
    for answer in load.refusals:
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert int(answer.headers["Retry-After"]) > 0
        assert answer.json()["status"] == 503
    with cluster.client() as client:
        for subject, key in load.lost:  # sent again, each happens once
            assert enroll(client, subject, photo, key=key).status_code in (200, 201)
    gallery = open_replicated(cluster.postgres.database(cluster.name))
    try:
        enrolled: dict[str, int] = {}
        cursor = None
        while True:
            page = gallery.subjects("default", cursor, 500)
            enrolled |= {subject.name: subject.faces for subject in page.items}
            cursor = page.next_cursor
            if cursor is None:
                break
        expected = {*load.acknowledged, *(subject for subject, _ in load.lost)}
        assert enrolled == dict.fromkeys(expected, 1)
        assert gallery.verify().problems == ()
    finally:
        gallery.close()
    for server in cluster.replicas:
        assert httpx.get(f"{server.address}/readyz", timeout=PATIENCE).status_code == 200
        assert PASSWORD not in server.printed
        logged = "".join(line for line in server.printed.splitlines() if line.startswith("{"))
        assert cluster.key.rsplit("_", 1)[1] not in logged  # the first start prints it, and logs it nowhere
