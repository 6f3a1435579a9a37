"""Work is done ahead: in order, bounded, and stopped by the first failure."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from training.data.ahead import work_ahead


def test_results_come_in_the_order_of_the_things() -> None:
    first_may_end = threading.Event()

    def work(number: int) -> int:
        if number == 0:
            assert first_may_end.wait(60)
        if number == 1:
            first_may_end.set()
        return number * number

    assert list(work_ahead(work, range(20), 2, "test")) == [number * number for number in range(20)]


def test_no_more_than_the_depth_is_begun_before_a_result_is_taken() -> None:
    begun: list[int] = []

    def things() -> Iterator[int]:
        for number in range(100):
            begun.append(number)
            yield number

    results = work_ahead(lambda number: number, things(), 2, "test", depth=3)
    assert next(results) == 0
    assert len(begun) == 7
    results.close()  # type: ignore[attr-defined]
    assert len(begun) == 7


def test_the_first_failure_ends_it() -> None:
    with pytest.raises(ZeroDivisionError):
        list(work_ahead(lambda number: 1 // number, [1, 0, 2], 2, "test"))
