"""Every admitted request ends exactly once."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.runtime.executor import Executor, Overloaded, Stopping, Turn, Unsettled
from tests.waiting import PATIENCE

Cancelled = Callable[[], bool]


async def until(state: Callable[[], bool]) -> None:
    """Wait until it holds."""
    async with asyncio.timeout(PATIENCE):
        while not state():
            await asyncio.sleep(0.001)


@given(
    plan=st.lists(st.tuples(st.sampled_from(["work", "fail", "cancel"]), st.integers(0, 3)), max_size=40),
    workers=st.integers(1, 3),
    queue=st.integers(0, 8),
)
@settings(max_examples=60, deadline=None)
def test_every_admitted_request_ends_exactly_once(plan: list[tuple[str, int]], workers: int, queue: int) -> None:
    executor = Executor(workers, queue)
    ended: list[int] = []
    refused = 0

    async def one(number: int, kind: str, delay: int) -> None:
        nonlocal refused

        def work(cancelled: Cancelled) -> int:
            time.sleep(delay / 2000)
            if kind == "fail":
                raise ValueError(number)
            return number

        task = asyncio.ensure_future(executor.run(work))
        if kind == "cancel":
            await asyncio.sleep(delay / 4000)
            task.cancel()
        outcome = (await asyncio.gather(task, return_exceptions=True))[0]
        if isinstance(outcome, Overloaded):
            refused += 1
            assert outcome.retry_after >= 1
            return
        ended.append(number)
        if kind == "work":
            assert outcome == number
        elif kind == "fail":
            assert isinstance(outcome, ValueError)
            assert outcome.args == (number,)
        else:
            assert outcome == number or isinstance(outcome, asyncio.CancelledError)

    async def everything() -> None:
        await asyncio.gather(*(one(number, kind, delay) for number, (kind, delay) in enumerate(plan)))

    asyncio.run(everything())
    executor.close()
    assert len(ended) == len(set(ended))
    assert len(ended) + refused == len(plan)
    load = executor.load()
    assert (load.queued, load.running) == (0, 0)


def test_refuses_beyond_the_queue_and_admits_again() -> None:
    executor = Executor(workers=1, queue_limit=1)
    gate = threading.Event()

    async def scenario() -> None:
        first = asyncio.ensure_future(executor.run(lambda _: gate.wait(PATIENCE)))
        second = asyncio.ensure_future(executor.run(lambda _: "second"))
        await until(lambda: (executor.load().queued, executor.load().running) == (1, 1))
        with pytest.raises(Overloaded) as refused:
            await executor.run(lambda _: "third")
        assert 1 <= refused.value.retry_after <= 30
        with pytest.raises(Overloaded):
            executor.check()
        gate.set()
        assert await first is True
        assert await second == "second"
        assert await executor.run(lambda _: "fourth") == "fourth"

    asyncio.run(scenario())
    executor.close()


def test_a_thread_goes_on_with_what_waits_and_wakes_no_other() -> None:
    executor = Executor(workers=1, queue_limit=16)
    gate = threading.Event()

    def work(_: Cancelled) -> int:
        gate.wait(PATIENCE)
        return threading.get_ident()

    async def scenario() -> None:
        tasks = [asyncio.ensure_future(executor.run(work)) for _ in range(4)]
        await until(lambda: (executor.load().queued, executor.load().running) == (3, 1))
        gate.set()
        assert len(set(await asyncio.gather(*tasks))) == 1

    asyncio.run(scenario())
    executor.close()


def test_closing_waits_for_what_waits_for_a_core_that_rests() -> None:
    executor = Executor(workers=1, queue_limit=16)
    begun, gate = threading.Event(), threading.Event()
    done: list[str] = []

    def rest(turn: Turn) -> None:
        begun.set()
        gate.wait(PATIENCE)
        turn.rest()
        done.append("rested")

    async def scenario() -> None:
        tasks = [
            asyncio.ensure_future(executor.run(rest)),
            asyncio.ensure_future(executor.run(lambda _: done.append("next"))),
        ]
        await until(begun.is_set)
        closing = asyncio.ensure_future(asyncio.to_thread(executor.close))
        await until(lambda: executor._closed)
        gate.set()
        await asyncio.gather(closing, *tasks)

    asyncio.run(scenario())
    assert sorted(done) == ["next", "rested"]


def test_dropped_work_never_runs_and_lets_go_of_its_data() -> None:
    class Image:
        pass

    executor = Executor(workers=1, queue_limit=4)
    gate = threading.Event()
    ran: list[str] = []

    async def scenario() -> None:
        first = asyncio.ensure_future(executor.run(lambda _: gate.wait(PATIENCE)))
        image = Image()
        alive = weakref.ref(image)
        queued = asyncio.ensure_future(executor.run(lambda _, held=image: ran.append("queued")))
        del image
        await until(lambda: (executor.load().queued, executor.load().running) == (1, 1))
        queued.cancel()
        await asyncio.gather(queued, return_exceptions=True)
        del queued
        await until(lambda: gc.collect() >= 0 and alive() is None)
        assert executor.load().queued == 0
        gate.set()
        await first

    asyncio.run(scenario())
    executor.close()
    assert ran == []


def test_running_work_is_told_that_nobody_waits() -> None:
    executor = Executor(workers=1, queue_limit=0)
    started, told = threading.Event(), threading.Event()

    def work(cancelled: Cancelled) -> None:
        started.set()
        deadline = time.monotonic() + PATIENCE
        while not cancelled() and time.monotonic() < deadline:
            time.sleep(0.001)
        if cancelled():
            told.set()

    async def scenario() -> None:
        task = asyncio.ensure_future(executor.run(work))
        await asyncio.to_thread(started.wait, PATIENCE)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(scenario())
    executor.close()
    assert told.is_set()


def test_closing_finishes_what_was_admitted_and_admits_nothing_more() -> None:
    executor = Executor(workers=1, queue_limit=8)
    done: list[int] = []

    async def scenario() -> None:
        def work(number: int) -> None:
            time.sleep(0.01)
            done.append(number)

        tasks = [asyncio.ensure_future(executor.run(lambda _, n=n: work(n))) for n in range(5)]
        await asyncio.sleep(0)
        await asyncio.to_thread(executor.close)
        with pytest.raises(Stopping):
            await executor.run(lambda _: None)
        await asyncio.gather(*tasks)

    asyncio.run(scenario())
    assert done == [0, 1, 2, 3, 4]


def test_callers_take_turns_and_none_takes_all_places() -> None:
    executor = Executor(workers=1, queue_limit=8)
    gate = threading.Event()
    order: list[str] = []

    async def scenario() -> None:
        first = asyncio.ensure_future(executor.run(lambda _: gate.wait(PATIENCE), "greedy"))
        await until(lambda: executor.load().running == 1)
        waiting = []
        while True:
            job = asyncio.ensure_future(executor.run(lambda _: order.append("greedy"), "greedy"))
            await asyncio.sleep(0)
            if job.done():
                assert isinstance(job.exception(), Overloaded)
                break
            waiting.append(job)
        assert len(waiting) == 4, "half of the queue"
        with pytest.raises(Overloaded):
            executor.check("greedy")
        executor.check("modest")
        waiting += [asyncio.ensure_future(executor.run(lambda _: order.append("modest"), "modest")) for _ in range(2)]
        await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(first, *waiting)

    asyncio.run(scenario())
    executor.close()
    assert order == ["greedy", "modest", "greedy", "modest", "greedy", "greedy"]


def test_a_job_that_rests_lets_the_next_one_start() -> None:
    executor = Executor(workers=1, queue_limit=8)
    on_disk, busy = threading.Event(), threading.Event()

    def enrol(turn: Turn) -> str:
        turn.rest()
        turn.rest()
        assert on_disk.wait(PATIENCE)
        return "enrolled"

    def verify(_: Turn) -> str:
        assert busy.wait(PATIENCE)
        return "verified"

    async def scenario() -> None:
        first = asyncio.ensure_future(executor.run(enrol, "a"))
        second, third = (asyncio.ensure_future(executor.run(verify, caller)) for caller in ("b", "c"))
        while executor.load().resting < 1 or executor.load().running < 1:
            await asyncio.sleep(0.001)
        load = executor.load()
        assert (load.queued, load.running, load.resting) == (1, 1, 1), "one core, one job on it"
        busy.set()
        assert [await second, await third] == ["verified", "verified"]
        assert not first.done()
        on_disk.set()
        assert await first == "enrolled"

    asyncio.run(scenario())
    executor.close()
    load = executor.load()
    assert (load.queued, load.running, load.resting) == (0, 0, 0)


def test_an_unsettled_result_is_given_once_all_it_waits_for_has_ended() -> None:
    executor = Executor(workers=1, queue_limit=8)
    waits: list[Future[None]] = [Future(), Future()]
    gate = threading.Event()

    def decide(_: Turn) -> Unsettled[int]:
        assert gate.wait(PATIENCE)
        return Unsettled(threading.get_ident(), waits)

    async def scenario() -> None:
        first = asyncio.ensure_future(executor.run(decide))
        second = asyncio.ensure_future(executor.run(lambda _: threading.get_ident()))
        await until(lambda: (executor.load().queued, executor.load().running) == (1, 1))
        gate.set()
        other = await second
        load = executor.load()
        assert (load.queued, load.running, load.resting) == (0, 0, 1)
        waits[1].set_result(None)
        await asyncio.sleep(0)
        assert not first.done()
        waits[0].set_result(None)
        assert await first == other, "the thread went on with the next job"

    asyncio.run(scenario())
    executor.close()
    assert executor.load().resting == 0


@pytest.mark.parametrize("rests", [False, True])
def test_an_unsettled_result_whose_wait_fails_is_an_error_and_costs_no_core(rests: bool) -> None:
    executor = Executor(workers=1, queue_limit=8)

    def work(turn: Turn, wait: Future[None]) -> Unsettled[str]:
        if rests:
            turn.rest()
        return Unsettled("decided", [wait])

    async def scenario() -> None:
        for _ in range(3):
            wait: Future[None] = Future()
            running = asyncio.ensure_future(executor.run(lambda turn, wait=wait: work(turn, wait)))  # type: ignore[misc]
            await until(lambda: executor.load().resting == 1)
            wait.set_exception(ValueError("the disk is full"))
            with pytest.raises(ValueError, match="the disk is full"):
                await running
        assert await executor.run(lambda _: executor.load().running) == 1

    asyncio.run(scenario())
    executor.close()


def test_closing_waits_for_what_is_unsettled() -> None:
    executor = Executor(workers=1, queue_limit=8)
    wait: Future[None] = Future()

    async def scenario() -> None:
        running = asyncio.ensure_future(executor.run(lambda _: Unsettled("decided", [wait])))
        await until(lambda: executor.load().resting == 1)
        closing = asyncio.ensure_future(asyncio.to_thread(executor.close))
        await until(lambda: executor._closed)
        assert not closing.done()
        wait.set_result(None)
        await closing
        assert await running == "decided"

    asyncio.run(scenario())


def test_no_more_jobs_work_at_once_than_there_are_workers() -> None:
    executor = Executor(workers=2, queue_limit=40)
    lock, at_work, most = threading.Lock(), 0, 0

    def work(turn: Turn) -> None:
        nonlocal at_work, most
        with lock:
            at_work += 1
            most = max(most, at_work)
        time.sleep(0.001)
        with lock:
            at_work -= 1
        turn.rest()
        time.sleep(0.001)

    async def everything() -> None:
        await asyncio.gather(*(executor.run(work, f"caller {number}") for number in range(20)))

    asyncio.run(everything())
    executor.close()
    assert most <= 2


def test_a_job_that_fails_while_it_rests_gives_one_core_back() -> None:
    executor = Executor(workers=1, queue_limit=1)

    def fail(turn: Turn) -> None:
        turn.rest()
        raise ValueError("the disk is full")

    async def scenario() -> None:
        for _ in range(3):
            with pytest.raises(ValueError, match="the disk is full"):
                await executor.run(fail)
        assert await executor.run(lambda _: executor.load().running) == 1

    asyncio.run(scenario())
    executor.close()
