"""The root of every error that this service raises on purpose.

::

    FacetError
    |-- service.face.errors      images, faces, models, thresholds
    |-- service.database.errors  storage, cursors
    |-- service.index.errors     vectors
    |-- service.gallery.errors   collections, subjects, faces
    |-- service.rollout.errors   roles of models, outcomes of decisions
    `-- service.keys, service.runtime.executor, service.api   who may ask, and how much

Each concrete class carries a stable `code`; the HTTP edge maps classes to problem details in one table.
"""

from __future__ import annotations

from typing import ClassVar


class FacetError(Exception):
    """An expected failure, with a message for the caller and a code for programs."""

    code: ClassVar[str] = "facet_error"
