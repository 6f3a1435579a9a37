"""What is read of a CompreFace service, wherever it comes from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Protocol

from service.errors import FacetError


class SourceInvalid(FacetError):
    """A CompreFace service or a dump of its database cannot be read."""

    code: ClassVar[str] = "source_invalid"


@dataclass(frozen=True, slots=True)
class Example:
    """One enrolled face of CompreFace: its id, whose it is, and its picture, None where none was kept."""

    image_id: str
    subject: str
    image: bytes | None


class Source(Protocol):
    """A service of CompreFace."""

    def subjects(self) -> list[str]:
        """The names of all subjects, also of those without a face."""
        ...

    def examples(self) -> Iterator[Example]:
        """All enrolled faces, each with its picture. Raises: SourceInvalid."""
        ...
