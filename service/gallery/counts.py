"""What a gallery holds, counted: templates, people, photographs, faces without a model's template."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol, TypeVar

import sqlalchemy as sa

from service.database.schema import collections, models
from service.gallery import queries, template_coverage
from service.gallery.records import Size
from service.index.base import VectorIndex

T = TypeVar("T")


class Read(Protocol):
    """Runs a function on one consistent state of the database."""

    def __call__(self, read: Callable[[sa.Connection], T]) -> T:
        """Return what `read` returns."""
        ...


class Counts:
    """Counts what a gallery holds; every method may be called from any thread."""

    def __init__(self, index: VectorIndex, read: Read) -> None:
        """Count in `index` and in what `read` opens."""
        self._index, self._read = index, read

    def templates(self, collection: str, digest: str) -> int:
        """Count the templates of a model in a collection: comparisons made by one search.

        Raises:
            CollectionNotFound: There is no collection of that name.
        """

        def read(connection: sa.Connection) -> int:
            row = queries.collection_row(connection, collection)
            model = queries.model_row(connection, digest)
            return 0 if model is None else self._index.count(connection, (row, model))

        return self._read(read)

    def people(self, collection: str, digests: Sequence[str]) -> int:
        """Count the subjects with templates of these models. Reads every template of theirs.

        Raises:
            CollectionNotFound: There is no collection of that name.
        """
        return self._read(partial(template_coverage.people, collection=collection, digests=digests))

    def photographs_of(self, collection: str, subject_ids: Sequence[str], digests: Sequence[str]) -> dict[str, int]:
        """Count, by the id of each subject, the different photographs of which it has templates of these models.

        Raises:
            CollectionNotFound: There is no collection of that name.
        """
        return self._read(
            partial(template_coverage.pictures_of, collection=collection, subject_ids=subject_ids, digests=digests)
        )

    def photographs(self, collection: str, subject: str, digests: Sequence[str]) -> int:
        """Count the different photographs of which a subject has templates of these models.

        Raises:
            CollectionNotFound: There is no collection of that name.
            SubjectNotFound: The collection has no subject of that name.
        """
        return self._read(partial(template_coverage.pictures, collection=collection, subject=subject, digests=digests))

    def models(self, collection: str, subject: str | None = None) -> tuple[str, ...]:
        """Return digests of the models with templates there.

        Raises:
            CollectionNotFound: There is no collection of that name.
            SubjectNotFound: The collection has no subject of that name.
        """
        return self._read(partial(template_coverage.models_in, collection=collection, subject=subject))

    def faces_without(self, collection: str, digests: Sequence[str], subject: str | None = None) -> int:
        """Count the faces there without a template of any of these models.

        Raises:
            CollectionNotFound: There is no collection of that name.
            SubjectNotFound: The collection has no subject of that name.
        """
        return self._read(
            partial(template_coverage.faces_without, collection=collection, digests=digests, subject=subject)
        )

    def sizes(self) -> list[Size]:
        """Return every collection and model with its templates and the memory of its index."""

        def read(connection: sa.Connection) -> list[Size]:
            names = dict(connection.execute(sa.select(collections.c.row, collections.c.name)).all())
            digests = dict(connection.execute(sa.select(models.c.row, models.c.digest)).all())
            held = self._index.sizes(connection)
            return [
                Size(names[collection], digests[model], count, memory)
                for (collection, model), (count, memory) in held.items()
                if collection in names and model in digests and count
            ]

        return self._read(read)
