"""What one model decided of one probe, and what two models' decisions have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from service.decision import Outcome

Route = Literal["verify", "identify"]
VERIFY: Final = "verify"
IDENTIFY: Final = "identify"


@dataclass(frozen=True, slots=True)
class ModelDecision:
    """A model's decision. `fmr` is what its threshold promises: the FMR of a verification, the FPIR of a search."""

    model: str
    """Its digest."""
    score: float | None
    threshold: float
    fmr: float | None
    decision: str
    subjects: tuple[str, ...]
    """Ids of the subjects compared with, best first; none for two images."""
    seconds: float
    """To embed and to compare or search."""

    @property
    def accepts(self) -> bool:
        """Whether it is a match."""
        return self.decision == Outcome.MATCH

    def rank_of_first(self, other: ModelDecision) -> int | None:
        """Find where this one's list has the other's first subject; None when it is not in the list."""
        first = other.subjects[0] if other.subjects else None
        return self.subjects.index(first) + 1 if first in self.subjects else None

    def agrees(self, other: ModelDecision) -> bool:
        """Say whether both decide the same and, where both match, on the same subject."""
        return self.decision == other.decision and (not self.accepts or self.subjects[:1] == other.subjects[:1])
