"""What a published detector gains from the search that is served with it: recall, alarms, and what a score means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from service.face.detection.search import Seek
from service.face.manifest import Manifest, Result, load_manifest
from service.face.quality import QualityLimits
from service.face.registry import MANIFEST, ModelFolder
from service.face.session import ModelSession
from service.measures.intervals import wilson
from training.export.amend import amend
from training.tasks.detection.evaluate import Share
from training.tasks.detection.search_report import SearchReport, report_scenes

PROTOCOL = "held-out scenes through the served search, all faces sought"


def write_search_results(
    folder: Path, teacher: ModelSession, scenes: Sequence[Path], unpeopled: frozenset[str]
) -> Manifest:
    """Search scenes with the detector of a model folder; add what was counted to its manifest and card.

    Raises:
        PublishRefused: The folder is not a model's.
    """
    detector = ModelFolder(load_manifest(folder / MANIFEST), folder).detector()
    report = report_scenes(detector, teacher, scenes, unpeopled, QualityLimits().min_detection_score)
    rows = tuple(_rows(report))

    def change(_: Path, manifest: Manifest) -> Manifest:
        kept = tuple(row for row in manifest.results if row.protocol != PROTOCOL)
        return manifest.model_copy(update={"results": kept + rows})

    return amend(folder, change, lambda _: {"What a score means": describe_scores(report.precision)})


def describe_scores(precision: Mapping[str, Share]) -> str:
    """A Markdown table: of the finds within a band of scores, the share that is a face."""
    lines = [
        "Of what the served search finds in held-out scenes, the share that is a face. Where a scene shows people, "
        "every find is believed, so that this is an upper bound. Below 0.85 a face is `doubtful`.",
        "",
        "| score | faces | finds |",
        "|---|---|---|",
    ]
    lines += [f"| {band} | {share.value:.3f} | {share.trials} |" for band, share in precision.items() if share.trials]
    return "\n".join(lines)


def _rows(report: SearchReport) -> list[Result]:
    found, alarms, sure = (each[Seek.ALL] for each in (report.recall, report.alarms, report.sure_alarms))
    named = {
        "share found of faces of 32 px and more that the teacher finds at 0.8": found,
        "share of scenes without people that alarm": alarms,
        "the same, not doubtful": sure,
    }
    named |= {f"share of finds that are faces, score {band}": share for band, share in report.precision.items()}
    return [
        Result(
            protocol=PROTOCOL,
            metric=metric,
            value=share.value,
            ci95=wilson(share.hits, share.trials),
            trials=share.trials,
        )
        for metric, share in named.items()
        if share.trials
    ]
