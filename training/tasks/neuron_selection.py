"""Which neurons of a recipe's teachers are worth learning: MobileID's choice, made once and written beside the runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.atomic_folder import write_json
from training.backbones.network import build_student
from training.data.crops import CropSet
from training.distillation.neurons import IDENTITY, describe_neurons, select_neurons
from training.distillation.teacher_targets import compute_targets
from training.distillation.teachers import Teacher, open_teacher
from training.distillation.terms.targets import Concat
from training.errors import SetInvalid
from training.recipe import Roots
from training.tasks.embedding import EmbeddingRecipe


@dataclass(frozen=True, slots=True)
class Chosen:
    """How many neurons were chosen of how many, how many of each teacher's, and the file that lists them."""

    count: int
    total: int
    shares: dict[str, int]
    path: Path


def choose_neurons(recipe: EmbeddingRecipe, people: CropSet, roots: Roots, balance: float) -> list[Chosen]:
    """Choose as many neurons as the student gives, for every `select` target of a recipe, and write their files.

    `people` carry CelebA's attributes; `balance` is the weight against neurons that say the same.

    Raises:
        SetInvalid: Without attributes.
        TeacherMissing: There is no such teacher.
        CheckpointInvalid: There is no checkpoint, or it does not fit.
    """
    if people.attributes is None or not set(people.attribute_names) >= IDENTITY:
        raise SetInvalid(f"{people.name} does not carry CelebA's attributes: prepare it with its attributes.csv")
    identity = np.array([name in IDENTITY for name in people.attribute_names])
    choices = []
    for term in recipe.terms:
        if not isinstance(term.target, Concat) or term.target.select is None:
            continue
        teachers = [open_teacher(name, recipe.teachers[name], roots) for name in term.target.teachers]
        outputs = [compute_targets(roots.runs / "targets", teacher.embeds, people) for teacher in teachers]
        described = describe_neurons(np.concatenate(outputs, axis=1), people.attributes)
        width = build_student(recipe.student, recipe.input).dim
        chosen = select_neurons(described, identity, width, balance=balance)
        shares = {t.name: sum(lo <= i < lo + t.embeds.dim for i in chosen.neurons) for t, lo in _offsets(teachers)}
        path = roots.runs / term.target.select
        write_json(path, {"neurons": chosen.neurons, "of": shares, "digest": people.digest, "balance": balance})
        choices.append(Chosen(len(chosen.neurons), len(described), shares, path))
    return choices


def _offsets(teachers: Sequence[Teacher]) -> Iterator[tuple[Teacher, int]]:
    start = 0
    for teacher in teachers:
        yield teacher, start
        start += teacher.embeds.dim
