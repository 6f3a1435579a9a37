"""How each teacher of a recipe reaches the loss: from the cache, by being asked each step, or with its inside open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.data.embeds import Embeds
from training.data.samples import Pool
from training.distillation.losses import HeadSpec, class_means
from training.distillation.teacher_targets import compute_targets
from training.distillation.teachers import NetworkTeacher, Teacher
from training.distillation.terms.targets import Same, Tail
from training.distillation.terms.term import TermSpec
from training.errors import RecipeInvalid, TeacherMismatch

Seen = Literal["clean", "shared"]


@dataclass(frozen=True, slots=True)
class Teaching:
    """How the teachers of a recipe are consulted, each by its name.

    Attributes:
        cached: Targets computed once, one array per set.
        live: Networks that embed the augmented crops.
        networks: Open networks that run inside the loop.
        centres: Class centres (classes, D).
    """

    cached: Mapping[str, Sequence[NDArray[np.float32]]]
    live: Mapping[str, Embeds]
    networks: Mapping[str, NetworkTeacher]
    centres: Mapping[str, Tensor]


def arrange(
    teachers: Mapping[str, Teacher],
    head: HeadSpec,
    terms: Sequence[TermSpec],
    seen: Seen,
    pool: Pool,
    folder: Path,
) -> Teaching:
    """Decide for every teacher what is computed when; `folder` holds cached targets.

    Raises:
        RecipeInvalid: For a teacher nobody described or a clean view of open stages.
        TeacherMismatch: A teacher's output does not fit.
    """
    compared = {name for term in terms for name in term.target.teachers}
    if head.teacher is not None:
        compared.add(head.teacher)
    if unknown := compared - set(teachers):
        raise RecipeInvalid(f"teachers: {', '.join(sorted(unknown))} is compared with, but not described")
    central = {term.target.teacher for term in terms if isinstance(term.target, Same) and term.tap == "logits"}
    if head.kind in ("learned", "frozen") and head.teacher is not None:
        central.add(head.teacher)
    opened = {name for term in terms if _looks_inside(term) for name in term.target.teachers}
    for name in sorted(opened):
        if seen == "clean":
            raise RecipeInvalid(f"teacher {name}: stages need the crops of the loop: set view.teacher: shared")
        if teachers[name].network is None:
            raise TeacherMismatch(f"teacher {name} has no open stages: only a network trained here has them")

    networks = {n: net for n in sorted(compared) if seen == "shared" and (net := teachers[n].network) is not None}
    return Teaching(
        cached={n: _targets(teachers[n], pool, folder) for n in sorted(compared) if seen == "clean"},
        live={n: teachers[n].embeds for n in sorted(compared) if seen == "shared" and n not in networks},
        networks=networks,
        centres={n: _centres(teachers[n], pool, folder) for n in sorted(central)},
    )


def _targets(teacher: Teacher, pool: Pool, folder: Path) -> list[NDArray[np.float32]]:
    return [compute_targets(folder, teacher.embeds, crops) for crops in pool.sets]


def _centres(teacher: Teacher, pool: Pool, folder: Path) -> Tensor:
    """The teacher's own centres where it was trained on these very classes, else its mean embedding of each class."""
    if not pool.classes:
        raise RecipeInvalid(f"teacher {teacher.name}: class centres need identities, and these sets have none")
    if teacher.centres is not None and teacher.classes == pool.classes:
        return teacher.centres
    values = np.asarray(pool.take(_targets(teacher, pool, folder), np.arange(len(pool))), np.float32)
    return class_means(torch.from_numpy(values), torch.from_numpy(pool.label), len(pool.classes))


def _looks_inside(term: TermSpec) -> bool:
    target = term.target
    return isinstance(target, Tail) or (isinstance(target, Same) and (target.tap or term.tap).startswith("stage_"))
