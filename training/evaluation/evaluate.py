"""`facet-train evaluate`: a model under the published protocols, through the code that serves it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.face.detection.detect import Detector
from service.face.errors import SpaceMismatch
from service.face.manifest import Result
from service.measures.all_pairs import score_pairs
from service.measures.bootstrap import bootstrap_tar
from service.measures.curves import area, equal_error
from service.measures.intervals import Estimate
from service.measures.thresholds import accuracy, best_threshold, decide_by_folds, tar_at
from training.evaluation.protocols import Pairs, Templates, pool_templates
from training.evaluation.report import Report, row
from training.evaluation.vectors import Model, cut_crops, embed, offsets_of

FMRS = (1e-2, 1e-3)
LOW_FMRS = (1e-2, 1e-3, 1e-4, 1e-5)
FEWEST = 1  # below one expected false match an FMR is not even an estimate


class Bench:
    """Crops are cut once and shared by all models; vectors are computed once per model."""

    def __init__(
        self, detector: Detector | None, cache: Path | None = None, *, flip: bool = False, progress: bool = True
    ) -> None:
        """`detector` is needed for photographs only; `cache` keeps crops; `flip` averages with the mirror image."""
        self._detector, self._cache, self._flip, self._progress = detector, cache, flip, progress
        self._known: dict[tuple[str, str], NDArray[np.float32]] = {}

    def vectors(
        self, protocol: Pairs | Templates, model: Model, aligned: bool = False
    ) -> tuple[NDArray[np.float32], tuple[str, ...]]:
        """Unit vectors of a protocol's pictures, and the pictures in which no face was found."""
        crops = cut_crops(protocol.pictures, None if aligned else self._detector, self._cache, progress=self._progress)
        key = (hashlib.sha256(crops.crops.tobytes()).hexdigest(), model.embeds.digest)
        if key not in self._known:
            self._known[key] = embed(model.embeds, crops.crops, flip=self._flip, progress=self._progress)
        return self._known[key], crops.missed

    def scores(
        self, pairs: Pairs, probe: Model, reference: Model | None = None
    ) -> tuple[NDArray[np.float64], tuple[str, ...]]:
        """Comparison scores of all pairs, as served; with `reference`, the left pictures are enrolled with that model.

        Raises:
            SpaceMismatch: The two models do not share a space.
        """
        if reference is not None and reference.space != probe.space:
            raise SpaceMismatch(f"{reference.name} and {probe.name} embed into different spaces")
        right, missed = self.vectors(pairs, probe, pairs.aligned)
        left = right if reference is None else self.vectors(pairs, reference, pairs.aligned)[0]
        scores = score_pairs(left[pairs.left], right[pairs.right])
        scores += offsets_of((reference or probe).embeds, left)[pairs.left]
        scores += offsets_of(probe.embeds, right)[pairs.right]
        return scores, missed


def evaluate_pairs(bench: Bench, pairs: Pairs, model: Model, reference: Model | None = None) -> Report:
    """LFW View 2 or a `.bin` pack: cross-validated accuracy, AUC, EER, TAR at FMR."""
    scores, missed = bench.scores(pairs, model, reference)
    genuine, impostor = scores[pairs.same], scores[~pairs.same]
    folded = decide_by_folds(scores, pairs.same, pairs.fold)
    name = _protocol(pairs.name, reference)
    rows = [
        row(name, "accuracy", folded.accuracy),
        row(name, "accuracy standard deviation", Estimate(folded.deviation, None, len(folded.accuracies))),
        *_common(name, scores, pairs),
    ]
    details = {"missed": list(missed), "accuracies": folded.accuracies, "thresholds": folded.thresholds}
    return Report(model.name, model.embeds.digest, name, tuple(rows), details, genuine, impostor)


def evaluate_view1(bench: Bench, train: Pairs, test: Pairs, model: Model, reference: Model | None = None) -> Report:
    """LFW View 1: the threshold comes from devTrain, the accuracy from devTest."""
    chosen, _ = bench.scores(train, model, reference)
    scores, missed = bench.scores(test, model, reference)
    threshold = best_threshold(chosen, train.same)
    name = _protocol(test.name, reference)
    rows = [row(name, "accuracy", accuracy(scores, test.same, threshold)), *_common(name, scores, test)]
    details = {"missed": list(missed), "threshold": threshold}
    return Report(model.name, model.embeds.digest, name, tuple(rows), details, scores[test.same], scores[~test.same])


def evaluate_templates(bench: Bench, protocol: Templates, model: Model) -> Report:
    """IJB-B/C style: TAR at low FMR between pooled templates, each with its own offset where scores are normalised."""
    vectors, missed = bench.vectors(protocol, model)
    pooled = pool_templates(vectors, protocol.template, protocol.medium)
    known = np.stack(list(pooled.values()))
    place, offsets = {name: i for i, name in enumerate(pooled)}, offsets_of(model.embeds, known)
    left, right = (np.array([place[int(t)] for t in side]) for side in (protocol.left, protocol.right))
    scores = score_pairs(known[left], known[right]) + offsets[left] + offsets[right]
    genuine, impostor = scores[protocol.same], scores[~protocol.same]
    rows = [
        row(protocol.name, "AUC", Estimate(area(genuine, impostor), None, len(protocol.same))),
        row(protocol.name, "EER", Estimate(equal_error(genuine, impostor), None, len(protocol.same))),
        *(
            row(protocol.name, f"TAR at FMR {fmr:g}", tar_at(genuine, impostor, fmr))
            for fmr in LOW_FMRS
            if fmr * len(impostor) >= FEWEST
        ),
    ]
    details = {"missed": list(missed), "templates": len(pooled), "impostors": len(impostor)}
    return Report(model.name, model.embeds.digest, protocol.name, tuple(rows), details, genuine, impostor)


def _common(name: str, scores: NDArray[np.float64], pairs: Pairs) -> list[Result]:
    """AUC, EER and TAR at FMR, with a bootstrap over people where the protocol names them."""
    genuine, impostor = scores[pairs.same], scores[~pairs.same]
    people = pairs.people()
    rows = [
        row(name, "AUC", Estimate(area(genuine, impostor), None, len(scores))),
        row(name, "EER", Estimate(equal_error(genuine, impostor), None, len(scores))),
    ]
    for fmr in FMRS:
        if fmr * len(impostor) >= FEWEST:
            tar = tar_at(genuine, impostor, fmr) if people is None else bootstrap_tar(scores, pairs.same, people, fmr)
            rows.append(row(name, f"TAR at FMR {fmr:g}", tar))
    return rows


def _protocol(name: str, reference: Model | None) -> str:
    return name if reference is None else f"{name}, enrolled with {reference.name}"
