"""`cohort`, `promise`, `discard`, `expect`: what makes a model's rates hold, whether they do, and what to expect."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from service.face.embedding.embed import Embedder
from service.face.registry import MANIFEST
from training.atomic_folder import write_json
from training.commands.folders import DATA, MODELS, RUNS, Data, Models, Runs
from training.data.crops import CropSet, open_set
from training.data.prepare import Preparation, describe, prepare
from training.errors import ProtocolInvalid
from training.evaluation.promise.discard import DiscardPlan, describe_discard, measure_discard, plot_discard
from training.evaluation.promise.promise import Plan, measure_promise
from training.evaluation.promise.report import describe_promise, plot_promise
from training.evaluation.promise.several import ExpectPlan, describe_expectation, expect
from training.evaluation.vectors import embed, open_detector, open_model
from training.export.amend import write_thresholds
from training.export.equip import equip, equip_all
from training.export.release import calibrate_on
from training.normalisation.cohort import CohortPlan
from training.normalisation.recognisability import GatePlan
from training.recipe import Roots

PLAN, GATE, ASKED, EXPECTED, CURVE = CohortPlan(), GatePlan(), Plan(), ExpectPlan(), DiscardPlan()
Sources = Annotated[
    list[str], typer.Argument(help="Prepared sets, or folders or archives of photographs, which are prepared first.")
]


def cohort(
    model: Annotated[Path, typer.Argument(help="Folder of an embedder, or of several models; changed.")],
    sources: Sources,
    people: Annotated[
        str | None, typer.Option(help="Labelled set of other people, for the thresholds of the normalised score.")
    ] = None,
    tight: Annotated[list[str] | None, typer.Option(help="Sets of tight crops; repeatable.")] = None,
    nearest: Annotated[int, typer.Option(help="How many of the nearest centres a template is measured against.")] = (
        PLAN.nearest
    ),
    strength: Annotated[
        float | None,
        typer.Option(
            help="How much of its likeness to strangers is taken off. Default: as little as keeps every kind's rate."
        ),
    ] = None,
    centres: Annotated[int, typer.Option(help="How many centres are kept of the cohort.")] = PLAN.centres,
    share: Annotated[float, typer.Option(help="Share of good pictures that the gate may turn away.")] = GATE.share,
    data: Data = DATA,
    models: Models = MODELS,
    runs: Runs = RUNS,
) -> None:
    """Make a model's cohort and gate, and measure its thresholds anew: one command, also for your own photographs."""
    roots = Roots(data, models, runs)
    sets = open_sources(sources, roots, test=0.0)
    plan = CohortPlan(centres=centres, nearest=nearest, strength=strength, tight=tuple(tight or PLAN.tight))
    if not (model / MANIFEST).is_file():
        if people is None:
            raise ProtocolInvalid(f"{model} holds several models, or none: their thresholds need --people")
        for manifest in equip_all(model, roots, [each.name for each in sets], people, plan):
            print(f"{manifest.identity}: {manifest.score}")
        return
    equipment = equip(model, sets, roots, plan, GatePlan(share=share))
    print(f"{equipment.manifest.identity}: {len(equipment.cohort.centres)} centres of {equipment.cohort.faces} faces")
    for name, count in equipment.cohort.kinds.items():
        print(f"  {count:5} {name}")
    chosen_strength = equipment.cohort.strength
    print(f"strength {chosen_strength.value:g}; observed / asked of faces outside the cohort, at FMR {plan.fmr:g}:")
    for name, multiple in chosen_strength.kinds.items():
        print(f"  {multiple:6.2f} {name}")
    print(f"unrecognisable below {equipment.gate.cut:.3f}; of good pictures that turns away:")
    for name, refused in equipment.gate.refused.items():
        print(f"  {refused:6.2%} {name}")
    if people is None:
        print("It has no thresholds now, since its scores have changed: run `facet-train calibrate ... --write`")
        return
    opened = open_model(str(model), roots)
    calibration, written = calibrate_on(opened, roots, people)
    write_thresholds(model, opened, written)
    for row in calibration.rows:
        print(f"FMR {row.fmr:<8g} threshold {row.threshold:.4f}")


def open_published(model: str, roots: Roots, why: str) -> Embedder:
    """Open a model by folder or name.

    Raises:
        ProtocolInvalid: It is no published model, and only those have what is needed: `why` says what.
    """
    embedder = open_model(model, roots).embeds
    if not isinstance(embedder, Embedder):
        raise ProtocolInvalid(f"{model} is not a published model: only {why}")
    return embedder


