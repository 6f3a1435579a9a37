"""Whose embedding space a student lives in: may its templates be compared with its teacher's?"""

from __future__ import annotations

import json
from collections.abc import Sequence

from pydantic import TypeAdapter

from training.distillation.terms.adapters import Identity
from training.distillation.terms.distances import Cosine, SquaredError
from training.distillation.terms.targets import Same
from training.distillation.terms.term import TermSpec
from training.engine.checkpoint import Checkpoint

TERMS: TypeAdapter[tuple[TermSpec, ...]] = TypeAdapter(tuple[TermSpec, ...])


def find_regressed_teacher(terms: Sequence[TermSpec]) -> str | None:
    """Name the one teacher whose embedding the student regresses without an adapter; None where there is no such one.

    Such a student's templates can be compared with the teacher's. Any adapter, selection or label-only training makes
    a space of its own.
    """
    names = {term.target.teacher for term in terms if isinstance(term.target, Same) and _regresses(term)}
    return names.pop() if len(names) == 1 else None


def teacher_space(checkpoint: Checkpoint) -> str | None:
    """Find the space of the teacher in whose space a run's student embeds; None where it has a space of its own."""
    teacher = find_regressed_teacher(TERMS.validate_python(json.loads(checkpoint.recipe).get("terms", ())))
    # runs that are older know their teachers' digests only, and those teachers lived in spaces of their own
    space = checkpoint.facts.get("spaces", checkpoint.facts.get("teachers", {})).get(teacher)
    return str(space) if space is not None else None


def _regresses(term: TermSpec) -> bool:
    return (
        term.tap == "embedding"
        and isinstance(term.target, Same)
        and term.target.tap in (None, "embedding")
        and isinstance(term.adapter, Identity)
        and isinstance(term.distance, Cosine | SquaredError)
    )
