"""The writer: many jobs in one commit, a failed one without its neighbours, and an end to every wait."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from service.database.errors import StorageBusy, StorageUnavailable
from service.database.schema import store
from service.database.sqlite.engine import open_engine
from service.database.sqlite.writer import Writer
from service.database.transaction import Transaction
from tests.waiting import PATIENCE, await_that


class Desk:
    """A writer on a real file, with what it applied and how often it committed."""

    def __init__(self, directory: Path, **options: int) -> None:
        self.engine = open_engine(directory, busy_seconds=0.2)
        self.applied: list[str] = []
        self.commits = 0
        self.explode = False
        sa.event.listen(self.engine, "commit", self._count)
        self.writer: Writer[str] = Writer(self.engine, self._apply, **options)

    def _count(self, _: sa.Connection) -> None:
        self.commits += 1

    def _apply(self, changes: object) -> None:
        if self.explode:
            raise RuntimeError("index broken")
        self.applied += list(changes)  # type: ignore[call-overload]

    def put(self, name: str, fail: bool = False) -> str:
        def work(transaction: Transaction[str]) -> str:
            transaction.connection.execute(sa.insert(store), {"name": name, "value": ""})
            transaction.changes.append(name)
            if fail:
                raise KeyError(name)
            return name

        return self.writer.submit(work)

    def names(self) -> set[str]:
        with self.engine.connect() as connection:
            return set(connection.scalars(sa.select(store.c.name))) - {"id"}

    def close(self) -> None:
        self.writer.close()
        self.engine.dispose()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.close()


class Gate:
    """Holds the writer inside a job until it is opened, so that others gather behind it."""

    def __init__(self, desk: Desk) -> None:
        self.inside, self.open = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=lambda: desk.writer.submit(self._wait))
        self.thread.start()
        assert self.inside.wait(PATIENCE)

    def _wait(self, _: Transaction[str]) -> None:
        self.inside.set()
        assert self.open.wait(PATIENCE)

    def release(self) -> None:
        self.open.set()
        self.thread.join()


def test_jobs_that_wait_together_share_a_commit_and_failures_stay_alone(desk: Desk) -> None:
    gate = Gate(desk)
    before = desk.commits
    with ThreadPoolExecutor(40) as pool:
        futures = [pool.submit(desk.put, f"n{number}", number % 7 == 3) for number in range(40)]
        await_that(lambda: desk.writer.waiting == 40)
        gate.release()
        outcomes = [future.exception() for future in futures]
    assert desk.commits - before == 2  # the gate's and one for all forty
    for number, outcome in enumerate(outcomes):
        assert (type(outcome) is KeyError) == (number % 7 == 3)
    expected = {f"n{number}" for number in range(40) if number % 7 != 3}
    assert desk.names() == expected
    assert sorted(desk.applied) == sorted(expected)


def test_a_job_without_neighbours_that_fails_leaves_no_trace(desk: Desk) -> None:
    before = desk.commits
    with pytest.raises(KeyError):
        desk.put("alone", fail=True)
    assert (desk.commits - before, desk.names(), desk.applied) == (0, set(), [])
    desk.put("next")
    assert (desk.commits - before, desk.names(), desk.applied) == (1, {"next"}, ["next"])


def test_what_is_begun_ends_once_it_is_committed_and_nobody_waits_meanwhile(desk: Desk) -> None:
    gate = Gate(desk)
    begun = desk.writer.begin(
        lambda transaction: transaction.connection.execute(sa.insert(store), {"name": "begun", "value": ""})
    )
    assert not begun.done()
    assert desk.names() == set()
    gate.release()
    begun.result(PATIENCE)
    assert desk.names() == {"begun"}


def test_a_constraint_that_fails_inside_a_batch_does_not_end_the_batch(desk: Desk) -> None:
    gate = Gate(desk)
    with ThreadPoolExecutor(3) as pool:
        futures = [pool.submit(desk.put, name) for name in ("same", "same", "other")]
        await_that(lambda: desk.writer.waiting == 3)
        gate.release()
        failures = [future.exception() for future in futures]
    assert sum(isinstance(failure, sa.exc.IntegrityError) for failure in failures) == 1
    assert desk.names() == {"same", "other"}


def test_a_full_queue_is_refused_at_once(tmp_path: Path) -> None:
    desk = Desk(tmp_path, queue=2)
    gate = Gate(desk)
    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(desk.put, name) for name in "ab"]
        await_that(lambda: desk.writer.waiting == 2)
        with pytest.raises(StorageBusy) as busy:
            desk.put("c")
        assert busy.value.retry_after > 0
        gate.release()
        assert [future.result() for future in futures] == ["a", "b"]
    desk.close()


def test_deferred_work_is_done_soon_and_at_the_latest_by_the_close(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.writer.defer(
        lambda transaction: transaction.connection.execute(sa.insert(store), {"name": "later", "value": ""})
    )
    await_that(lambda: desk.names() == {"later"})
    for number in range(50):
        name = f"last{number}"
        desk.writer.defer(
            lambda transaction, name=name: transaction.connection.execute(sa.insert(store), {"name": name, "value": ""})
        )  # type: ignore[misc]
    desk.writer.close()
    assert len(desk.names()) == 51
    with pytest.raises(StorageUnavailable, match="closing"):
        desk.put("too late")
    desk.engine.dispose()


def test_an_index_that_fails_stops_the_writer_rather_than_serve_a_difference(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.put("good")
    desk.explode = True
    with pytest.raises(StorageUnavailable, match="restart"):
        desk.put("bad")
    with pytest.raises(StorageUnavailable, match="restart"):
        desk.put("after")
    with pytest.raises(StorageUnavailable):
        desk.writer.check()
    desk.engine.dispose()


def test_another_process_that_holds_the_store_makes_it_busy_not_broken(desk: Desk) -> None:
    other = desk.engine.raw_connection()
    other.cursor().execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageBusy):
        desk.put("blocked")
    other.cursor().execute("ROLLBACK")
    other.close()
    assert desk.put("free") == "free"
