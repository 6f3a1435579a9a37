"""A student's first weights, as its recipe's `init` says: from where, which gates are settled, what is fitted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from service.face.embedding.preprocess import to_tensor
from service.face.manifest import InputSpec
from service.face.registry import Registry
from training.backbones import WEIGHTS
from training.backbones.backbone import Student
from training.backbones.eight_bits.equalise import equalise
from training.backbones.eight_bits.ranges import find_ranges, places
from training.backbones.initialise import (
    FromModel,
    FromRun,
    FromTeacher,
    FromWeights,
    Initialisation,
    Random,
    copy_weights,
)
from training.backbones.network import StudentRecipe, StudentSpec, build_student, restore_student
from training.backbones.regress import regress_output
from training.backbones.settle import settle
from training.backbones.weights import KEPT, read_facts, read_student
from training.data.samples import Pool
from training.distillation.teachers import ModelTeacher, Teacher, TeacherSpec
from training.distillation.teaching import Teaching
from training.engine.checkpoint import load_finished
from training.errors import InitialisationFailed, RecipeInvalid
from training.recipe import Roots


class Earlier(NamedTuple):
    """A network begun from: its input, what it is called in messages, and the sets it was trained on with digests."""

    student: Student
    input: InputSpec
    name: str
    data: dict[str, str]


def initialise(
    student: Student,
    init: Initialisation,
    recipe: StudentRecipe,
    teachers: Mapping[str, tuple[TeacherSpec, Teacher]],
    roots: Roots,
    pool: Pool,
) -> tuple[str, dict[str, str]]:
    """Give the student its first weights; says what was done, and which sets, with their digests, they come from.

    Raises:
        InitialisationFailed: Too few tensors match.
        RecipeInvalid: The recipe is missing, misspelt or contradicts itself.
    """
    if isinstance(init, Random):
        return "random", {}
    earlier = _of_teacher(init, recipe, teachers, roots) if isinstance(init, FromTeacher) else _of_model(init, roots)
    settled = ""
    if init.settle is not None:
        pixels = _shown(pool, init.settle, recipe.seed, earlier.input)[0]
        settled = f", {settle(earlier.student, student, pixels)} gates settled"
    copied = copy_weights(student, earlier.student.state_dict(), init.minimum, earlier.name)
    return f"{copied}{settled}", earlier.data


def regress(student: Student, init: Initialisation, recipe: StudentRecipe, teaching: Teaching, pool: Pool) -> str:
    """Fit the last layer to a teacher's targets where the recipe says so; says what was done.

    Raises:
        RecipeInvalid: That teacher's targets are not computed.
        InitialisationFailed: The last layer cannot be fitted.
    """
    regression = None if isinstance(init, Random) else init.regress
    if regression is None:
        return ""
    if regression.teacher not in teaching.cached:
        raise RecipeInvalid(f"regress: no term compares with the clean targets of a teacher {regression.teacher!r}")
    pixels, rows = _shown(pool, regression.crops, recipe.seed, recipe.input)
    targets = np.asarray(pool.take(teaching.cached[regression.teacher], rows), np.float32)
    cosine = regress_output(student, pixels, torch.from_numpy(targets))
    return f", last layer fitted to {regression.teacher} at a mean cosine of {cosine:.3f}"


def ready_for_eight_bits(student: Student, crops: int, recipe: StudentRecipe, pool: Pool) -> Tensor:
    """Equalise a student in place (`equalise`), and find its activations' ranges, on so many crops.

    Raises:
        RecipeInvalid: It is another network than those whose rounding is known.
    """
    if not places(student):
        raise RecipeInvalid(f"quantise: it is not known what 8 bits make of a {recipe.student.kind} network")
    pixels, _ = _shown(pool, crops, recipe.seed, recipe.input)
    equalise(student, pixels)
    ranges = find_ranges(student, pixels)
    student.train()
    return ranges


def _of_model(init: FromRun | FromModel | FromWeights, roots: Roots) -> Earlier:
    if isinstance(init, FromWeights):
        kept = KEPT / init.weights
        data = {str(name): str(digest) for name, digest in dict(read_facts(kept)["data"]).items()}  # type: ignore[call-overload]
        return Earlier(*read_student(kept), f"kept weights {init.weights}", data)
    if isinstance(init, FromRun):
        run = load_finished(roots.runs / init.run)
        return Earlier(*restore_student(run), init.run, dict(run.facts["data"]))
    folder = Registry.scan(roots.model_folders).find(init.model)
    name = folder.manifest.identity
    return Earlier(*read_student(folder.path), name, {f"that of {name}": folder.manifest.sha256})


def _of_teacher(
    init: FromTeacher, recipe: StudentRecipe, teachers: Mapping[str, tuple[TeacherSpec, Teacher]], roots: Roots
) -> Earlier:
    if init.teacher not in teachers:
        raise RecipeInvalid(f"init: no teacher {init.teacher!r} is described in this recipe")
    (spec, teacher), name = teachers[init.teacher], f"teacher {init.teacher}"
    if teacher.network is not None:
        return Earlier(teacher.network.network, teacher.network.input, name, {})
    if not isinstance(spec, ModelTeacher) or recipe.student.kind not in WEIGHTS:
        raise InitialisationFailed(f"init: the weights of {name} cannot be read into a {recipe.student.kind} network")
    weights = WEIGHTS[recipe.student.kind](Registry.scan(roots.model_folders).find(spec.model).model_path)
    # the published net at the student's own size, gates and all, so that those can be settled that the student lacks
    whole = StudentSpec.model_validate({"kind": recipe.student.kind, "input_size": recipe.input.width})
    student = build_student(whole, recipe.input)
    copy_weights(student, weights, 1.0, name)
    return Earlier(student.eval(), recipe.input, name, {})


def _shown(
    pool: Pool, count: int, seed: int, spec: InputSpec
) -> tuple[Tensor, np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """So many random crops as network input, and their places in the pool."""
    rows = np.random.default_rng(seed).permutation(len(pool))[:count]
    crops = np.asarray(pool.take([part.crops for part in pool.sets], rows), np.uint8)
    return torch.from_numpy(to_tensor(crops, spec)), rows
