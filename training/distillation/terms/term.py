"""One term of the loss: tap -> adapter -> (teacher's tail) -> distance to the target, times a weight."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor, nn

from training.distillation.terms.adapters import Adapter, Identity
from training.distillation.terms.distances import Distance
from training.distillation.terms.taps import Tap, View
from training.distillation.terms.targets import Nothing, Tail, Target
from training.errors import TeacherMismatch
from training.recipe import Part


class TermSpec(Part):
    """A term as a recipe writes it."""

    tap: Tap
    adapter: Adapter = Identity(kind="identity")
    target: Target
    distance: Distance
    weight: float = Field(default=1.0, gt=0)

    @property
    def name(self) -> str:
        """How the term is called in logs, for example `stage_2.tail.cosine`."""
        return f"{self.tap}.{self.target.kind}.{self.distance.kind}"


class Term(nn.Module):
    """A term with its adapter's weights, which are trained and never exported."""

    neurons: Tensor | None

    def __init__(
        self, spec: TermSpec, student: View, teachers: Mapping[str, View], neurons: Tensor | None = None
    ) -> None:
        """Shapes are taken from one pass of each network; `neurons` are those of a `select` target.

        Raises:
            TeacherMismatch: The shapes cannot be joined.
        """
        super().__init__()
        self.spec = spec
        self.register_buffer("neurons", neurons, persistent=False)
        source = student.at(spec.tap, "the student").shape[1:]
        if isinstance(spec.target, Tail):
            tap = spec.target.stage or spec.tap
            teacher, who = teachers[spec.target.teacher], f"teacher {spec.target.teacher}"
            if teacher.tail is None:
                raise TeacherMismatch(f"{who} has no open stages: a tail needs a network trained here")
            self.after = teacher.stage(tap, who)
            shape = teacher.stages[self.after].shape[1:]
        elif isinstance(spec.target, Nothing):
            shape = source
        else:
            shape = self._chosen(spec.target.wanted(spec.tap, teachers)).shape[1:]
        self.adapter = spec.adapter.build(source, shape, f"term {spec.name}")

    def _chosen(self, output: Tensor) -> Tensor:
        if self.neurons is None:
            return output
        if int(self.neurons.max()) >= output.shape[1]:
            raise TeacherMismatch(
                f"term {self.spec.name}: neuron {int(self.neurons.max())} was selected, "
                f"the teachers have {output.shape[1]}"
            )
        return output[:, self.neurons]

    def forward(self, student: View, teachers: Mapping[str, View], labels: Tensor) -> Tensor:
        """The weighted loss, a scalar."""
        output: Tensor = self.adapter(student.at(self.spec.tap, "the student"))
        target = self.spec.target
        if isinstance(target, Tail):
            tail = teachers[target.teacher].tail
            assert tail is not None
            output = tail(output, self.after)
        goal = self._chosen(target.wanted(self.spec.tap, teachers))
        with torch.autocast(labels.device.type, enabled=False):  # sixteen bits are too few for a distance
            return self.spec.weight * self.spec.distance.measure(output.float(), goal.float(), labels)
