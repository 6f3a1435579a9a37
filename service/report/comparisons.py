"""The comparisons that a study makes of its templates, scored as the service scores them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.face.embedding.normalisation import as_probes, as_references
from service.measures.all_pairs import AllPairs, Vectors, compare_all, score_pairs
from service.measures.extremes import Comparison, find_extremes
from service.measures.resampling import Resampled
from service.measures.thresholds import Scores
from service.report.collect import Acquired
from service.report.study import Study

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Compared:
    """Templates of K photographs, and which of them are compared.

    Attributes:
        probes: (K, D+2), whose inner product with `references` is the served score.
        references: (K, D+2).
        person: Of each, 0..P-1, (K,).
        place: Of each in the study, (K,).
        listed: The comparisons of a protocol by rows, and whether they are genuine; None for each with each.
    """

    probes: Vectors
    references: Vectors
    person: Rows
    place: Rows
    listed: tuple[Rows, Rows, NDArray[np.bool_]] | None

    @property
    def people(self) -> int:
        """People with a template."""
        return int(self.person.max()) + 1

    def pairs(self, rows: Rows | None = None) -> tuple[AllPairs, Rows]:
        """Score the comparisons, or those of two of `rows`; and how many photographs each person has among them."""
        if rows is None:
            rows = np.arange(len(self.person))
        person = np.unique(self.person[rows], return_inverse=True)[1].astype(np.int64)
        photographs = np.bincount(person)
        if self.listed is None:
            return compare_all(self.probes[rows], person, self.references[rows]), photographs
        number = np.full(len(self.person), -1)
        number[rows] = person
        first, second, genuine = self.listed
        inside = (number[first] >= 0) & (number[second] >= 0)
        first, second, genuine = first[inside], second[inside], genuine[inside]
        scores = score_pairs(self.probes[first], self.references[second])
        left, right = number[first].astype(np.int32), number[second].astype(np.int32)
        return AllPairs(scores[~genuine], left[~genuine], right[~genuine], scores[genuine], left[genuine]), photographs

    def resampled(self, rounds: int, seed: int, rows: Rows | None = None) -> Resampled:
        """The comparisons, all or those of two of `rows`, to be drawn again by person."""
        pairs, photographs = self.pairs(rows)
        return Resampled(pairs, photographs, self.listed is None, rounds, seed)

    def genuine(self) -> tuple[Rows, Rows, Scores]:
        """The genuine comparisons by rows, and their scores."""
        if self.listed is not None:
            first, second = self.listed[0][self.listed[2]], self.listed[1][self.listed[2]]
        else:
            order = np.argsort(self.person, kind="stable")
            own = np.split(order, np.cumsum(np.bincount(self.person))[:-1])
            joined = [rows[np.stack(np.triu_indices(len(rows), 1))] for rows in own]
            first, second = np.concatenate(joined, axis=1)
        return first, second, score_pairs(self.probes[first], self.references[second])

    def extremes(self, count: int) -> tuple[tuple[Comparison, ...], tuple[Comparison, ...]]:
        """The `count` highest impostor and lowest genuine comparisons, by places in the study."""
        if self.listed is None:
            pairs = find_extremes(self.probes, self.references, self.person, count)
        else:
            first, second, genuine = self.listed
            scores = score_pairs(self.probes[first], self.references[second])
            order = np.argsort(scores, kind="stable")
            rows = [order[genuine[order]][:count], order[~genuine[order]][::-1][:count]]
            lowest, highest = (
                tuple(Comparison(int(first[at]), int(second[at]), float(scores[at])) for at in part) for part in rows
            )
            pairs = highest, lowest
        highest, lowest = (tuple(self._placed(each) for each in part) for part in pairs)
        return highest, lowest

    def _placed(self, each: Comparison) -> Comparison:
        return each._replace(first=int(self.place[each.first]), second=int(self.place[each.second]))

    def matrix(self) -> Vectors:
        """Score each photograph with each, (K, K)."""
        return np.asarray(self.probes @ self.references.T, np.float32)


def compare(study: Study, acquired: Acquired, most: int, seed: int) -> Compared:
    """Choose what is compared: all, or of a folder with more than `most` photographs the people drawn by `seed`."""
    rows = np.arange(len(acquired.rows))
    names = np.array(study.persons)[acquired.rows]
    if study.pairs is None and len(rows) > most:
        _, person = np.unique(names, return_inverse=True)
        order = np.random.default_rng(seed).permutation(int(person.max()) + 1)
        chosen = order[np.cumsum(np.bincount(person)[order]) <= most]
        rows = np.flatnonzero(np.isin(person, chosen))
    vectors, offsets = acquired.templates.vectors[rows], acquired.templates.offsets[rows]
    person = np.unique(names[rows], return_inverse=True)[1].astype(np.int64)
    place = acquired.rows[rows]
    listed = None
    if study.pairs is not None:
        row_of = np.full(len(study.files), -1)
        row_of[place] = np.arange(len(place))
        held = [pair for pair in study.pairs if row_of[pair.first] >= 0 and row_of[pair.second] >= 0]
        listed = (
            row_of[np.array([pair.first for pair in held], np.int64)],
            row_of[np.array([pair.second for pair in held], np.int64)],
            np.array([pair.genuine for pair in held], np.bool_),
        )
    return Compared(as_probes(vectors, offsets), as_references(vectors, offsets), person, place, listed)
