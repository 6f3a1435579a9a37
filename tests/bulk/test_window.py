"""Work on several things at once: in order, bounded, and stopped by the first failure."""

from __future__ import annotations

import threading

import pytest

from service.bulk.window import AHEAD, run_in_window


def test_results_come_in_the_order_of_the_things() -> None:
    first_may_end = threading.Event()

    def work(number: int) -> int:
        if number == 0:
            assert first_may_end.wait(60)
        if number == 3:
            first_may_end.set()
        return number * number

    assert list(run_in_window(work, range(20), 4)) == [number * number for number in range(20)]


def test_no_more_than_a_window_is_begun_before_a_result_is_taken() -> None:
    taken = []

    def things() -> object:
        for number in range(100):
            taken.append(number)
            yield number

    results = run_in_window(lambda number: number, things(), 2)  # type: ignore[arg-type]
    next(results)
    assert len(taken) == 2 * AHEAD
    results.close()  # type: ignore[attr-defined]
    assert len(taken) == 2 * AHEAD


def test_a_failure_ends_the_work_once_what_was_begun_is_done() -> None:
    done: list[int] = []

    def work(number: int) -> int:
        if number == 1:
            raise ValueError("one is bad")
        done.append(number)
        return number

    with pytest.raises(ValueError, match="one is bad"):
        list(run_in_window(work, range(1000), 2))
    assert 0 in done
    assert len(done) <= 2 * AHEAD + 2
