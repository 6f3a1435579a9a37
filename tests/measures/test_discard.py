"""Error against discard, counted one comparison at a time."""

from __future__ import annotations

import numpy as np
import pytest

from service.measures.discard import error_versus_discard

SHARES = (0.0, 0.1, 0.25, 0.5, 0.9)


@pytest.mark.parametrize("seed", range(10))
def test_what_remains_is_counted(seed: int) -> None:
    rng = np.random.default_rng(seed)
    quality = np.round(rng.random(30), 1)  # with ties
    first, second = np.triu_indices(30, 1)
    wrong = rng.random(len(first)) < 0.3
    for share, found in zip(SHARES, error_versus_discard(quality, first, second, wrong, SHARES), strict=True):
        out = {photo for photo in range(30) if quality[photo] < found.cut}
        kept = [bool(bad) for a, b, bad in zip(first, second, wrong, strict=True) if a not in out and b not in out]
        assert found.share == len(out) / 30 <= share
        assert (found.errors, found.comparisons) == (sum(kept), len(kept))
        assert found.rate == pytest.approx(np.mean(kept))
        higher = quality[quality > found.cut]
        assert not len(higher) or (quality < higher.min()).mean() > share, "no more could be left out"


def test_a_perfect_measure_leaves_no_error() -> None:
    """Two of ten photographs spoil all that they take part in."""
    first, second = np.triu_indices(10, 1)
    bad = np.isin(first, (3, 7)) | np.isin(second, (3, 7))
    quality = np.ones(10)
    quality[[3, 7]] = 0.0
    none, both, all_out = error_versus_discard(quality, first, second, bad, (0.0, 0.2, 1.0))
    assert none.rate == bad.mean()
    assert (both.share, both.rate) == (0.2, 0.0)
    assert all_out.rate is not None
    assert error_versus_discard(np.arange(3.0), first[:1], second[:1], bad[:1], (1.0,))[0].rate is None
