"""The embedding task: a student learns from labels, from teachers, or from both.

A recipe chooses on four axes (view, initialisation, head, terms); every published system that this project carries is a
setting of these, and none has code of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import ConfigDict, Field
from torch import Tensor, nn

from training.backbones.backbone import Student
from training.backbones.eight_bits.rounding import EightBits
from training.backbones.initialise import Initialisation, Random
from training.backbones.network import StudentRecipe, build_student, example, load_student
from training.data.augment import Augment
from training.data.crops import open_sets
from training.data.samples import CropSource, DataSpec, Pool, gather
from training.distillation.losses import Head, HeadSpec
from training.distillation.teachers import TeacherSpec, open_teacher
from training.distillation.teaching import Teaching, arrange
from training.distillation.terms.taps import View
from training.distillation.terms.targets import Concat, read_neurons
from training.distillation.terms.term import Term, TermSpec
from training.engine.task import Exported, Task, TaskKind
from training.errors import RecipeInvalid, TeacherMismatch
from training.recipe import Part, Roots
from training.tasks.first_weights import initialise, ready_for_eight_bits, regress


class ViewSpec(Part):
    """What teachers see: the `clean` crop (targets are computed once) or the `shared` augmented one (each step)."""

    teacher: Literal["clean", "shared"] = "clean"


class Quantise(Part):
    """The student is rounded as its 8-bit form will be, at every step; ranges are found on so many crops at the start.

    For last steps: begin from a finished run or from kept weights, at a low rate.
    """

    crops: int = Field(default=200, gt=0)


class EmbeddingRecipe(StudentRecipe):
    """One run of the embedding task. With `quantise` its student is trained for 8-bit arithmetic."""

    model_config = ConfigDict(extra="forbid")

    data: DataSpec
    teachers: dict[str, TeacherSpec] = Field(default_factory=dict)
    view: ViewSpec = ViewSpec()
    init: Initialisation = Random(kind="random")
    head: HeadSpec = HeadSpec()
    terms: tuple[TermSpec, ...] = ()
    augment: Augment = Augment()
    quantise: Quantise | None = None


class EmbeddingTask(Task):
    """Student, head and adapters; teachers stay outside what is trained and saved."""

    ranges: Tensor | None

    def __init__(self, recipe: EmbeddingRecipe, roots: Roots, *, points: bool = False) -> None:
        """`points`: batches carry landmarks.

        Raises:
            RecipeInvalid: The recipe is missing, misspelt or contradicts itself.
            DataError: A set is missing or damaged.
            TeacherError: A teacher is missing or does not fit.
            InitialisationFailed: Too few tensors match.
        """
        super().__init__()
        self.recipe = recipe
        pool = gather(open_sets(roots.data, list(recipe.data.sets)), recipe.data)
        self.student = build_student(recipe.student, recipe.input)
        teachers = {name: open_teacher(name, spec, roots) for name, spec in recipe.teachers.items()}
        described = {name: (recipe.teachers[name], teacher) for name, teacher in teachers.items()}
        started, inherited = initialise(self.student, recipe.init, recipe, described, roots, pool)
        teaching = arrange(teachers, recipe.head, recipe.terms, recipe.view.teacher, pool, roots.runs / "targets")
        regressed = regress(self.student, recipe.init, recipe, teaching, pool)
        bits = recipe.quantise
        ranges = ready_for_eight_bits(self.student, bits.crops, recipe, pool) if bits is not None else None
        # goes with the weights, which are exported with what they were trained for
        self.register_buffer("ranges", ranges)
        self._rounded = EightBits(self.student)
        self._networks = dict(teaching.networks)
        self.frozen = tuple(teacher.network for teacher in self._networks.values())
        self._central = tuple(teaching.centres)
        for name, centres in teaching.centres.items():
            self.register_buffer(f"centres_{name}", centres, persistent=False)
        self.source = CropSource(
            pool,
            recipe.input,
            recipe.augment,
            per_identity=recipe.data.per_identity,
            reduced=recipe.data.reduced,
            cached=teaching.cached,
            live=teaching.live,
            views={name: network.input for name, network in self._networks.items()},
            points=points,
        )
        self.head = _build_head(recipe, self.student.dim, pool, teaching)
        self.terms = self._build_terms(roots)
        self.facts = {
            "initialisation": f"{started}{regressed}",
            "data": inherited | {crops.name: crops.digest for crops in pool.sets},
            "crops": len(pool),
            "classes": pool.classes if self.head is not None else (),
            "teachers": {name: teacher.embeds.digest for name, teacher in teachers.items()},
            "spaces": {name: teacher.space for name, teacher in teachers.items()},
        }

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Weighted losses: `head`, and one per term."""
        student, teachers, labels = self.look(batch), self.teach(batch), batch["label"]
        losses: dict[str, Tensor] = {}
        if self.head is not None:
            name = self.recipe.head.teacher
            goal = teachers[name].embedding if name is not None else None
            with torch.autocast(labels.device.type, enabled=False):
                losses["head"] = self.recipe.head.weight * self.head.loss(student.embedding, labels, goal)
        return losses | self.compare(student, teachers, labels)

    def compare(self, student: View, teachers: Mapping[str, View], labels: Tensor) -> dict[str, Tensor]:
        """The losses of the terms."""
        names = [f"{number}.{spec.name}" for number, spec in enumerate(self.recipe.terms)]
        return {name: term(student, teachers, labels) for name, term in zip(names, self.terms, strict=True)}

    def look(self, batch: Mapping[str, Tensor]) -> View:
        """What the student makes of a batch."""
        if self.ranges is None:
            embedding, stages = self.student.features(batch["x"])
        else:
            embedding, stages = self._rounded.features(batch["x"], self.ranges)
        return View(embedding.float(), stages, self.head.logits if self.head is not None else None)

    @torch.no_grad()
    def teach(self, batch: Mapping[str, Tensor]) -> dict[str, View]:
        """What every teacher makes of it, or made of it once."""
        views: dict[str, View] = {}
        for name in self.recipe.teachers:
            logits = partial(self._logits, name) if name in self._central else None
            if name in self._networks:
                network = self._networks[name].network
                embedding, stages = network.features(batch[f"view.{name}"])
                views[name] = View(embedding.float(), stages, logits, partial(_tail, network))
            elif f"target.{name}" in batch:
                views[name] = View(batch[f"target.{name}"], logits=logits)
        return views

    def _logits(self, name: str, embedding: Tensor) -> Tensor:
        centres: Tensor = getattr(self, f"centres_{name}")
        with torch.autocast(embedding.device.type, enabled=False):
            return self.recipe.head.scale * F.linear(F.normalize(embedding), F.normalize(centres))

    def _build_terms(self, roots: Roots) -> nn.ModuleList:
        """Terms measure shapes on one real batch of two crops."""
        arrays = self.source.batch(np.array([0, 0]), np.random.default_rng(0))
        batch = {name: torch.from_numpy(array) for name, array in arrays.items()}
        self.student.eval()
        with torch.no_grad():
            student, teachers = self.look(batch), self.teach(batch)
        self.student.train()
        terms = []
        for spec in self.recipe.terms:
            target = spec.target
            chosen = target.select if isinstance(target, Concat) else None
            neurons = read_neurons(roots.runs / chosen) if chosen is not None else None
            terms.append(Term(spec, student, teachers, neurons))
        head = self.recipe.head
        if head.teacher is not None and (width := teachers[head.teacher].embedding.shape[1]) != self.student.dim:
            raise TeacherMismatch(
                f"head: its centres come from teacher {head.teacher} with {width} values, "
                f"the student gives {self.student.dim}; set the student's dim to {width}"
            )
        return nn.ModuleList(terms)


