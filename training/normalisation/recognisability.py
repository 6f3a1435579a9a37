"""Fit the small network that says how far a template can be trusted, and choose the cut below which it cannot.

Good crops are damaged in every way that `damage` knows, and made into no face at all; the network learns, from the
vector before it is scaled to unit length, the cosine between the damaged template and the good one. The cut turns away
a given share of good pictures, and no kind of face more than twice that share: where the measure is harsher on children
or on an ancestry, the cut goes down for all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit
from torch import nn

from service.face.align import CROP
from service.face.embedding.embed import normalise
from training.data.crops import CropSet
from training.errors import SetInvalid
from training.evaluation.promise.damage import COMMON, Damage
from training.evaluation.promise.kinds import find_kinds
from training.normalisation.once import Once, damaged, draw_pictures

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class GatePlan:
    """How a gate is made.

    `most` pictures of a kind, half of them to choose the cut, `damaged` of each kind of damage, the network's `width`
    and `steps`, and the `share` of good pictures that the cut may turn away.
    """

    most: int = 700
    damaged: int = 300
    width: int = 64
    steps: int = 1500
    batch: int = 512
    share: float = 0.01
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Gate:
    """Layers of the network, (out, in) and (out,); the cut; the share of each kind's pictures that it turns away."""

    layers: tuple[tuple[NDArray[np.float32], NDArray[np.float32]], ...]
    cut: float
    refused: Mapping[str, float]


def scramble(crop: NDArray[np.uint8], _: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """No face: sixteen blocks of the crop in another order."""
    side = CROP // 4
    blocks = crop.reshape(4, side, 4, side, 3).swapaxes(1, 2).reshape(16, side, side, 3)[rng.permutation(16)]
    return np.ascontiguousarray(blocks.reshape(4, 4, side, side, 3).swapaxes(1, 2).reshape(CROP, CROP, 3))


def texture(crop: NDArray[np.uint8], strength: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """No face: a small part of the crop, enlarged, with noise."""
    side = round(12 + 20 * strength)
    y, x = rng.integers(0, CROP - side, 2)
    tile = np.kron(crop[y : y + side, x : x + side], np.ones((CROP // side + 1,) * 2 + (1,), np.uint8))[:CROP, :CROP]
    return np.clip(tile + rng.normal(0, 12, tile.shape), 0, 255).astype(np.uint8)


NO_FACE: Mapping[str, Damage] = {"scrambled": scramble, "texture": texture}


def choose_gate(model: Once, sets: Sequence[CropSet], plan: GatePlan) -> Gate:
    """Fit the network on one half of the sets' pictures and choose the cut on the other.

    A model whose own graph tells its confidence needs the cut only: `layers` is empty then. A kind of one picture has
    none left to choose the cut on.

    Raises:
        SetInvalid: No kind has two pictures.
    """
    good: dict[str, Vectors] = {}
    confidences: dict[str, NDArray[np.float32]] = {}
    for crops in sets:
        for kind in find_kinds(crops, "train", plan.most, plan.seed):
            name = f"{crops.name}: {kind.name}"
            good[name], confidence = model.run(crops.crops[kind.rows])
            if confidence is not None:
                confidences[name] = confidence
    halves = {} if len(confidences) == len(good) else {name: raw[::2] for name, raw in good.items()}
    layers = _fit_layers(model, sets, halves, plan) if halves else ()
    known = {name: raw for name, raw in good.items() if len(raw) > 1}
    if not known:
        raise SetInvalid("a gate needs two good pictures of one kind: one to learn from, one to choose the cut on")
    held = {name: apply(layers, raw[1::2]) if layers else confidences[name][1::2] for name, raw in known.items()}
    cut = choose_cut(held, plan.share)
    return Gate(layers, cut, {name: float((values < cut).mean()) for name, values in held.items()})


def _fit_layers(
    model: Once, sets: Sequence[CropSet], good: Mapping[str, Vectors], plan: GatePlan
) -> tuple[tuple[NDArray[np.float32], NDArray[np.float32]], ...]:
    """Good pictures' vectors on one side, damaged ones' and those of no face on the other, both counting alike."""
    pictures = draw_pictures(sets, plan.damaged, plan.seed)
    clean = normalise(model.run(pictures)[0])
    inputs, labels = list(good.values()), [np.ones(len(raw)) for raw in good.values()]
    for name, spoiled in damaged(pictures, {**COMMON, **NO_FACE}, plan.seed):
        raw = model.run(spoiled)[0]
        likeness = (normalise(raw) * clean).sum(axis=1)
        inputs.append(raw)
        labels.append(np.zeros(len(raw)) if name in NO_FACE else np.clip(likeness, 0, 1))
    bad = len(COMMON) + len(NO_FACE)
    weights = [
        np.full(len(part), 1 / (len(good) if i < len(good) else bad) / len(part)) for i, part in enumerate(inputs)
    ]
    return _fit(np.concatenate(inputs), np.concatenate(labels).astype(np.float32), np.concatenate(weights), plan)


def choose_cut(measures: Mapping[str, NDArray[np.float32]], share: float) -> float:
    """The cut that turns away `share` of good pictures, every kind counting alike, and of no kind more than twice that.

    `measures` are the recognisabilities of good pictures by kind.
    """
    values = np.concatenate(list(measures.values()))
    weights = np.concatenate([np.full(len(part), 1 / len(part)) for part in measures.values()])
    order = np.argsort(values)
    below = np.cumsum(weights[order]) / weights.sum()
    overall = values[order][min(len(order) - 1, int(np.searchsorted(below, share)))]
    gentle = min(float(np.quantile(part, 2 * share)) for part in measures.values())
    return float(np.clip(min(float(overall), gentle), 1e-3, 1 - 1e-3))


def apply(layers: Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]], raw: Vectors) -> NDArray[np.float32]:
    """What the network gives for raw vectors (N, D): (N,)."""
    values = raw
    for matrix, bias in layers[:-1]:
        values = np.maximum(values @ matrix.T + bias, 0)
    matrix, bias = layers[-1]
    return np.asarray(expit(values @ matrix.T + bias)[:, 0], np.float32)


def _fit(
    inputs: Vectors, labels: NDArray[np.float32], weights: NDArray[np.float64], plan: GatePlan
) -> tuple[tuple[NDArray[np.float32], NDArray[np.float32]], ...]:
    """A perceptron of one hidden layer by least squares; rows are drawn by their weights."""
    rng = np.random.default_rng(plan.seed)
    size = float(np.linalg.norm(inputs, axis=1).mean())
    with torch.random.fork_rng():
        torch.manual_seed(plan.seed)
        first, second = nn.Linear(inputs.shape[1], plan.width), nn.Linear(plan.width, 1)
    net = nn.Sequential(first, nn.ReLU(), second, nn.Sigmoid())
    optimiser = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=plan.steps)
    x, y = torch.from_numpy(inputs / np.float32(size)), torch.from_numpy(labels)
    share = weights / weights.sum()
    for _ in range(plan.steps):
        rows = torch.from_numpy(rng.choice(len(inputs), plan.batch, p=share))
        loss = ((net(x[rows])[:, 0] - y[rows]) ** 2).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return (
        ((first.weight.detach().numpy() / np.float32(size)).astype(np.float32), first.bias.detach().numpy()),
        (second.weight.detach().numpy(), second.bias.detach().numpy()),
    )
