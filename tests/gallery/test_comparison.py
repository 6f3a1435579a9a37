"""A comparison with one person names whom it compared."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from service.database.encryption import Keyring
from service.database.schema import new_id, subjects
from service.gallery.comparison import compare
from service.gallery.embedded import open_embedded
from service.gallery.records import NewFace
from service.index.base import Matrix
from service.index.stored_templates import TemplateReader
from tests.gallery.vectors import people

DIGEST = "a" * 64
ANN, BOB = people(2, 1, 32)


class Interrupted(TemplateReader):
    """Gives the names to others once the templates are read, as another process can between two statements."""

    def __init__(self, connection: sa.Connection) -> None:
        super().__init__(Keyring.empty())
        self._connection = connection

    def read(self, entries: Sequence[Any], dim: int) -> tuple[NDArray[np.bool_], Matrix]:
        for old, new in (("ann", "anna"), ("bob", "ann")):
            self._connection.execute(sa.update(subjects).where(subjects.c.name == old).values(name=new))
        return super().read(entries, dim)


def test_who_gets_the_name_meanwhile_is_not_taken_for_whom_was_compared(tmp_path: Path) -> None:
    with closing(open_embedded(tmp_path)) as gallery:
        gallery.create_collection("main")
        for name, vector in (("ann", ANN), ("bob", BOB)):
            gallery.enroll("main", name, [NewFace(new_id(), {DIGEST: vector})])
        ann = gallery.subject("main", "ann")
        hit = gallery.database.write(
            lambda connection: compare(
                connection, Interrupted(connection), "main", "ann", DIGEST, ANN, scoring=None, face_id=None
            )
        )
    assert (hit.subject, hit.subject_id) == ("ann", ann.id)
