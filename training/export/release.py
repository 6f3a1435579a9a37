"""From a finished run to its model folder: export, measure, calibrate, publish.

Everything is measured on the exported graph that is published, through the served detector and preprocessing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from service.face.detection.search import DetectionLimits
from service.face.manifest import Licence, Result
from service.face.registry import Registry
from service.face.session import ModelSession
from service.measures.intervals import wilson
from training.atomic_folder import digest_file, whole_folder, write_json
from training.data.crops import open_set, open_sets
from training.engine.checkpoint import load_checkpoint
from training.errors import PublishRefused
from training.evaluation.evaluate import Bench, evaluate_view1
from training.evaluation.protocols import read_lfw_view1
from training.evaluation.report import Report
from training.evaluation.subgroups import evaluate_groups
from training.evaluation.thresholds.calibrate import Calibration, calibrate
from training.evaluation.vectors import Model, embed, offsets_of, open_detector, open_model
from training.export.cost import race, yardstick
from training.export.export import export
from training.export.publish import Publication, publish
from training.export.record import FILE, FORMS, DetectorExport, DetectorGraph, Form, write_export
from training.export.search_results import report_search
from training.recipe import Roots
from training.tasks.detection.evaluate import DetectionReport, Question, Share, compare, time_ratio, views
from training.tasks.detection.export import export_detector
from training.tasks.detection.prepare import UNPEOPLED, read_names, split_photographs
from training.tasks.detection.robustness import survive
from training.tasks.detection.task import DETECTOR, DetectorRecipe
from training.tasks.detection.teacher import open_detector as open_detecting_teacher

GROUPS_FMR = 1e-3
"""The rate at whose served score subgroups are told."""
SPEED = "one thread"
"""The protocol of the results that time a model."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a model is measured on: folders of LFW View 1 and of scenes, and names of prepared sets.

    `detector` is the served one, which cuts the faces; `people` gives impostors for calibration and is never trained
    on; `groups` carries UTKFace's labels; `ranges` are sets whose crops calibrate 8-bit graphs; `teacher` is enrolled
    in the cross-model comparison.
    """

    view1: Path
    scenes: Path
    detector: str
    people: str
    groups: str
    ranges: tuple[str, ...]
    teacher: str
    detecting_teacher: str


def read_publication(path: Path) -> Publication:
    """Read what a person decided about a model.

    Raises:
        PublishRefused: The model folder would be incomplete or overwrite another.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        licence = Licence.model_validate(values["licence"])
        landmarks = tuple(values["landmarks"]) if "landmarks" in values else None
        fields = {"licence": licence, "recipes": tuple(values.get("recipes", ())), "landmarks": landmarks}
        return Publication(**values | fields)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise PublishRefused(f"{path}: {error}") from error


def release_embedder(run: str, what: Publication, roots: Roots, on: Evidence, target: Path) -> Path:
    """Export, measure and publish a student. Returns the model folder.

    Raises:
        TrainingError: A step failed, as its message says.
        FacetError: A model or picture cannot be used.
    """
    folder = roots.runs / run
    form: Form = next(f for f in FORMS if f == what.form)
    export(folder, open_sets(roots.data, on.ranges), tuple({"fp32": 0, form: 0}))
    model = open_model(f"run:{run}:{form}", roots)
    bench = Bench(open_detector(on.detector, roots), roots.runs / "crops")
    train, test = read_lfw_view1(on.view1, "Train"), read_lfw_view1(on.view1, "Test")
    reports = [evaluate_view1(bench, train, test, open_model(f"run:{run}:{f}", roots)) for f in {"fp32": 0, form: 0}]
    enrolled = open_model(on.teacher, roots)
    if enrolled.space == model.space:
        reports.append(evaluate_view1(bench, train, test, model, enrolled))
    reports.append(_speed(folder / "export" / f"{form}.onnx", model, roots))
    thresholds, calibration = calibrate_on(model, roots, on.people)
    write_json(folder / "calibration.json", calibration)
    served = next((row.threshold for row in thresholds.rows if row.fmr == GROUPS_FMR), None)
    labelled = open_set(roots.data / on.groups)
    reports.append(evaluate_groups(on.groups, labelled, GROUPS_FMR, model, threshold=served, held_out=True))
    write_json(folder / "report.json", [report.as_json() for report in reports])
    mine = [report.as_json() for report in reports if report.digest == model.embeds.digest]
    return publish(folder, what, target, reports=mine, calibration=calibration, replace=True)


