"""What stands between a student's output and the target while training, and never leaves it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import Size, nn

from training.errors import TeacherMismatch
from training.recipe import Part


class Identity(Part):
    """Nothing: shapes must already agree."""

    kind: Literal["identity"]

    def build(self, source: Size, target: Size, where: str) -> nn.Module:
        """A module from `source` to `target` (shapes without the batch).

        Raises:
            TeacherMismatch: A teacher's output does not fit.
        """
        if source != target:
            raise TeacherMismatch(
                f"{where}: the student gives {tuple(source)}, the target is {tuple(target)}; "
                f"change the student's size or use an adapter"
            )
        return nn.Identity()


class Linear(Part):
    """One matrix, between vectors."""

    kind: Literal["linear"]

    def build(self, source: Size, target: Size, where: str) -> nn.Module:
        """A linear map from (D,) to (E,).

        Raises:
            TeacherMismatch: A teacher's output does not fit.
        """
        if len(source) != 1 or len(target) != 1:
            raise TeacherMismatch(f"{where}: a linear adapter joins vectors, not {tuple(source)} and {tuple(target)}")
        return nn.Linear(source[0], target[0], bias=False)


class Convolution(Part):
    """1x1 convolution and batch norm between maps (ShrinkTeaNet's H_i); resized where the maps' sizes differ."""

    kind: Literal["convolution"]

    def build(self, source: Size, target: Size, where: str) -> nn.Module:
        """A map from (C, H, W) to (E, K, L).

        Raises:
            TeacherMismatch: A teacher's output does not fit.
        """
        if len(source) != 3 or len(target) != 3:
            raise TeacherMismatch(f"{where}: a convolution adapter joins maps, not {tuple(source)} and {tuple(target)}")
        layers: list[nn.Module] = [nn.Conv2d(source[0], target[0], 1, bias=False), nn.BatchNorm2d(target[0])]
        if source[1:] != target[1:]:
            layers.append(nn.Upsample(size=tuple(target[1:]), mode="bilinear", align_corners=False))
        return nn.Sequential(*layers)


Adapter = Annotated[Identity | Linear | Convolution, Field(discriminator="kind")]
