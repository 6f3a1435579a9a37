"""Searches of drawn galleries, each one gone through by hand."""

from __future__ import annotations

import numpy as np
import pytest

from service.measures.identification import draw_searches, gallery_sizes, measure_galleries
from service.measures.thresholds import threshold_at


def people(seed: int, count: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Scores of each photograph with each, and whose they are; the first person has one photograph."""
    rng = np.random.default_rng(seed)
    person = np.repeat(np.arange(count), [1, *rng.integers(1, 5, count - 1)])
    near = person[:, None] == person[None, :]
    scores = rng.normal(np.where(near, 0.5, 0.1), 0.2)
    return np.round((scores + scores.T) / 2, 2).astype(np.float32), person


def test_galleries_grow_to_half_of_the_people() -> None:
    assert gallery_sizes(1) == ()
    assert gallery_sizes(2) == (1,)
    assert gallery_sizes(25) == (10, 12)
    assert gallery_sizes(250) == (10, 20, 50, 100, 125)


@pytest.mark.parametrize("seed", range(8))
def test_each_search_finds_what_a_look_at_all_finds(seed: int) -> None:
    """The draw is told from the scores: a matrix of places shows which photographs met."""
    scores, person = people(seed)
    places = np.arange(scores.size, dtype=np.float32).reshape(scores.shape)
    sizes = (1, 2, 5, 6)
    by_place = list(draw_searches(places, person, sizes, seed))
    for size, found, met in zip(sizes, draw_searches(scores, person, sizes, seed), by_place, strict=True):
        own = [divmod(int(place), len(person)) for place in met.own]
        assert all(person[probe] == person[reference] and probe != reference for probe, reference in own)
        np.testing.assert_array_equal(found.own, [scores[pair] for pair in own])
        enrolled = {int(reference) for _, reference in own}
        assert len(enrolled) <= size
        assert len({person[reference] for reference in enrolled}) == len(enrolled), "one photograph of each"
        probes = {probe for probe, _ in own}
        assert all(
            (np.flatnonzero(person == person[reference]).tolist() == sorted({reference, *mine}))
            for reference in enrolled
            for mine in [{probe for probe in probes if person[probe] == person[reference]}]
        ), "all other photographs are probes"
    largest = by_place[-1]
    strangers = {int(place) // len(person) for place in largest.stranger}
    assert not {person[probe] for probe in strangers} & {person[int(place) // len(person)] for place in largest.own}


def test_rates_by_a_look_at_all() -> None:
    scores, person = people(3, count=40)
    (sizes, threshold, fpir) = ((1, 5, 10, 20), 0.45, 0.1)
    found = measure_galleries(scores, person, sizes, lambda size: threshold, fpir, draws=6, seed=5)
    for place, rates in enumerate(found):
        drawn = [list(draw_searches(scores, person, sizes, 5 + draw))[place] for draw in range(6)]
        drawn = [each for each in drawn if len(each.own)]
        right = [(each.own > each.other) for each in drawn]
        assert rates.size == sizes[place]
        assert rates.fnir is not None
        assert rates.rank_one_miss is not None
        assert rates.fnir.value == pytest.approx(
            np.mean([1 - (r & (each.own >= threshold)).mean() for r, each in zip(right, drawn, strict=True)])
        )
        assert rates.rank_one_miss.value == pytest.approx(np.mean([1 - r.mean() for r in right]))
        if len(drawn) == 6:
            assert rates.fpir.value == pytest.approx(np.mean([(each.stranger >= threshold).mean() for each in drawn]))
        if rates.fnir_at_fpir is not None:
            cut = [threshold_at(each.stranger, fpir) for each in drawn]
            missed = [1 - (r & (e.own >= t)).mean() for r, e, t in zip(right, drawn, cut, strict=True)]
            assert rates.fnir_at_fpir.value == pytest.approx(np.mean(missed))
    assert found[0].rank_one_miss is not None
    assert found[0].rank_one_miss.value == 0, "alone in the gallery"


def test_nobody_with_a_second_photograph_has_no_fnir() -> None:
    scores = np.eye(6, dtype=np.float32)
    (found, *_) = measure_galleries(scores, np.arange(6), (2,), lambda size: 0.5, 0.5, draws=3)
    assert (found.fnir, found.rank_one_miss, found.fpir.value) == (None, None, 0.0)
    assert found.fpir.ci95 == (0.0, 1.0)
    assert measure_galleries(scores, np.arange(6), (), lambda size: 0.5, 0.5) == ()
