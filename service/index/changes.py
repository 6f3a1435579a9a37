"""What a committed change of the database means for the indexes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from service.index.base import Vector


@dataclass(frozen=True, slots=True)
class Added:
    """One new template: its row, its subject, and the vector as the database holds it."""

    collection: int
    model: int
    row: int
    subject: int
    vector: Vector


@dataclass(frozen=True, slots=True)
class Removed:
    """Templates that left the database."""

    collection: int
    model: int
    rows: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Dropped:
    """A collection that left the database with all it held."""

    collection: int


IndexChange: TypeAlias = Added | Removed | Dropped
