"""`export`, `rounding` and `publish`: from a run to a model folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from training.backbones.network import restore_student
from training.commands.folders import DATA, RUNS, Data, Runs
from training.data.crops import open_sets
from training.engine.checkpoint import load_checkpoint
from training.errors import ExportFailed, PublishRefused
from training.evaluation.rounding import draw_held_out, measure_rounding
from training.export.bundle import RELEASES, Rehearsal, make_starter, prepare_starter
from training.export.export import draw, export
from training.export.publish import publish
from training.export.record import FORMS, Form
from training.export.release import read_publication
from training.recipe import STARTER


def export_run(
    run: Annotated[str, typer.Argument(help="A finished run.")],
    crops: Annotated[list[str], typer.Argument(help="Prepared sets from which calibration and probe crops are drawn.")],
    form: Annotated[list[str] | None, typer.Option(help="fp32, fp16 or int8; repeatable. Default: all.")] = None,
    count: Annotated[int, typer.Option(min=1, help="Crops to calibrate with, and as many to compare with.")] = 200,
    data: Data = DATA,
    runs: Runs = RUNS,
) -> None:
    """Write a run's student as ONNX in several forms; compare each with torch, and time it beside fp32."""
    forms: list[Form] = []
    for name in form or FORMS:
        if name not in get_args(Form):
            raise ExportFailed(f"no form {name!r}; known: {', '.join(FORMS)}")
        forms.append(name)  # type: ignore[arg-type]
    print("form  bytes      ms a face  times fp32  cosine with torch (mean, least)")
    for graph in export(runs / run, open_sets(data, crops), forms, amount=count).forms:
        print(
            f"{graph.form:<5} {graph.bytes:<10} {graph.milliseconds:<10.2f} {graph.speedup:<11.2f} "
            f"{graph.cosine_mean:.5f} {graph.cosine_min:.5f}  {graph.verdict}"
        )


def rounding(
    run: Annotated[str, typer.Argument(help="A run, finished or not.")],
    crops: Annotated[list[str], typer.Argument(help="Prepared sets: ranges of what they train on, probes held out.")],
    count: Annotated[int, typer.Option(min=1, help="Crops to find ranges with, and as many to compare with.")] = 64,
    data: Data = DATA,
    runs: Runs = RUNS,
) -> None:
    """Tell what each kind of rounding of 8-bit arithmetic takes from a student's embedding, computed in torch."""
    checkpoint, sets = load_checkpoint(runs / run), open_sets(data, crops)
    student, pixels = restore_student(checkpoint)
    probes = draw_held_out(sets, count)
    print("one less the cosine with single precision, in thousandths: mean, worst")
    seen = draw(sets, count, 0, "train")
    for loss in measure_rounding(student, pixels, seen, probes, checkpoint.best.get("ranges")):
        print(f"{1e3 * loss.mean:6.2f} {1e3 * loss.worst:6.2f}  {loss.what}")


def publish_run(
    run: Annotated[str, typer.Argument(help="A run that was exported.")],
    target: Annotated[Path, typer.Argument(help="Folder of models to publish into.")],
    about: Annotated[Path, typer.Option(help="JSON: name, version, form, licence, made_by, about, limits.")],
    report: Annotated[list[Path] | None, typer.Option(help="report.json of `evaluate`; repeatable.")] = None,
    calibration: Annotated[Path | None, typer.Option(help="What `calibrate --out` wrote.")] = None,
    replace: Annotated[bool, typer.Option(help="Replace this very version if it is there.")] = False,
    runs: Runs = RUNS,
) -> None:
    """Publish an exported graph with its manifest and card into a folder of models."""
    what = read_publication(about)
    reports = [entry for path in report or () for entry in _json(path)]
    thresholds = _json(calibration) if calibration is not None else None
    print(publish(runs / run, what, target, reports=reports, calibration=thresholds, replace=replace))


def starter(
    shared: Annotated[Path, typer.Option(help="Folder with the archives in data/ and the teachers in models/.")],
    work: Annotated[Path, typer.Option(help="Folder to work in: sets, targets, runs.")] = Path("data/starter"),
    target: Annotated[Path, typer.Option(help="Folder of models to publish into.")] = STARTER,
    only: Annotated[list[str] | None, typer.Option(help="detector, facet-s or facet-m; repeatable.")] = None,
    prepare: Annotated[bool, typer.Option(help="Only what comes before training: sets, teachers, ensemble.")] = False,
    trained: Annotated[bool, typer.Option(help="Take the runs as they are: export, measure, publish again.")] = False,
    rehearse: Annotated[bool, typer.Option(help="Take every step, but hardly train. Give other folders.")] = False,
) -> None:
    """Make the bundled models again, every step from the archives to the bundle. Hours; goes on where it stopped."""
    if prepare and (only or trained or rehearse):
        raise PublishRefused("--prepare ends before training: leave out --only, --trained and --rehearse")
    if prepare:
        print(prepare_starter(shared, work))
        return
    rehearsal = Rehearsal() if rehearse else None
    for folder in make_starter(shared, work, target, tuple(only or RELEASES), rehearsal, trained=trained):
        print(folder)


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PublishRefused(f"{path}: {error}") from error
