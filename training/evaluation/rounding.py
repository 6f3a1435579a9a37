"""`facet-train rounding`: what 8-bit arithmetic takes from a student, by what is rounded."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

from service.face.embedding.preprocess import to_tensor
from service.face.manifest import InputSpec
from training.backbones.backbone import Student
from training.backbones.eight_bits.equalise import equalise
from training.backbones.eight_bits.ranges import INPUT, find_ranges, places
from training.backbones.eight_bits.rounding import WEIGHT_STEPS, EightBits
from training.backbones.retail import Slope
from training.data.crops import CropSet
from training.errors import RecipeInvalid, SetInvalid


@dataclass(frozen=True, slots=True)
class Loss:
    """One less the cosine with the embedding in single precision: the mean, and the worst crop's."""

    what: str
    mean: float
    worst: float


@torch.no_grad()
def measure_rounding(
    student: Student,
    pixels: InputSpec,
    seen: NDArray[np.uint8],
    probes: NDArray[np.uint8],
    trained: torch.Tensor | None = None,
) -> list[Loss]:
    """Measure on `probes`, crops (N, 128, 128, 3), what each kind of rounding costs.

    Ranges are those that the student was `trained` with, else found on `seen` after it is equalised, in place.

    Raises:
        RecipeInvalid: It is not known what 8 bits make of this network.
    """
    known = places(student)
    if not known:
        raise RecipeInvalid("it is not known what 8 bits make of this network")
    x = torch.from_numpy(to_tensor(probes, pixels))
    plain = student.eval()(x)
    ordinary = torch.from_numpy(to_tensor(seen, pixels))
    if trained is None:
        equalise(student, ordinary)
    ranges = trained if trained is not None else find_ranges(student, ordinary)

    def lose(what: str, only: Collection[str] | None, steps: int = 0) -> Loss:
        rounded = EightBits(student, weight_steps=steps, only=only).features(x, ranges).embedding
        lost = 1 - F.cosine_similarity(rounded, plain)
        return Loss(what, float(lost.mean()), float(lost.max()))

    gates = {name for name in known if ".excite." in name}
    convolutions = {name for name, module in known.items() if isinstance(module, nn.Conv2d)} - gates
    slopes = {name for name, module in known.items() if isinstance(module, Slope)} - gates
    return [
        lose("everything", None, WEIGHT_STEPS),
        lose("weights, in seven bits", (), WEIGHT_STEPS),
        lose("weights, were they in eight", (), 127),
        lose("activations", None),
        lose("activations: what convolutions give", convolutions),
        lose("activations: after the leaky ones", slopes),
        lose("activations: inside the gates", gates),
        lose("activations: gated maps, sums, input", {INPUT, *known} - gates - convolutions - slopes),
    ]


def draw_held_out(sets: Sequence[CropSet], count: int, seed: int = 0) -> NDArray[np.uint8]:
    """Crops drawn evenly from what the sets hold out of training.

    Raises:
        SetInvalid: A set holds nothing out.
    """
    rng, parts = np.random.default_rng(seed), []
    for crops in sets:
        rows = rng.permutation(np.flatnonzero(crops.splits != "train"))[: -(-count // len(sets))]
        if not len(rows):
            raise SetInvalid(f"{crops.name} holds nothing out")
        parts.append(np.asarray(crops.crops[np.sort(rows)]))
    return np.concatenate(parts)[:count]
