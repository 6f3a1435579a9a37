"""Teachers: any embedder of the registry, dlib's network, or a network trained here, whose inside is open.

All embed canonical crops to unit vectors; each cuts and scales the crop in its own way, which is part of what it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from service.face.embedding.embed import Embedder
from service.face.embedding.preprocess import to_tensor
from service.face.errors import ModelError
from service.face.manifest import InputSpec
from service.face.registry import Registry
from training.atomic_folder import digest_file
from training.backbones.backbone import Student
from training.backbones.network import restore_student
from training.data.embeds import Embeds
from training.distillation.dlib_net import DlibNet
from training.distillation.spaces import teacher_space
from training.engine.checkpoint import FILE, load_finished
from training.errors import TeacherMissing
from training.recipe import Part, Roots


class ModelTeacher(Part):
    """An embedder in the folder of models or in the bundle, by `name` or `name@version`."""

    kind: Literal["model"]
    model: str


class DlibTeacher(Part):
    """dlib's ResNet (CC0), 128 numbers."""

    kind: Literal["dlib"]


class RunTeacher(Part):
    """A finished run in the folder of runs: the only kind with open stages, a tail, and its own class centres."""

    kind: Literal["run"]
    run: str


TeacherSpec = Annotated[ModelTeacher | DlibTeacher | RunTeacher, Field(discriminator="kind")]


@dataclass(frozen=True, slots=True)
class Teacher:
    """A network to learn from.

    Attributes:
        name: Its name in the recipe.
        embeds: Gives its embeddings.
        network: Set where its inside is open.
        centres: Class centres (classes, D), where it was trained with a head.
        classes: The classes they belong to.
        inherited: The space that it was taught to embed in, of a run that regressed another's embedding.
    """

    name: str
    embeds: Embeds
    network: NetworkTeacher | None = None
    centres: Tensor | None = None
    classes: tuple[str, ...] = ()
    inherited: str | None = None

    @property
    def space(self) -> str:
        """The digest that names the space of its embeddings: another model's, where it was taught by one."""
        own = self.embeds.space if isinstance(self.embeds, Embedder) else self.embeds.digest
        return self.inherited or own


class NetworkTeacher:
    """A frozen student-family network together with its input spec."""

    def __init__(self, network: Student, spec: InputSpec, digest: str) -> None:
        self.network = network.eval().requires_grad_(False)
        self.input = spec
        self.dim = network.dim
        self.digest = digest

    @torch.no_grad()
    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """RGB uint8 (N, 128, 128, 3) -> float32 (N, dim), unit rows."""
        values = self.network(torch.from_numpy(to_tensor(crops, self.input)))
        return np.asarray(torch.nn.functional.normalize(values).numpy(), dtype=np.float32)


def open_teacher(name: str, spec: TeacherSpec, roots: Roots) -> Teacher:
    """Load a teacher.

    Raises:
        TeacherMissing: There is no such teacher.
        CheckpointInvalid: There is no checkpoint, it does not fit, or its run is not at its end.
    """
    if isinstance(spec, ModelTeacher):
        try:
            return Teacher(name, Registry.scan(roots.model_folders).embedder(spec.model))
        except ModelError as error:
            places = ", ".join(map(str, roots.model_folders))
            raise TeacherMissing(f"teacher {name}: {error} (looked in {places})") from error
    if isinstance(spec, DlibTeacher):
        return Teacher(name, DlibNet())
    return _open_run(name, spec.run, roots)


def _open_run(name: str, run: str, roots: Roots) -> Teacher:
    folder = roots.runs / run
    checkpoint = load_finished(folder)
    student, pixels = restore_student(checkpoint)
    network = NetworkTeacher(student, pixels, digest_file(folder / FILE))
    centres = checkpoint.best.get("head.centres")
    classes = tuple(checkpoint.facts.get("classes", ()))
    return Teacher(name, network, network, centres, classes, teacher_space(checkpoint))
