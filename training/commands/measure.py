"""`evaluate`, `students`, `calibrate`, `cost`: how good a model is, where its thresholds lie, how fast it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from service.face.cross_model import PAIRS
from service.face.errors import ModelInvalid, ModelNotFound
from service.face.registry import MANIFEST, MODEL
from service.face.session import ModelSession
from training.atomic_folder import write_json, write_text
from training.commands.folders import DATA, MODELS, RUNS, Data, Models, Runs
from training.data.crops import open_set
from training.errors import ProtocolInvalid, PublishRefused
from training.evaluation.evaluate import Bench, evaluate_pairs, evaluate_templates, evaluate_view1
from training.evaluation.openset import evaluate_openset
from training.evaluation.plots import plot
from training.evaluation.protocols import find_templates, read_lfw_view1, read_lfw_view2, read_pack
from training.evaluation.report import Report, table
from training.evaluation.students import Development, describe_students, measure_student
from training.evaluation.subgroups import evaluate_groups
from training.evaluation.thresholds.calibrate import Calibration
from training.evaluation.thresholds.cross_model import calibrate_pair, write_pair
from training.evaluation.vectors import open_detector, open_model
from training.export.amend import write_thresholds
from training.export.cost import race, yardstick
from training.export.graphs import write_int8
from training.export.release import calibrate_on
from training.recipe import Roots
from training.tasks.detection.evaluate import time_ratio
from training.tasks.detection.tiles import open_tiles


def evaluate(
    model: Annotated[
        list[str], typer.Argument(help="Model folders, registered names, run:<name> for a run, or dlib; one or more.")
    ],
    lfw: Annotated[Path | None, typer.Option(help="LFW with pairs.txt: View 2.")] = None,
    pairs: Annotated[Path | None, typer.Option(help="pairs.txt, where it does not lie in or beside --lfw.")] = None,
    view1: Annotated[Path | None, typer.Option(help="LFW with pairsDevTrain.txt and pairsDevTest.txt: View 1.")] = None,
    pack: Annotated[list[Path] | None, typer.Option("--bin", help="A .bin pack of aligned crops; repeatable.")] = None,
    ijb: Annotated[Path | None, typer.Option(help="IJB-style folder with meta/ and loose_crop/.")] = None,
    openset: Annotated[str | None, typer.Option(help="Labelled prepared set for open-set identification.")] = None,
    distractors: Annotated[str | None, typer.Option(help="Prepared set of distractors for --openset.")] = None,
    groups: Annotated[str | None, typer.Option(help="Prepared set with UTKFace's labels: FMR by subgroup.")] = None,
    group_fmr: Annotated[float, typer.Option(help="Overall FMR at which subgroups are compared.")] = 1e-3,
    reference: Annotated[str | None, typer.Option(help="Enrol with this model, probe with the others.")] = None,
    detector: Annotated[str | None, typer.Option(help="Detector; default: the bundled one.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for report.json and plots.")] = None,
    flip: Annotated[bool, typer.Option(help="Average with the mirror image (serving does not).")] = False,
    threads: Annotated[int, typer.Option(help="Threads of one inference.")] = 1,
    data: Data = DATA,
    models: Models = MODELS,
    runs: Runs = RUNS,
) -> None:
    """Measure models under published protocols through the served code; print a table, write JSON and plots."""
    _refuse_alone("--pairs", pairs, "--lfw", lfw)
    _refuse_alone("--distractors", distractors, "--openset", openset)
    _refuse_alone("--reference", reference, "--lfw, --view1 or --bin", lfw or view1 or pack)
    _refuse_alone("--detector", detector, "--lfw, --view1 or --ijb", lfw or view1 or ijb)
    roots = Roots(data, models, runs)
    opened = [open_model(name, roots, threads) for name in model]
    enrolled = open_model(reference, roots, threads) if reference is not None else None
    photographs = any(source is not None for source in (lfw, view1, ijb))
    bench = Bench(open_detector(detector, roots) if photographs else None, runs / "crops", flip=flip)
    reports: list[Report] = []
    texts: list[str] = []
    for each in opened:
        if view1 is not None:
            train, test = read_lfw_view1(view1, "Train"), read_lfw_view1(view1, "Test")
            reports.append(evaluate_view1(bench, train, test, each, enrolled))
        if lfw is not None:
            reports.append(evaluate_pairs(bench, read_lfw_view2(lfw, pairs), each, enrolled))
        reports += [evaluate_pairs(bench, read_pack(path), each, enrolled) for path in pack or ()]
        if ijb is not None:
            reports.append(evaluate_templates(bench, find_templates(ijb), each))
        if openset is not None:
            others = open_set(data / distractors).crops if distractors is not None else None
            reports.append(evaluate_openset(openset, open_set(data / openset), others, each, flip=flip))
        if groups is not None:
            reports.append(report := evaluate_groups(groups, open_set(data / groups), group_fmr, each, flip=flip))
            texts.append(str(report.details["table"]))
    if not reports:
        raise ProtocolInvalid("nothing to evaluate on: give --lfw, --view1, --bin, --ijb, --openset or --groups")
    print("\n\n".join([table(reports), *texts]))
    if out is not None:
        write_json(out / "report.json", [report.as_json() for report in reports])
        for path in plot(reports, out):
            print(path)


def _refuse_alone(option: str, value: object, needed: str, partner: object) -> None:
    """See that an option which says nothing alone has a partner.

    Raises:
        ProtocolInvalid: It stands alone.
    """
    if value is not None and partner is None:
        raise ProtocolInvalid(f"{option} says nothing alone: give {needed} with it")


def students(
    model: Annotated[list[str], typer.Argument(help="Model folders or registered names; students and teachers.")],
    people: Annotated[str, typer.Option(help="Labelled prepared set that gives the thresholds.")] = "lfw-view1",
    others: Annotated[str | None, typer.Option(help="Labelled prepared set of other people.")] = "pins",
    kinds: Annotated[str | None, typer.Option(help="Prepared set with UTKFace's names.")] = "utkface",
    out: Annotated[Path | None, typer.Option(help="Folder for students.json and the table.")] = None,
    data: Data = DATA,
    models: Models = MODELS,
    runs: Runs = RUNS,
) -> None:
    """Put students beside their teachers on the development sets, by plain cosine: one table."""
    roots = Roots(data, models, runs)
    on = Development(
        open_set(data / people),
        open_set(data / others) if others is not None else None,
        open_set(data / kinds) if kinds is not None else None,
    )
    reports = [measure_student(open_model(name, roots), on) for name in model]
    text = describe_students(reports)
    print(text)
    if out is not None:
        write_json(out / "students.json", [report.as_json() for report in reports])
        write_text(out / "students.md", text + "\n")


def calibrate_model(
    model: Annotated[str, typer.Argument(help="Model folder, registered name, or run:<name>:<form>.")],
    crops: Annotated[str, typer.Argument(help="Labelled prepared set that was never trained on.")],
    fmr: Annotated[list[float] | None, typer.Option(help="An FMR that must be supported; repeatable.")] = None,
    reference: Annotated[
        str | None, typer.Option(help="Model of the same space whose templates the probes are compared with.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="JSON file for `publish`; with --reference the model folder's pairs.json.")
    ] = None,
    write: Annotated[
        bool,
        typer.Option(help="Write the thresholds, or the pair's, into the model folder, which is given by its path."),
    ] = False,
    data: Data = DATA,
    models: Models = MODELS,
    runs: Runs = RUNS,
) -> None:
    """Find the thresholds of a model from comparisons between different people; refuse what the data cannot support."""
    if write and not (Path(model) / MANIFEST).is_file():
        raise PublishRefused(f"{model} is no folder of a model: give its path to write into it")
    roots = Roots(data, models, runs)
    opened = open_model(model, roots)
    if reference is not None:
        enrolled = open_model(reference, roots)
        pair = calibrate_pair(opened, enrolled, roots, crops, fmr)
        _print_calibration(f"{opened.name} against {enrolled.name} on {crops}", pair)
        for path in (out, Path(model) / PAIRS if write else None):
            if path is not None:
                write_pair(path, enrolled.embeds.digest, pair, (opened.score, enrolled.score))
                print(path)
        return
    calibration, written = calibrate_on(opened, roots, crops, fmr)
    _print_calibration(f"{opened.name} on {crops}", calibration)
    if out is not None:
        write_json(out, written)
        print(out)
    if write:
        print(f"{write_thresholds(Path(model), opened, written).identity} in {model}")


def quantise_detector(
    graph: Annotated[Path, typer.Argument(help="A detector's graph in single precision.")],
    tiles: Annotated[str, typer.Argument(help="Tile set whose first tiles tell the ranges of activations.")],
    out: Annotated[Path, typer.Argument(help="The 8-bit graph.")],
    count: Annotated[int, typer.Option(min=1, help="Tiles used.")] = 96,
    data: Data = DATA,
) -> None:
    """Write a detector with 8-bit arithmetic, for `detector-evaluate`; print how its time compares."""
    seen = open_tiles(data / tiles).tiles[:count]
    write_int8(graph, out, np.ascontiguousarray(seen.transpose(0, 3, 1, 2), np.float32))
    single, eight = ModelSession(graph), ModelSession(out)
    for height, width in ((480, 640), (160, 160)):
        speed = time_ratio(eight, single, size=(height, width))
        print(f"{width}x{height}, one thread, 8-bit over single precision: {json.dumps(speed)}")


def _print_calibration(what: str, calibration: Calibration) -> None:
    print(f"{what}: {calibration.impostors} impostor and {calibration.genuine} genuine comparisons")
    print("FMR       threshold  95 % interval of the FMR  FNMR")
    for row, fnmr in zip(calibration.rows, calibration.fnmr, strict=True):
        low, high = row.ci95
        print(f"{row.fmr:<9g} {row.threshold:<10.4f} {low:.2e} .. {high:.2e}      {fnmr:.4f}")
    for beyond in calibration.tail[1::4]:
        low, high = beyond.ci95
        print(f"{beyond.fmr:<9.1e} {beyond.threshold:<10.4f} {low:.2e} .. {high:.2e}      fitted tail")
    for rate in calibration.refused:
        print(f"{rate:<9g} refused: fewer than thirty false matches are expected")


def cost(
    model: Annotated[list[str], typer.Argument(help="Model folders or ONNX files with an input of fixed size.")],
    turns: Annotated[int, typer.Option(min=1, help="How often all take their turn.")] = 20,
    runs: Runs = RUNS,
) -> None:
    """Time one face on one thread, beside an iresnet100 and in turns with it."""
    runs.mkdir(parents=True, exist_ok=True)
    paths = {name: Path(name) / MODEL if Path(name).is_dir() else Path(name) for name in model}
    for name, path in paths.items():
        if not path.is_file():
            raise ModelNotFound(f"{name} is neither a model folder nor a file")
    try:
        times = race({**paths, "iresnet100": yardstick(runs)}, turns=turns)
    except ValueError as error:
        raise ModelInvalid(f"{error}: give embedders, which see one size") from error
    print("ms a face (median, best)  times faster than iresnet100  bytes")
    for name, timing in times.items():
        size = paths[name].stat().st_size if name in paths else (runs / "iresnet100.onnx").stat().st_size
        ratio = times["iresnet100"].median / timing.median
        print(f"{timing.median:8.2f} {timing.best:8.2f}         {ratio:8.1f}                      {size:<10} {name}")
