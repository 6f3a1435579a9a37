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

    def build(self, given: Size, wanted: Size, where: str) -> nn.Module:
        """A module from `given` to `wanted` (shapes without the batch).

        Raises:
            TeacherMismatch: A teacher's output does not fit.
        """
        if given != wanted:
            raise TeacherMismatch(
                f"{where}: the student gives {tuple(given)}, the target is {tuple(wanted)}; "
                f"change the student's size or use an adapter"
            )
        return nn.Identity()


class Linear(Part):
    """One matrix, between vectors."""

    kind: Literal["linear"]

    def build(self, given: Size, wanted: Size, where: str) -> nn.Module:
        """A linear map from (D,) to (E,).

        Raises:
            TeacherMismatch: A teacher's output does not fit.
        """
        if len(given) != 1 or len(wanted) != 1:
            raise TeacherMismatch(f"{where}: a linear adapter joins vectors, not {tuple(given)} and {tuple(wanted)}")
        return nn.Linear(given[0], wanted[0], bias=False)


class Convolution(Part):
    """1x1 convolution and batch norm between maps (ShrinkTeaNet's H_i); resized where the maps' sizes differ."""

    kind: Literal["convolution"]

    def build(self, given: Size, wanted: Size, where: str) -> nn.Module:
        """A map from (C, H, W) to (E, K, L).

        Raises:
            TeacherMismatch: A teacher's output does not fit.
        """
        if len(given) != 3 or len(wanted) != 3:
            raise TeacherMismatch(f"{where}: a convolution adapter joins maps, not {tuple(given)} and {tuple(wanted)}")
        layers: list[nn.Module] = [nn.Conv2d(given[0], wanted[0], 1, bias=False), nn.BatchNorm2d(wanted[0])]
        if given[1:] != wanted[1:]:
            layers.append(nn.Upsample(size=tuple(wanted[1:]), mode="bilinear", align_corners=False))
        return nn.Sequential(*layers)


Adapter = Annotated[Identity | Linear | Convolution, Field(discriminator="kind")]
