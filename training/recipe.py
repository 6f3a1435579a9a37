"""A recipe: one YAML file that says all there is to say about a training run.

Every task derives its own recipe from `Recipe` (see `training.tasks.registry`). Unknown keys are refused.
`extends: other.yaml` starts from another recipe, whose top-level keys are replaced one by one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

import service
from service.face.manifest import Name
from training.errors import RecipeInvalid

STARTER = Path(service.__file__).parent / "starter"


class Part(BaseModel):
    """A piece of a recipe: frozen, and strict about its keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Schedule(Part):
    """How long and how fast: exactly one of `epochs` and `steps`.

    The learning rate rises linearly to `peak` over the `warmup` share of all steps, then falls along a cosine to
    `peak * final`. `batch` counts samples over all devices. `ema` is the decay of the averaged weights (null: none);
    `clip` the largest gradient norm (null: none). `memory` that a step frees is kept for the next one, or returned to
    the system.
    """

    optimiser: Literal["adamw", "sgd"] = "adamw"
    peak: float = Field(gt=0)
    warmup: float = Field(default=0.05, ge=0, lt=1)
    final: float = Field(default=0.0, ge=0, le=1)
    batch: int = Field(gt=0)
    epochs: float | None = Field(default=None, gt=0)
    steps: int | None = Field(default=None, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    clip: float | None = Field(default=1.0, gt=0)
    ema: float | None = Field(default=None, gt=0, lt=1)
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    channels_last: bool = True
    checkpoint_every: int = Field(default=500, gt=0)
    workers: int = Field(default=1, gt=0)
    memory: Literal["kept", "returned"] = "kept"

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("give exactly one of epochs and steps")
        return self


class Recipe(Part):
    """What every task's recipe holds."""

    name: Name
    task: str
    about: str = ""
    seed: int = Field(default=0, ge=0)
    schedule: Schedule

    def matches_text(self, text: str) -> bool:
        """Whether `text`, a recipe as JSON, is this one. A key that recipes had not then has its default."""
        try:
            return type(self).model_validate_json(text) == self
        except ValidationError:
            return False


@dataclass(frozen=True, slots=True)
class Roots:
    """Where a recipe's relative names are looked up: prepared sets, model files and finished runs."""

    data: Path
    models: Path
    runs: Path

    @property
    def model_folders(self) -> list[Path]:
        """Where models are looked for: the folder given, then the bundle."""
        return [folder for folder in (self.models, STARTER) if folder.is_dir()]


R = TypeVar("R", bound=Recipe)


def read_mapping(path: Path) -> dict[str, Any]:
    """Read a recipe's YAML with its `extends` chain resolved.

    Raises:
        RecipeInvalid: A file is missing, not YAML, not a mapping, or extends itself.
    """
    merged: dict[str, Any] = {}
    seen: list[Path] = []
    current: Path | None = path
    while current is not None:
        if current.resolve() in seen:
            raise RecipeInvalid(f"{path}: the recipe extends itself through {current.name}")
        seen.append(current.resolve())
        try:
            value = yaml.safe_load(current.read_text(encoding="utf-8"))
        except OSError as error:
            raise RecipeInvalid(f"{current}: {error.strerror or 'cannot be read'}") from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise RecipeInvalid(f"{current}: not YAML: {error}") from error
        if not isinstance(value, dict):
            raise RecipeInvalid(f"{current}: a recipe is a mapping of keys to values")
        parent = value.pop("extends", None)
        merged = {**value, **merged}
        current = current.parent / str(parent) if parent is not None else None
    return merged


def validate(kind: type[R], values: Mapping[str, Any], source: str) -> R:
    """Make a typed recipe of a mapping.

    Raises:
        RecipeInvalid: The recipe is missing, misspelt or contradicts itself, naming every wrong key.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(str(part) for part in fault['loc']) or 'recipe'}: {fault['msg']}" for fault in error.errors()
        )
        raise RecipeInvalid(f"{source}: {faults}") from error


def replace_values(recipe: R, kind: type[R], changes: Sequence[str]) -> R:
    """The recipe with other values: each change names a key and a value as YAML, `schedule.batch=32`.

    Raises:
        RecipeInvalid: There is no such key, or it cannot have that value.
    """
    values = recipe.model_dump()
    for change in changes:
        path, sign, text = change.partition("=")
        if not sign:
            raise RecipeInvalid(f"{recipe.name}: {change!r} names no value: write KEY=VALUE, schedule.batch=32 say")
        *parents, key = path.split(".")
        place: Any = values
        for parent in parents:
            place = place.get(parent) if isinstance(place, dict) else None
        if not isinstance(place, dict) or key not in place:
            raise RecipeInvalid(f"{recipe.name}: there is no {path!r} to change")
        try:
            place[key] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise RecipeInvalid(f"{recipe.name}: {change!r}: {text!r} is no YAML") from error
    return validate(kind, values, f"{recipe.name} with {', '.join(changes)}")
