"""Normalised scores on an index of cosines: the k best of all, whatever the offsets, and the same in a claim."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from service.database.encryption import Keyring
from service.gallery.embedded import open_embedded
from service.gallery.errors import DuplicateSubject
from service.gallery.gallery import Gallery
from service.gallery.records import DuplicateCheck, DuplicatePolicy, NewFace
from service.index import normalised
from service.index.base import Backlog, CandidateList, Matrix
from service.index.milvus.index import MOST_CANDIDATES, MilvusIndex
from service.index.normalised import DEEPEST, NEAREST
from service.index.scoring import Scoring
from service.index.stored_templates import TemplateReader
from tests.gallery.vectors import people, unit

A = "a" * 64
PEOPLE, EACH, DIM = 150, 2, 24
VECTORS = people(PEOPLE, EACH, DIM)
DIRECTION = unit(np.random.default_rng(5).standard_normal(DIM))


def offsets(vectors: Matrix) -> NDArray[np.float32]:
    """What lies along one direction loses most of its score."""
    return np.asarray(-0.9 * np.maximum(0, vectors @ DIRECTION), np.float32)


def face(at: int, source: str) -> NewFace:
    return NewFace(f"face-{at}", {A: VECTORS[at]}, {}, (1, 2, 3, 4), ((0.5, 1),) * 5, source)


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gallery]:
    made = open_embedded(tmp_path_factory.mktemp("data") / "data")
    made.create_collection("main")
    for person in range(PEOPLE):
        faces = [face(at, f"{at:064x}") for at in range(person * EACH, (person + 1) * EACH)]
        made.enroll("main", f"p{person}", faces)
    yield made
    made.close()


def best(probe: Matrix, own: float, k: int) -> list[tuple[str, float]]:
    """The k best people and their scores, by comparing with everybody."""
    scores = (VECTORS @ probe + offsets(VECTORS) + own).reshape(PEOPLE, EACH).max(axis=1)
    return [(f"p{at}", float(scores[at])) for at in np.argsort(-scores)[:k]]


def test_the_best_by_the_normalised_score_are_found_far_down_the_list_by_cosine(gallery: Gallery) -> None:
    """Probes along the direction that costs: whoever is nearest by cosine is among the last by score."""
    probes = unit(DIRECTION + 0.3 * np.random.default_rng(1).standard_normal((12, DIM)))
    own = offsets(probes)
    found = gallery.search("main", A, probes, 5, Scoring(own, offsets))
    by_cosine = gallery.search("main", A, probes, 5)
    for hits, plain, probe, mine in zip(found, by_cosine, probes, own, strict=True):
        wanted = best(probe, float(mine), 5)
        assert [hit.subject for hit in hits] == [name for name, _ in wanted]
        assert [hit.score for hit in hits] == pytest.approx([score for _, score in wanted], abs=1e-3)
        assert {hit.subject for hit in hits} != {hit.subject for hit in plain}


def test_nobody_above_what_matters_is_missing(gallery: Gallery) -> None:
    probes = unit(DIRECTION + 0.3 * np.random.default_rng(2).standard_normal((12, DIM)))
    own = offsets(probes)
    for least in (-0.5, -0.3, -0.2):
        found = gallery.search("main", A, probes, 5, Scoring(own, offsets, least))
        for hits, probe, mine in zip(found, probes, own, strict=True):
            wanted = [name for name, score in best(probe, float(mine), 5) if score >= least + 1e-3]
            assert [hit.subject for hit in hits][: len(wanted)] == wanted


def test_only_the_nearest_are_read_where_they_settle_it(gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    """A template costs a row of the database and its checksum."""
    read: list[int] = []
    whole = TemplateReader.read

    def count(self: TemplateReader, entries: Sequence[Any], dim: int) -> tuple[NDArray[np.bool_], Matrix]:
        read.append(len(entries))
        return whole(self, entries, dim)

    monkeypatch.setattr(TemplateReader, "read", count)
    probe = VECTORS[8:9]
    (found,) = gallery.search(
        "main", A, probe, 1, Scoring(offsets(probe), lambda stored: np.zeros(len(stored), np.float32))
    )
    assert found[0].subject == "p4"
    assert read == [NEAREST * EACH, 1]


def test_a_claim_takes_the_best_template_by_the_normalised_score(gallery: Gallery) -> None:
    probe = VECTORS[8]
    own = offsets(probe[None])
    hit = gallery.compare("main", "p4", A, probe, Scoring(own, offsets))
    scores = VECTORS[8:10] @ probe + offsets(VECTORS[8:10]) + own[0]
    assert hit.score == pytest.approx(float(scores.max()), abs=1e-3)
    assert hit.face_id == f"face-{8 + int(scores.argmax())}"


def test_copies_of_one_photograph_are_one_picture(gallery: Gallery) -> None:
    assert gallery.counts.photographs("main", "p0", [A]) == EACH
    assert gallery.counts.photographs("main", "p0", ["b" * 64]) == 0
    copies = [replace(face(0, "ab" * 32), id=f"copy-{i}") for i in range(3)]
    gallery.enroll("main", "copied", copies)
    assert gallery.counts.photographs("main", "copied", [A]) == 1
    gallery.delete_subject("main", "copied")


def test_duplicates_are_looked_for_by_the_normalised_score(tmp_path: Path) -> None:
    """Two strangers along the direction match by cosine and not by the score; the same person does by both."""
    made = open_embedded(tmp_path / "data")
    made.create_collection("main")
    near = unit(DIRECTION + 0.05 * np.random.default_rng(3).standard_normal((2, DIM)))

    def scoring(_: str, probes: Matrix, least: float = 0.0) -> Scoring:
        return Scoring(offsets(probes), offsets, least)

    def enroll(name: str, vector: Matrix, check: DuplicateCheck) -> None:
        new = NewFace(f"face-{name}", {A: vector}, {}, (1, 2, 3, 4), ((0.5, 1),) * 5, "cd" * 32)
        made.enroll("main", name, [new], duplicate=check)

    plain = DuplicateCheck(DuplicatePolicy.REJECT, A, 0.5)
    by_score = replace(plain, scoring=scoring)
    enroll("one", near[0], by_score)
    with pytest.raises(DuplicateSubject):
        enroll("two", near[1], plain)
    enroll("two", near[1], by_score)
    with pytest.raises(DuplicateSubject):
        enroll("three", near[1], replace(by_score, threshold=float(1 + 2 * offsets(near[1:])[0]) - 0.01))
    made.close()


def test_people_are_counted_and_not_their_photographs(gallery: Gallery) -> None:
    assert gallery.counts.people("main", [A]) == PEOPLE
    assert gallery.counts.templates("main", A) == PEOPLE * EACH
    assert gallery.counts.people("main", ["b" * 64]) == 0
    ids = [gallery.subject("main", name).id for name in ("p0", "p7")]
    assert gallery.counts.photographs_of("main", ids, [A]) == dict.fromkeys(ids, EACH)


class Endless:
    """An index of people who are all as near as can be, and have no templates; notes how many it is asked for."""

    def __init__(self) -> None:
        self.lengths: list[int] = []

    def search(self, _: object, __: object, probes: Matrix, k: int) -> list[CandidateList]:
        self.lengths.append(k)
        return [CandidateList(np.arange(k), 10**9 + np.arange(k), np.ones(k, np.float32)) for _ in probes]

    def answers(self, _: int) -> bool:
        return True

    def nearest(self, _: object, probes: Matrix, reach: int) -> list[list[int]]:
        self.lengths.append(reach)
        return [list(range(10**9, 10**9 + reach)) for _ in probes]


def test_a_search_that_nothing_settles_asks_for_no_more_than_it_looks_at(gallery: Gallery) -> None:
    index: Any = Endless()
    reader, scoring = TemplateReader(Keyring.empty()), Scoring(offsets(VECTORS[:1]), offsets)
    given = {"reader": reader, "place": (1, 1), "dim": DIM, "probes": VECTORS[:1], "k": 5, "scoring": scoring}
    (found,), unknown = gallery.database.read(lambda connection: normalised.search(connection, index, **given))
    assert unknown
    assert len(found.rows) == 0
    assert max(index.lengths) == index.lengths[-1] == DEEPEST


@pytest.mark.parametrize("k", [5, 2048, 5000])
def test_milvus_is_asked_for_no_more_than_it_gives(gallery: Gallery, k: int) -> None:
    milvus: Any = object.__new__(MilvusIndex)
    milvus.copy, milvus.relay = Endless(), SimpleNamespace(backlog=Backlog(0, 0.0))
    milvus._reader = TemplateReader(Keyring.empty())
    (found,) = gallery.database.read(lambda connection: milvus.search(connection, (1, 1), VECTORS[:1], k))
    assert len(found.rows) == 0
    assert max(milvus.copy.lengths) == milvus.copy.lengths[-1] == MOST_CANDIDATES
