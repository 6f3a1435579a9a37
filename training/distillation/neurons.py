"""MobileID's choice of neurons (Luo et al., AAAI 2016, "Face Model Compression by Distilling Knowledge from Neurons").

A teacher's neuron is described by how well it alone tells each face attribute: x_i holds one balanced accuracy per
attribute. The choice y in {0,1}^N minimises E(y) = sum_i Phi(y_i) + lambda sum_{i != j} Psi(y_i, y_j) by mean field:

* Phi punishes neurons that answer to what changes on one face (expression, light, hats) rather than to who it is:
  the lead of the best non-identity attribute over their mean, over the same lead among identity attributes;
* Psi(1, 1) = exp(-||x_i - x_j||^2 / 2) punishes neurons that say the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.errors import SetInvalid

# CelebA's attributes that belong to a person rather than to a picture; the other attributes are nuisance
IDENTITY = frozenset(
    {
        "Arched_Eyebrows",
        "Bags_Under_Eyes",
        "Bald",
        "Big_Lips",
        "Big_Nose",
        "Black_Hair",
        "Blond_Hair",
        "Brown_Hair",
        "Bushy_Eyebrows",
        "Chubby",
        "Double_Chin",
        "Gray_Hair",
        "High_Cheekbones",
        "Male",
        "Narrow_Eyes",
        "Oval_Face",
        "Pale_Skin",
        "Pointy_Nose",
        "Receding_Hairline",
        "Straight_Hair",
        "Wavy_Hair",
        "Young",
    }
)
SMALLEST = 1e-6  # a neuron that tells no identity attribute better than another divides by this


@dataclass(frozen=True, slots=True)
class Selection:
    """Chosen `neurons` in rising order, the marginals q_i = P(y_i = 1) of all, and every neuron's unary cost."""

    neurons: tuple[int, ...]
    marginals: NDArray[np.float64]
    cost: NDArray[np.float64]


def describe_neurons(outputs: NDArray[np.floating], attributes: NDArray[np.integer]) -> NDArray[np.float64]:
    """Balanced accuracy (TPR + TNR) / 2 of every neuron at every attribute: (N, A) in 0.5..1.

    `outputs` is (M, N); `attributes` (M, A) of 0 and 1, -1 unknown. The cut is the best of all, in either direction,
    and lies between two different outputs: a neuron that says the same of everybody tells nothing.

    Raises:
        SetInvalid: An attribute has only one value.
    """
    out = np.empty((outputs.shape[1], attributes.shape[1]))
    order = np.argsort(outputs, axis=0, kind="stable")
    ranks = np.take_along_axis(outputs, order, axis=0)
    tied = np.append(ranks[1:] == ranks[:-1], np.zeros((1, outputs.shape[1]), bool), axis=0)
    for a in range(attributes.shape[1]):
        labels = attributes[:, a]
        positives, negatives = int((labels == 1).sum()), int((labels == 0).sum())
        if not positives or not negatives:
            raise SetInvalid(f"attribute number {a} has one value only, so no neuron can be judged by it")
        ranked = labels[order]
        # with the cut after position k everything above is called positive
        hits = positives - np.cumsum(ranked == 1, axis=0)
        rejections = np.cumsum(ranked == 0, axis=0)
        balanced = np.where(tied, 0.5, (hits / positives + rejections / negatives) / 2)
        out[:, a] = np.maximum(balanced, 1 - balanced).max(axis=0)
    return out


def unary_cost(described: NDArray[np.float64], identity: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Phi of choosing each neuron (N,): the lead among nuisance attributes over the lead among identity attributes."""
    nuisance, own = described[:, ~identity], described[:, identity]
    lead = nuisance.max(axis=1) - nuisance.mean(axis=1)
    return np.asarray(lead / np.maximum(own.max(axis=1) - own.mean(axis=1), SMALLEST))


def select_neurons(
    described: NDArray[np.float64],
    identity: NDArray[np.bool_],
    count: int | None = None,
    *,
    balance: float = 0.01,
    reward: float | None = None,
    rounds: int = 200,
) -> Selection:
    """Choose neurons by mean field.

    `balance` is lambda. E(y) as published is least for y = 0, so choosing a neuron earns `reward`; by default the
    median of what choosing costs, which keeps about half. With `count`, the neurons with the highest marginals.
    """
    phi = unary_cost(described, identity)
    norms = np.square(described).sum(axis=1)
    squared = np.maximum(norms[:, None] + norms - 2 * described @ described.T, 0)
    psi = np.exp(-squared / 2)
    np.fill_diagonal(psi, 0)
    earned = float(np.median(phi + balance * psi.sum(axis=1))) if reward is None else reward
    q = np.full(len(phi), 0.5)
    for _ in range(rounds):
        # the pair sum runs over ordered pairs, so each couple counts twice; half steps keep it from swinging
        field = phi - earned + 2 * balance * psi @ q
        updated = 0.5 * q + 0.5 / (1 + np.exp(np.clip(field, -50, 50)))
        if np.abs(updated - q).max() < 1e-9:
            break
        q = updated
    order = np.argsort(-q, kind="stable")
    chosen = order[:count] if count is not None else np.flatnonzero(q > 0.5)
    return Selection(tuple(sorted(int(i) for i in chosen)), q, phi)
