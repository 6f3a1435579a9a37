"""Templates dropped by two processes at once: nobody is left without one by which the champion finds them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from service.database.base import Database
from service.database.schema import new_id
from service.gallery.embedded import open_embedded
from service.gallery.gallery import Gallery
from service.gallery.records import NewFace
from service.models import Models
from service.rollout.backfill import reembeddings
from service.rollout.backfill.reembeddings import Reembeddings
from service.rollout.errors import CoverageMissing
from service.rollout.roles import Roles
from tests.gallery.vectors import people
from tests.rollout.backfill.conftest import Load

A, B = "a" * 64, "b" * 64


@pytest.fixture
def gallery(tmp_path: Path) -> Iterator[Gallery]:
    """Two people in each of two collections, of a template of either model each."""
    with closing(open_embedded(tmp_path / "data")) as made:
        for name in ("first", "second"):
            made.create_collection(name)
            for number, vector in enumerate(people(2, 1, 32)):
                made.enroll(name, f"s{number}", [NewFace(new_id(), {A: vector, B: vector})])
        yield made


class Interrupted:
    """A database in which something else happens after the first change."""

    def __init__(self, database: Database[Any], then: Callable[[], object]) -> None:
        self._database, self._then = database, [then]

    def change_alone(self, work: Callable[[Any], Any]) -> Any:
        result = self._database.change_alone(work)
        if self._then:
            self._then.pop()()
        return result


def test_what_another_process_left_to_this_model_alone_stays(
    gallery: Gallery, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reembeddings, "DROPPED_AT_ONCE", 1)
    loaded = load("teacher")
    champion = loaded.default.manifest
    known = [champion.model_copy(update={"sha256": digest}) for digest in (A, B)]
    models = Models(loaded.detector, loaded.embedders, known=known)
    roles = Roles(models, gallery.database)
    other = Reembeddings(models, gallery.database, roles)
    between: Any = Interrupted(gallery.database, lambda: other.drop(B, "second"))
    with pytest.raises(CoverageMissing, match="2 faces of 'second'"):
        Reembeddings(models, between, roles).drop(A, None)
    assert [gallery.counts.templates(name, A) for name in ("first", "second")] == [0, 2]
    assert [gallery.counts.templates(name, B) for name in ("first", "second")] == [2, 0]
