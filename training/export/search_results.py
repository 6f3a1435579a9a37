"""The served search with a published detector, as rows of its card: recall, alarms, and what a score means."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from service.face.detection.search import Seek
from service.face.manifest import Result, load_manifest
from service.face.quality import QualityLimits
from service.face.registry import MANIFEST, ModelFolder
from service.face.session import ModelSession
from service.measures.intervals import wilson
from training.evaluation.report import Report
from training.tasks.detection.search_report import report_scenes

PROTOCOL = "held-out scenes through the served search, all faces sought"


def report_search(folder: Path, teacher: ModelSession, scenes: Sequence[Path], unpeopled: frozenset[str]) -> Report:
    """Search scenes with the detector of a model folder.

    Of what scores within a band, the share that is a face is an upper bound: where a scene shows people, every find is
    believed.
    """
    manifest = load_manifest(folder / MANIFEST)
    doubt = QualityLimits().min_detection_score
    report = report_scenes(ModelFolder(manifest, folder).detector(), teacher, scenes, unpeopled, doubt)
    shares = {
        "share found of faces of 32 px and more that the teacher finds at 0.8": report.recall[Seek.ALL],
        "share of scenes without people that alarm": report.alarms[Seek.ALL],
        f"the same, at score {doubt:g}: below it a face is doubtful": report.sure_alarms[Seek.ALL],
    }
    shares |= {f"share of finds that are faces, score {band}": share for band, share in report.precision.items()}
    rows = tuple(
        Result(
            protocol=PROTOCOL,
            metric=metric,
            value=share.value,
            ci95=wilson(share.hits, share.trials),
            trials=share.trials,
        )
        for metric, share in shares.items()
        if share.trials
    )
    return Report(manifest.name, manifest.sha256, PROTOCOL, rows)
