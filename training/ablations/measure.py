"""What a row of the ablations is measured by: error rates by plain cosine, on people that nobody was trained on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from service.measures.all_pairs import score_pairs
from service.measures.thresholds import false_non_match_rate, threshold_at
from training.data.crops import CropSet
from training.data.embeds import Embeds
from training.evaluation.promise.damage import spoil
from training.evaluation.students import DAMAGE, SERVED, compare_people, pair_people
from training.evaluation.vectors import embed

STRICT = 1e-4
MASKED = "masked"


@dataclass(frozen=True, slots=True)
class Sets:
    """Labelled prepared sets: `people` all count; of `turned` and `portraits` the held-out splits alone."""

    people: CropSet
    turned: CropSet
    portraits: CropSet

    @property
    def digests(self) -> dict[str, str]:
        """The digest of each, by name."""
        return {crops.name: crops.digest for crops in (self.people, self.turned, self.portraits)}


def measure_network(network: Embeds, sets: Sets, seed: int = 0) -> dict[str, float]:
    """FNMR of a network, by what is compared.

    `fnmr-1e-3` and `fnmr-1e-4`: all comparisons of `people`. `masked`: two pictures of each of them, a mask painted on
    one, at the threshold of FMR 1e-3. `turned` and `portraits`: all comparisons, each at its own FMR of 1e-3.

    Raises:
        SetInvalid: A set names nobody, or holds nothing out.
    """
    vectors = embed(network, sets.people.crops, progress=False)
    pairs = compare_people(sets.people, np.arange(len(sets.people)), vectors)
    served, strict = (threshold_at(pairs.impostor, fmr) for fmr in (SERVED, STRICT))
    first, second = pair_people(sets.people, len(sets.people), seed)
    masked = spoil(sets.people.crops[first], DAMAGE[MASKED], np.random.default_rng(seed), 0.5)
    scores = score_pairs(embed(network, masked, progress=False), vectors[second])
    return {
        "fnmr-1e-3": false_non_match_rate(pairs.genuine, served).value,
        "fnmr-1e-4": false_non_match_rate(pairs.genuine, strict).value,
        MASKED: false_non_match_rate(scores, served).value,
        "turned": _at_own_rate(network, sets.turned),
        "portraits": _at_own_rate(network, sets.portraits),
    }


def _at_own_rate(network: Embeds, crops: CropSet) -> float:
    rows = np.flatnonzero(crops.splits != "train")
    pairs = compare_people(crops, rows, embed(network, crops.crops[rows], progress=False))
    return false_non_match_rate(pairs.genuine, threshold_at(pairs.impostor, SERVED)).value
