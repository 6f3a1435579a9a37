"""What all replies share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

T = TypeVar("T")
Timings = dict[str, float]

STAGES = "Seconds per stage: wait (for a worker), decode, detect, align, embed, then compare, search or commit."


def rounded(seconds: Mapping[str, float]) -> Timings:
    """Round the seconds of stages to microseconds."""
    return {name: round(taken, 6) for name, taken in seconds.items()}


class Reply(BaseModel):
    """What all replies share: they are made once, and where the names agree of any object with such attributes."""

    model_config = ConfigDict(frozen=True, from_attributes=True)


class Page(Reply, Generic[T]):
    """A part of a list. `next_cursor` asks for the part after it; null at the end."""

    items: list[T]
    next_cursor: str | None

    @classmethod
    def model_parametrized_name(cls, params: tuple[Any, ...]) -> str:
        """Name a page after what it lists, as generated clients will."""
        return f"{params[0].__name__}Page"