def promise(
    model: Annotated[str, typer.Argument(help="Model folder or registered name, with thresholds.")],
    sources: Sources,
    fmr: Annotated[list[float] | None, typer.Option(help="Rates asked; repeatable. Default: 1e-3 and 1e-4.")] = None,
    tolerance: Annotated[float, typer.Option(help="How far above its rate a kind may lie, beyond chance.")] = (
        ASKED.tolerance
    ),
    damage: Annotated[bool, typer.Option(help="Also damage the first set's pictures in sixteen ways.")] = True,
    most: Annotated[int, typer.Option(help="Pictures of a kind at most.")] = ASKED.most,
    out: Annotated[Path | None, typer.Option(help="Folder for promise.json, the table and the plots.")] = None,
    data: Data = DATA,
    models: Models = MODELS,
    runs: Runs = RUNS,
) -> None:
    """Compare the false match rate that a model promises with the one observed, kind by kind; fail where it breaks."""
    roots = Roots(data, models, runs)
    embedder = open_published(model, roots, "those promise a rate")
    plan = Plan(tuple(fmr or ASKED.fmrs), most, tolerance=tolerance)
    report = measure_promise(embedder, open_sources(sources, roots, test=1.0), plan, damage=damage)
    table = describe_promise(report)
    print(table, end="")
    if out is not None:
        write_json(out / "promise.json", report.as_json())
        for path in plot_promise(report, out):
            print(path)
    if report.broken():
        raise typer.Exit(1)


def discard(
    model: Annotated[str, typer.Argument(help="Model folder or registered name, with thresholds and a gate.")],
    sources: Sources,
    fmr: Annotated[float, typer.Option(help="Rate asked.")] = CURVE.fmr,
    most: Annotated[int, typer.Option(help="Pictures of a kind at most.")] = CURVE.most,
    damaged: Annotated[int, typer.Option(help="Pictures that are damaged in each of sixteen ways.")] = CURVE.damaged,
    out: Annotated[Path | None, typer.Option(help="Folder for discard.json and the plots.")] = None,
    data: Data = DATA,
    models: Models = MODELS,
    runs: Runs = RUNS,
) -> None:
    """Tell what leaving out the least recognisable photographs is worth, and whom each cut turns away."""
    roots = Roots(data, models, runs)
    embedder = open_published(model, roots, "those have a gate")
    curve = measure_discard(embedder, open_sources(sources, roots, test=1.0), DiscardPlan(fmr, most, damaged))
    print(describe_discard(curve), end="")
    if out is not None:
        write_json(out / "discard.json", curve.as_json())
        for path in plot_discard(curve, out):
            print(path)


def expectation(
    model: Annotated[str, typer.Argument(help="Model folder or registered name, with thresholds.")],
    people: Annotated[str, typer.Argument(help="Labelled prepared set of people with several photographs.")],
    photographs: Annotated[list[int] | None, typer.Option(help="Photographs of a person; repeatable.")] = None,
    fmr: Annotated[list[float] | None, typer.Option(help="Rates asked of claims; repeatable.")] = None,
    fpir: Annotated[float, typer.Option(help="Rate asked of searches.")] = EXPECTED.fpir,
    out: Annotated[Path | None, typer.Option(help="File for all of it as JSON.")] = None,
    data: Data = DATA,
    models: Models = MODELS,
    runs: Runs = RUNS,
) -> None:
    """Tell what a second and a third photograph are worth, in claims of identity and in galleries up to a million."""
    roots = Roots(data, models, runs)
    embedder = open_published(model, roots, "those have thresholds")
    crops = open_set(roots.data / people)
    plan = ExpectPlan(
        tuple(sorted(photographs or EXPECTED.photographs)), tuple(fmr or EXPECTED.fmrs), fpir, draws=EXPECTED.draws
    )
    report = expect(embedder, embed(embedder, crops.crops), crops.identities, plan)
    print(f"{report.model}: {report.people} people of {people} with more than {max(plan.photographs)} photographs\n")
    print(describe_expectation(report), end="")
    if out is not None:
        write_json(out, report.as_json())


def open_sources(sources: Sequence[str], roots: Roots, test: float) -> tuple[CropSet, ...]:
    """Open prepared sets by name; photographs are prepared into a set of their folder's name first, once.

    `test` is the share of their people for testing: a cohort is made of those for training, a promise measured on the
    others.
    """
    sets = []
    for source in sources:
        path = Path(source)
        name = path.name.split(".")[0]
        if (roots.data / source / "set.json").is_file() or not path.exists():
            sets.append(open_set(roots.data / source))
            continue
        if not (roots.data / name / "set.json").is_file():
            how = Preparation(validation=0.0, test=test)
            print(describe(prepare(path, roots.data / name, how, open_detector(None, roots))))
        sets.append(open_set(roots.data / name))
    return tuple(sets)