def release_detector(run: str, what: Publication, roots: Roots, on: Evidence, target: Path) -> Path:
    """Export, compare with its teacher on held-out photographs, and publish a detector."""
    folder = roots.runs / run
    checkpoint = load_checkpoint(folder)
    module: Any = DETECTOR.restore(checkpoint.read_recipe(DetectorRecipe), checkpoint.best).module
    teacher = open_detecting_teacher(Registry.scan([roots.models]), on.detecting_teacher).session
    with whole_folder(folder / "export", FILE) as draft:
        path = draft / "fp32.onnx"
        export_detector(module.student, path)
        speed = time_ratio(ModelSession(path), teacher)
        graph = DetectorGraph(
            form="fp32",
            file=path.name,
            sha256=digest_file(path),
            bytes=path.stat().st_size,
            milliseconds=speed["student_ms"],
            teacher_ratio=speed["ratio"],
        )
        write_export(draft, DetectorExport(parameters=sum(p.numel() for p in module.parameters()), forms=(graph,)))
    session = ModelSession(folder / "export" / "fp32.onnx")
    held = split_photographs(on.scenes, on.view1)
    served = Question(operating_score=DetectionLimits().min_score)
    reports = [
        _detection(what.name, graph.sha256, place, compare(session, teacher, views(photographs), served))
        for place, photographs in (("scenes", held.held_scenes), ("portraits", held.held_portraits))
    ]
    spoiled = survive(session, teacher, views(held.held_portraits), served)
    reports.append(_survival(what.name, graph.sha256, spoiled))
    bare = publish(folder, what, target, replace=True)
    reports.append(report_search(bare, teacher, held.held_scenes, read_names(UNPEOPLED)))
    written = [report.as_json() for report in reports]
    write_json(folder / "report.json", written)
    return publish(folder, what, target, reports=written, replace=True)


def calibrate_on(
    model: Model, roots: Roots, people: str, fmrs: Sequence[float] | None = None
) -> tuple[Calibration, dict[str, Any]]:
    """Calibrate on a prepared set; also as the plain values that `publish` takes.

    Raises:
        RateUnsupported: The data cannot support a false match rate.
    """
    crops = open_set(roots.data / people)
    vectors = embed(model.embeds, crops.crops)
    calibration = calibrate(vectors, crops.identities, fmrs, offsets=offsets_of(model.embeds, vectors))
    values = {name: value for name, value in asdict(calibration).items() if name not in ("rows", "tail")}
    values |= {"digest": model.embeds.digest, "set": people, "set_digest": crops.digest}
    values["score"] = model.score
    values["thresholds"] = [row.model_dump() for row in calibration.rows]
    values["tail"] = [row.model_dump() for row in calibration.tail]
    return calibration, values


def _speed(path: Path, model: Model, roots: Roots) -> Report:
    """How many times faster than an iresnet100 it runs here, one face on one thread, both in turns."""
    times = race({"model": path, "iresnet100": yardstick(roots.runs)})
    ratio = times["iresnet100"].median / times["model"].median
    rows = (
        Result(protocol=SPEED, metric="times faster than iresnet100", value=ratio, ci95=None, trials=20),
        Result(protocol=SPEED, metric="ms a face", value=times["model"].median, ci95=None, trials=20),
    )
    return Report(model.name, model.embeds.digest, SPEED, rows)


def _detection(name: str, digest: str, place: str, report: DetectionReport) -> Report:
    """Counts of the comparison with the teacher, as rows."""
    summary: dict[str, Any] = report.summary()
    score = DetectionLimits().min_score
    protocol = f"held-out {place} at score {score:g}; faces of 32 px and more that the teacher finds at 0.8"
    values = {
        "share found": (report.recall.value, max(1, report.recall.trials)),
        "false alarms per image": (summary["false_alarms_per_image"], report.images),
        "false alarms per image, teacher": (summary["teacher_false_alarms_per_image"], report.images),
        "landmark error, median, in eye distances": (summary["landmark_error"]["median"], report.images),
        "landmark jitter of the teacher, median": (summary["teacher_jitter"]["median"], report.images),
    }
    rows = tuple(
        Result(protocol=protocol, metric=metric, value=value, ci95=_interval(report.recall, metric), trials=trials)
        for metric, (value, trials) in values.items()
    )
    return Report(name, digest, protocol, rows)


def _interval(recall: Share, metric: str) -> tuple[float, float] | None:
    return wilson(recall.hits, recall.trials) if metric == "share found" and recall.trials else None


def _survival(name: str, digest: str, spoiled: Mapping[str, tuple[Share, Share]]) -> Report:
    """Shares of faces still found in spoiled portraits, beside the teacher's, as rows."""
    score = DetectionLimits().min_score
    protocol = f"held-out portraits, spoiled, at score {score:g}; faces that the teacher finds in the good ones at 0.8"
    rows = tuple(
        Result(
            protocol=protocol,
            metric=f"{damage}: share found{whose}",
            value=share.value if share.trials else 0.0,
            ci95=wilson(share.hits, share.trials) if share.trials else None,
            trials=max(1, share.trials),
        )
        for damage, shares in spoiled.items()
        for whose, share in zip(("", ", teacher"), shares, strict=True)
    )
    return Report(name, digest, protocol, rows)
