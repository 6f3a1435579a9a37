"""Identification among people of whom some are enrolled (ISO/IEC 19795-1): FNIR and FPIR by the size of the gallery.

People are drawn in turn: half of them may be enrolled, with one photograph each; the others are strangers. A gallery is
the first N of the one half. Its mated probes are the other photographs of its people, the non-mated probes all
photographs of the strangers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.measures.bootstrap import CI95
from service.measures.intervals import Estimate
from service.measures.resampling import RULE_OF_3
from service.measures.thresholds import AnyScores, threshold_at

SIZES = tuple(step * 10**power for power in range(1, 6) for step in (1, 2, 5))


@dataclass(frozen=True, slots=True)
class Searches:
    """The searches of one gallery.

    Attributes:
        own: The score of each mated probe with its own person, (M,).
        other: Its highest score with anybody else, (M,); minus infinity in a gallery of one.
        stranger: The highest score of each non-mated probe, (K,).
    """

    own: AnyScores
    other: AnyScores
    stranger: AnyScores


@dataclass(frozen=True, slots=True)
class GalleryRates:
    """What searches of galleries of one size come to: means over the draws, intervals that hold 95 % of the draws.

    Attributes:
        size: People enrolled.
        threshold: What a candidate has to reach.
        fnir: Share of mated probes whose person is not found first, at or above the threshold.
        fpir: Share of non-mated probes for which anybody is found.
        rank_one_miss: Share of mated probes whose person is not found first, whatever the score.
        fnir_at_fpir: FNIR where these strangers have the FPIR that was asked, and not the one that was promised; None
            where there are too few of them to say.
    """

    size: int
    threshold: float
    fnir: Estimate | None
    fpir: Estimate
    rank_one_miss: Estimate | None
    fnir_at_fpir: Estimate | None


def gallery_sizes(people: int) -> tuple[int, ...]:
    """Sizes 10, 20, 50, 100, ... up to half of the people, and that half."""
    half = people // 2
    return (*(size for size in SIZES if size < half), half) if half else ()


def draw_searches(
    scores: NDArray[np.float32], person: NDArray[np.int64], sizes: Sequence[int], seed: int
) -> Iterator[Searches]:
    """Draw who is enrolled and who is not, and search galleries of rising sizes.

    Args:
        scores: Of each photograph with each, (N, N).
        person: Of each photograph, 0..P-1, (N,).
        sizes: Of the galleries, rising, at most half of the people.
        seed: Of the draw.
    """
    rng = np.random.default_rng(seed)
    people = rng.permutation(int(person.max()) + 1)
    shuffled = rng.permutation(len(person))
    reference = np.empty(len(people), np.int64)
    reference[person[shuffled]] = shuffled  # the last one written stands: one photograph of each
    enrolled, strangers = people[: max(sizes)], people[len(people) // 2 :]
    place = np.full(len(people), -1)
    place[enrolled] = np.arange(len(enrolled))
    probes = np.flatnonzero(np.isin(person, strangers))
    mated = np.flatnonzero((place[person] >= 0) & (reference[person] != np.arange(len(person))))
    home = place[person[mated]]
    own = scores[mated, reference[person[mated]]]
    against = scores[np.ix_(mated, reference[enrolled])]
    against[np.arange(len(mated)), home] = -np.inf
    unknown = scores[np.ix_(probes, reference[enrolled])]
    for size in sizes:
        inside = home < size
        yield Searches(own[inside], against[inside, :size].max(axis=1, initial=-np.inf), unknown[:, :size].max(axis=1))


def measure_galleries(
    scores: NDArray[np.float32],
    person: NDArray[np.int64],
    sizes: Sequence[int],
    threshold: Callable[[int], float],
    fpir: float,
    *,
    draws: int = 20,
    seed: int = 0,
) -> tuple[GalleryRates, ...]:
    """Measure FNIR, FPIR and the misses at rank 1 for galleries of rising sizes, by drawing again who is enrolled.

    Args:
        scores: Of each photograph with each, (N, N).
        person: Of each photograph, 0..P-1, (N,).
        sizes: Of the galleries, rising.
        threshold: What a candidate has to reach in a gallery of so many people.
        fpir: The rate asked.
        draws: How often it is drawn who is enrolled.
        seed: Of the first draw.
    """
    if not sizes:
        return ()
    drawn = [tuple(draw_searches(scores, person, sizes, seed + number)) for number in range(draws)]
    return tuple(
        _rates(size, [searches[place] for searches in drawn], threshold(size), fpir) for place, size in enumerate(sizes)
    )


def _rates(size: int, drawn: Sequence[Searches], threshold: float, fpir: float) -> GalleryRates:
    mated = [each for each in drawn if len(each.own)]
    enough = [each for each in mated if fpir * len(each.stranger) >= 1]
    return GalleryRates(
        size,
        threshold,
        _mean([_missed(each, threshold) for each in mated]),
        _mean([each.stranger >= threshold for each in drawn]) or Estimate(0.0, None, 0),
        _mean([_missed(each, -np.inf) for each in mated]),
        _mean([_missed(each, threshold_at(each.stranger, fpir)) for each in enough]),
    )


def _missed(searches: Searches, threshold: float) -> NDArray[np.bool_]:
    ranked_first = (searches.own >= threshold) & (searches.own > searches.other)
    return np.asarray(~ranked_first)


def _mean(outcomes: Sequence[NDArray[np.bool_]]) -> Estimate | None:
    """The mean over the draws; trials are those of one draw. Without an error the interval is the rule of 3's."""
    if not outcomes:
        return None
    shares = [float(each.mean()) for each in outcomes]
    trials = max(1, round(np.mean([len(each) for each in outcomes])))
    low, high = np.quantile(shares, CI95)
    if not any(shares):
        high = min(1.0, RULE_OF_3 / trials)
    return Estimate(float(np.mean(shares)), (float(low), float(high)), trials)
