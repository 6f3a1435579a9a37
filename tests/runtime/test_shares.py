"""Shares: nobody takes everything, and there is always some left for one more."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from service.runtime.shares import Shares


def fill(shares: Shares, holder: str) -> int:
    """Take for a holder as much as it gets, one by one."""
    count = 0
    while shares.take(holder):
        count += 1
    return count


def test_one_holder_gets_half_and_further_ones_half_of_what_is_left() -> None:
    shares = Shares(64)
    assert [fill(shares, holder) for holder in "abc"] == [32, 16, 8]
    shares.give("a", 32)
    assert fill(shares, "b") == 12
    assert shares.taken == 28 + 8


def test_a_base_comes_on_top() -> None:
    assert fill(Shares(66, base=2), "a") == 34


def test_without_fairness_only_the_total_counts() -> None:
    shares = Shares(8)
    assert all(shares.take("a", fair=False) for _ in range(8))
    assert not shares.take("a", fair=False)


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(1, 20), st.booleans()), max_size=80))
def test_the_total_is_never_passed_and_everything_comes_back(plan: list[tuple[str, int, bool]]) -> None:
    shares = Shares(50)
    held: list[tuple[str, int]] = []
    for holder, amount, back in plan:
        if back and held:
            shares.give(*held.pop())
        elif shares.fits(holder, amount):
            assert shares.take(holder, amount)
            held.append((holder, amount))
        else:
            assert not shares.take(holder, amount)
        assert shares.taken == sum(amount for _, amount in held) <= 50
    for one in held:
        shares.give(*one)
    assert shares.taken == 0
    assert shares.take("anybody", 50)
