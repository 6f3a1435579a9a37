"""Thresholds for probes of one model against templates of another of its space, as the service reads them.

They come from the same people as the models' own thresholds do (`release.calibrate_on`), so that a pair differs in the
models alone. Accuracy is measured elsewhere, at thresholds of its own (`evaluate`): nothing here is its test.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from service.face.cross_model import PAIRS, PairThresholds
from service.face.errors import SpaceMismatch
from service.face.manifest import COSINE
from service.face.registry import Registry
from training.atomic_folder import write_json
from training.data.crops import open_set
from training.errors import PublishRefused
from training.evaluation.thresholds.calibrate import Calibration, calibrate
from training.evaluation.vectors import Model, embed, offsets_of, open_model
from training.recipe import Roots


def calibrate_pair(
    probe: Model, reference: Model, roots: Roots, people: str, fmrs: Sequence[float] | None = None
) -> Calibration:
    """Calibrate on a prepared set that neither was trained on.

    Raises:
        SpaceMismatch: The models embed into different spaces.
        RateUnsupported: The data cannot support a false match rate.
        SetMissing: There is no such set or file.
    """
    if probe.space != reference.space:
        raise SpaceMismatch(f"{probe.name} and {reference.name} embed into different spaces")
    crops = open_set(roots.data / people)
    probes, templates = embed(probe.embeds, crops.crops), embed(reference.embeds, crops.crops)
    offsets, others = offsets_of(probe.embeds, probes), offsets_of(reference.embeds, templates)
    return calibrate(probes, crops.identities, fmrs, offsets=offsets, templates=templates, template_offsets=others)


def write_pair(
    path: Path, reference: str, calibration: Calibration, scores: tuple[str, str] = (COSINE, COSINE)
) -> None:
    """Write a pair's thresholds into a `pairs.json`, in place of those there were for this reference's digest.

    `scores` are what the probe's and the reference's model compute (`Model.score`).

    Raises:
        PublishRefused: The file is there and is none.
    """
    kind = TypeAdapter(tuple[PairThresholds, ...])
    try:
        known = kind.validate_json(path.read_bytes()) if path.exists() else ()
    except (OSError, ValidationError) as error:
        raise PublishRefused(f"{path} is not a list of pair thresholds: {error}") from error
    measured = PairThresholds(
        reference=reference,
        thresholds=calibration.rows,
        tail=calibration.tail,
        probe_score=scores[0],
        reference_score=scores[1],
    )
    pairs = {pair.reference: pair for pair in (*known, measured)}
    write_json(path, [pairs[digest].model_dump() for digest in sorted(pairs)])


def calibrate_all(models: Path, roots: Roots, people: str) -> list[Path]:
    """Calibrate every two embedders of one space in a folder of models, each way. Returns the files written."""
    folders = Registry.scan([models]).folders("embedder")
    opened = [(folder.path, open_model(str(folder.path), roots)) for folder in folders]
    written = []
    for (path, probe), (_, reference) in itertools.permutations(opened, 2):
        if probe.space == reference.space:
            pair = calibrate_pair(probe, reference, roots, people)
            write_pair(path / PAIRS, reference.embeds.digest, pair, (probe.score, reference.score))
            written.append(path / PAIRS)
    return written
