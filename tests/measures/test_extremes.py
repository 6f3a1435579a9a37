"""The ends of all comparisons, against a sort of all."""

from __future__ import annotations

import numpy as np
import pytest

from service.measures import extremes
from service.measures.extremes import find_extremes


@pytest.mark.parametrize("block", [7, 1024])
@pytest.mark.parametrize("count", [1, 5, 1000])
def test_the_ends_are_those_of_a_sort(block: int, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extremes, "BLOCK", block)
    rng = np.random.default_rng(block)
    probes, references = rng.normal(size=(2, 40, 6)).astype(np.float32)
    person = rng.integers(0, 9, 40)
    impostors, genuine = find_extremes(probes, references, person, count)
    scores = probes @ references.T
    pairs = [(i, j) for i in range(40) for j in range(i + 1, 40)]
    highest = sorted((float(scores[i, j]) for i, j in pairs if person[i] != person[j]), reverse=True)[:count]
    lowest = sorted(float(scores[i, j]) for i, j in pairs if person[i] == person[j])[:count]
    assert [each.score for each in impostors] == pytest.approx(highest, abs=1e-5)
    assert [each.score for each in genuine] == pytest.approx(lowest, abs=1e-5)
    assert all(person[each.first] != person[each.second] for each in impostors)
    assert all(scores[each.first, each.second] == pytest.approx(each.score, abs=1e-5) for each in genuine)
