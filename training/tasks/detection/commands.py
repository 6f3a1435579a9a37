"""Commands of `facet-train` that only the detector needs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from service.face.quality import QualityLimits
from service.face.registry import Registry
from service.face.score import ThresholdTable
from service.face.session import ModelSession
from training.atomic_folder import write_json
from training.recipe import STARTER
from training.tasks.detection.close_ups import most_turned, report_close_ups
from training.tasks.detection.evaluate import (
    DetectionReport,
    Question,
    Share,
    close_views,
    compare,
    time_ratio,
    views,
)
from training.tasks.detection.prepare import (
    TILES_COUNT,
    UNPEOPLED,
    Photographs,
    prepare_tiles,
    read_names,
    split_photographs,
)
from training.tasks.detection.robustness import survive
from training.tasks.detection.scenes import list_images
from training.tasks.detection.search_report import compare_fast, portraits_by_person, report_angles, report_scenes
from training.tasks.detection.teacher import open_detector

Scenes = Annotated[Path, typer.Argument(help="Folder of ordinary photographs.")]
Portraits = Annotated[Path, typer.Argument(help="Folder of photographs, one folder per person.")]
Models = Annotated[Path, typer.Option(envvar="FACET_TRAIN_MODELS", help="Folder of registered models.")]
Teacher = Annotated[str, typer.Option(help="Detector in the folder of models to learn from and to compare with.")]

SERVED = "facet-detector"


def compose_tiles(
    scenes: Scenes,
    crops: Annotated[list[Path], typer.Argument(help="Folders of aligned crops.")],
    name: Annotated[str, typer.Option(help="Name of the tile set.")] = "detector-tiles",
    data: Annotated[Path, typer.Option(envvar="FACET_TRAIN_DATA", help="Folder of prepared sets.")] = Path("data/sets"),
    models: Models = Path("data/models"),
    teacher: Teacher = "yunet",
    portraits: Annotated[Path | None, typer.Option(help="Folder of photographs, one folder per person.")] = None,
    unpeopled: Annotated[Path, typer.Option(help="Names of scenes without people, one a line.")] = UNPEOPLED,
    count: Annotated[int, typer.Option(help="Tiles composed.")] = TILES_COUNT,
    seed: Annotated[int, typer.Option(help="Of all draws.")] = 7,
) -> None:
    """Compose the tiles a detector learns from; what is held out for measuring stays out."""
    session = open_detector(Registry.scan([models]), teacher).session
    photographs = split_photographs(scenes, portraits)
    names = read_names(unpeopled)
    prepare_tiles(data / name, photographs, crops, session, seed=seed, count=count, unpeopled=names, watch=tqdm)
    typer.echo(data / name)


def evaluate_detector(
    student: Annotated[str, typer.Argument(help="A detector in the folder of models, or the path of a graph.")],
    scenes: Scenes,
    portraits: Portraits,
    models: Models = Path("data/models"),
    teacher: Teacher = "yunet",
    score: Annotated[float, typer.Option(help="The student's operating score.")] = 0.6,
    doubt: Annotated[float, typer.Option(help="Score down to which a teacher's detection excuses one of ours.")] = 0.5,
    out: Annotated[Path | None, typer.Option(help="Also write the numbers here, as JSON.")] = None,
) -> None:
    """Compare a detector with its teacher on held-out photographs: recall, false alarms, landmarks, speed."""
    registry = Registry.scan([models])
    reference = open_detector(registry, teacher).session
    path = Path(student)
    session = ModelSession(path) if path.is_file() else open_detector(registry, student).session
    photographs = split_photographs(scenes, portraits)
    numbers: dict[str, object] = {}
    for name, report in _protocol(session, reference, photographs, Question(score, doubt_score=doubt)):
        typer.echo("\n".join([f"{name}, {report.images} images", *report.lines(), ""]))
        numbers[name] = report.summary()
    typer.echo("spoiled portraits, faces that the teacher finds in the good ones")
    for damage, (mine, theirs) in survive(
        session, reference, views(photographs.held_portraits), Question(score, doubt_score=doubt)
    ).items():
        typer.echo(f"{damage:<12} found {mine}; teacher {theirs}")
        numbers[damage] = {"student": asdict(mine), "teacher": asdict(theirs)}
    typer.echo()
    speed = time_ratio(session, reference)
    typer.echo(f"640x480, one thread: {json.dumps(speed)}")
    if out is not None:
        write_json(out, {"score": score, "doubt": doubt, "sets": numbers, "speed": speed})


def _protocol(
    student: ModelSession, teacher: ModelSession, held: Photographs, ask: Question
) -> Iterator[tuple[str, DetectionReport]]:
    """Scenes as they are and enlarged, portraits as they are and reduced, and faces that fill the view."""
    scenes, portraits = held.held_scenes, held.held_portraits
    sets = {
        "scenes": views(scenes),
        "scenes x2": views(scenes, 2.0),
        "portraits": views(portraits),
        "portraits x0.35": views(portraits, 0.35),
        "faces filling 160 px": close_views(teacher, portraits, 160),
        "faces filling 320 px": close_views(teacher, portraits, 320),
        "faces filling 480 px": close_views(teacher, portraits[:100], 480),
    }
    for name, images in sets.items():
        yield name, compare(student, teacher, images, ask)


def evaluate_close_ups(
    crops: Annotated[list[Path], typer.Argument(help="Folders of aligned crops, 128x128.")],
    detector: Annotated[str, typer.Option(help="Detector: a bundled one, or one in the folder of models.")] = SERVED,
    every: Annotated[int, typer.Option(min=1, help="Take one crop in so many.")] = 1,
    turned: Annotated[int | None, typer.Option(min=1, help="Of each folder, only the so many most turned.")] = None,
    models: Models = Path("data/models"),
    teacher: Teacher = "yunet",
) -> None:
    """Count the faces that the served search misses where they fill their pictures: portraits, profiles, masks."""
    registry = Registry.scan([*([models] if models.is_dir() else []), STARTER])
    finder, doubt = registry.detector(detector), QualityLimits().min_detection_score
    for folder in crops:
        files = list(list_images(folder)[::every])
        if turned is not None:
            files = most_turned(open_detector(registry, teacher).session, tqdm(files), turned)
        for report in report_close_ups(finder, files, doubt):
            typer.echo(f"{folder.name}: {report}")


def evaluate_search(
    scenes: Scenes,
    portraits: Annotated[Path | None, typer.Argument(help="Folder of photographs, one folder per person.")] = None,
    detector: Annotated[str, typer.Option(help="Detector: a bundled one, or one in the folder of models.")] = SERVED,
    embedder: Annotated[str, typer.Option(help="Embedder that compares turned and upright portraits.")] = "facet-s",
    fmr: Annotated[float, typer.Option(help="False match rate at which they are compared.")] = 1e-3,
    people: Annotated[int, typer.Option(help="People whose portraits are turned.")] = 40,
    portraits_compared: Annotated[int, typer.Option(help="Portraits whose fast and full search are compared.")] = 1000,
    unpeopled: Annotated[Path, typer.Option(help="Names of scenes without people, one a line.")] = UNPEOPLED,
    models: Models = Path("data/models"),
    teacher: Teacher = "yunet",
) -> None:
    """Measure the search that is served: recall, alarms, what a score means, portraits at every angle."""
    registry = Registry.scan([*([models] if models.is_dir() else []), STARTER])
    finder, reference = registry.detector(detector), open_detector(registry, teacher).session
    doubt = QualityLimits().min_detection_score
    report = report_scenes(finder, reference, tqdm(list_images(scenes)), read_names(unpeopled), doubt)
    typer.echo("\n".join(report.lines()))
    if portraits is None:
        return
    model = registry.embedder(embedder)
    files = list_images(portraits)
    threshold = ThresholdTable(model.manifest.thresholds).at(fmr).value
    for angle in report_angles(finder, model, portraits_by_person(files)[:people], threshold):
        typer.echo(f"{angle.degrees:>3} degrees: own {angle.own}; strangers turned alike {angle.strangers}")
    cosines = compare_fast(finder, model, files[:portraits_compared])
    typer.echo(f"fast against full search: cosine at least 0.99 in {Share(int((cosines >= 0.99).sum()), len(cosines))}")