def _build_head(recipe: EmbeddingRecipe, dim: int, pool: Pool, teaching: Teaching) -> Head | None:
    spec = recipe.head
    if spec.kind == "none":
        if not recipe.terms and type(recipe) is EmbeddingRecipe:
            raise RecipeInvalid("a recipe without a head needs at least one term")
        if any(term.tap == "logits" for term in recipe.terms):
            raise RecipeInvalid("terms on logits need a head with class centres")
        return None
    if not pool.classes:
        raise RecipeInvalid(f"head: {', '.join(recipe.data.sets)} carry no identity, so there are no classes")
    if spec.kind in ("frozen", "ema") and spec.teacher is None:
        raise RecipeInvalid("head: the kinds frozen and ema need a `teacher`")
    starts = spec.kind in ("learned", "frozen") and spec.teacher is not None
    centres = teaching.centres[str(spec.teacher)] if starts else None
    return Head(spec, len(pool.classes), dim, centres)


def _tail(network: Student, x: Tensor, after: int) -> Tensor:
    return network.tail(x, after=after).float()


class _Embedding(nn.Module):
    """The student alone, as it is exported: pixels (N, 3, S, S) -> embedding (N, D)."""

    def __init__(self, student: Student) -> None:
        super().__init__()
        self.student = student

    def forward(self, x: Tensor) -> Tensor:
        embedding: Tensor = self.student(x)
        return embedding


def restore(recipe: EmbeddingRecipe, state: Mapping[str, Tensor]) -> Exported:
    """The student without head or adapters.

    Raises:
        CheckpointInvalid: There is no checkpoint, or it does not fit.
        RecipeInvalid: The recipe is missing, misspelt or contradicts itself.
    """
    student = build_student(recipe.student, recipe.input)
    load_student(student, state)
    return Exported(_Embedding(student).eval(), example(recipe.input), ("embedding",))


EMBEDDING = TaskKind(EmbeddingRecipe, EmbeddingTask, restore)
