"""`facet report`: what an auditor asks of a model, as one page."""

from __future__ import annotations

import importlib.util
import shlex
import sys
from dataclasses import replace
from datetime import UTC, datetime
from json import dumps
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress

from service.commands.terminal.database import connected
from service.commands.terminal.listing import print_table
from service.commands.terminal.moments import moment_option
from service.commands.terminal.names import spell
from service.commands.terminal.outputs import check_file
from service.commands.terminal.settings import DataOption, settings_for, settings_of_store
from service.face.decoding.image import ImageLimits
from service.face.manifest import Manifest
from service.face.quality import QualityLimits
from service.face.registry import Registry
from service.models import Models
from service.pipeline import Perception
from service.report.collect import acquire
from service.report.figures import draw_all
from service.report.findings import Findings, Served, Subject
from service.report.html import number
from service.report.live import measure_decisions
from service.report.measure import Plan, check_rates, measure
from service.report.opening import VERDICTS
from service.report.pdf import find_browser, print_pdf
from service.report.render import render
from service.report.study import Study, add_attributes, read_folder, read_protocol
from service.rollout.decision_log import LogQuery, read_decisions
from service.rollout.roles import last_assignment
from service.settings import Settings
from service.version import VERSION


def check_page(path: Path | None) -> Path | None:
    """Give back where the page goes, if it can be made."""
    if path is not None and importlib.util.find_spec("matplotlib") is None:
        raise typer.BadParameter("the figures need matplotlib: pip install matplotlib (or write --json alone)")
    return check_file(path)


def check_pdf(path: Path | None) -> Path | None:
    """Give back where the PDF goes, if there is a browser to print it."""
    if path is not None and find_browser() is None:
        raise typer.BadParameter("PDF needs Chromium, which is not on the path: print --html from any browser")
    return check_page(path)


def report(
    people: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Folder that holds a folder for each person.")
    ] = None,
    grouped: Annotated[
        bool, typer.Option("--grouped", help="In --people, the folders of people lie in a folder for each group.")
    ] = False,
    pairs: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="List of pairs: CSV with first, second, genuine; or LFW's layout."
        ),
    ] = None,
    live: Annotated[bool, typer.Option("--live", help="Logged decisions whose outcomes were told.")] = False,
    html: Annotated[Path | None, typer.Option(callback=check_page, help="File to write the page to.")] = None,
    pdf: Annotated[Path | None, typer.Option(callback=check_pdf, help="File to write it to as PDF.")] = None,
    json: Annotated[
        Path | None, typer.Option("--json", callback=check_file, help="File to write every number to.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Embedder. Default: FACET_DEFAULT_MODEL, or the first; live: the champion.")
    ] = None,
    detector: Annotated[str | None, typer.Option(help="Face detector. Default: FACET_DETECTOR.")] = None,
    attributes: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="CSV with a column file or person, and groups in others."),
    ] = None,
    group: Annotated[
        list[str] | None, typer.Option(help="Column of --attributes to measure by; may be repeated. Default: all.")
    ] = None,
    fmr: Annotated[
        list[float] | None,
        typer.Option(help="FMR to measure groups and discard at; may be repeated. Default: FACET_DEFAULT_FMR."),
    ] = None,
    fpir: Annotated[list[float] | None, typer.Option(help="FPIR of searches; may be repeated. Default: 0.01.")] = None,
    since: Annotated[datetime | None, moment_option("Live: decisions from this moment on.")] = None,
    until: Annotated[datetime | None, moment_option("Live: decisions before this moment.")] = None,
    collection: Annotated[str | None, typer.Option(callback=spell, help="Live: decisions of this collection.")] = None,
    most: Annotated[int, typer.Option(min=2, help="Photographs to compare each with each; people are drawn.")] = 5000,
    rounds: Annotated[int, typer.Option(min=20, help="Draws of people for an interval.")] = 300,
    seed: Annotated[int, typer.Option(min=0, help="Of all draws.")] = 0,
    data: DataOption = None,
) -> None:
    """Report on a model as an auditor asks: rates with intervals, by group, by quality, and what is not known."""
    if sum((people is not None, pairs is not None, live)) != 1:
        raise typer.BadParameter("give --people, --pairs or --live, exactly one of them")
    if not (html or pdf or json):
        raise typer.BadParameter("give --html, --pdf or --json")
    if group and attributes is None:
        raise typer.BadParameter("--group names a column of --attributes")
    if live:
        findings = _report_live(settings_of_store(data), model, since, until, collection)
    else:
        study = read_folder(people, grouped=grouped) if people is not None else read_protocol(pairs or Path())
        if attributes is not None:
            study = add_attributes(study, attributes, group or ())
        settings = settings_for(data)
        plan = Plan(tuple(fmr or (settings.decisions.default_fmr,)), tuple(fpir or (0.01,)), most, rounds, seed)
        findings = _report_study(study, settings, model, detector, plan)
    _write(findings, html, pdf, json)
    print_table(["FMR asked", "FMR observed", "FNMR observed", "promise"], [_row(each) for each in findings.served])


def _row(served: Served) -> list[str]:
    rates = [number(rate.value if rate is not None else None) for rate in (served.fmr, served.fnmr)]
    return [number(served.asked), *rates, VERDICTS[served.verdict]]


def _report_study(study: Study, settings: Settings, model: str | None, detector: str | None, plan: Plan) -> Findings:
    """Measure photographs, with progress on standard error."""
    registry = Registry.scan(settings.model_directories)
    inference = settings.inference
    known = (*inference.models, *(folder.manifest.identity for folder in registry.folders("embedder")))
    chosen = model or inference.default_model or next(iter(known), None)
    loaded = Models.load(registry, detector or inference.detector, [chosen] if chosen else [])
    embedder = loaded.default
    table = loaded.thresholds(embedder)
    check_rates(table, plan)
    limits = ImageLimits(max_bytes=settings.limits.max_image_bytes, max_pixels=settings.limits.max_image_pixels)
    manifest = embedder.manifest
    subject = Subject(
        kind="photographs" if study.pairs is None else "protocol",
        source=str(study.source),
        model=manifest.identity,
        model_sha256=manifest.sha256,
        space=manifest.space or "",
        score=manifest.computed_score,
        detector=loaded.detector.manifest.identity,
        detector_sha256=loaded.detector.manifest.sha256,
        settings={
            "face of a photograph": "the most prominent; for enrolment the only one",
            "largest photograph": f"{limits.max_bytes:,} bytes, {limits.max_pixels:,} pixels",
            "FMR asked": ", ".join(f"{rate:g}" for rate in plan.fmrs),
            "FPIR asked": ", ".join(f"{rate:g}" for rate in plan.fpirs),
            "data the model was trained on": ", ".join(manifest.provenance.data) or "not said",
            "data its scores were normalised by": _normalised_by(manifest),
        },
        **_circumstances(plan.seed, plan.rounds),
    )
    with Progress(console=Console(stderr=True), transient=True) as progress:
        tasks = {name: progress.add_task(name) for name in ("faces", "templates", "measures")}

        def tell(what: str, done: int, total: int) -> None:
            progress.update(tasks[what], completed=done, total=total)

        acquired = acquire(study, Perception(loaded.detector, limits, QualityLimits()), embedder, tell)
        subject = replace(subject, digest=acquired.digest)
        return measure(study, acquired, table, embedder.cut, subject, plan, tell)


def _report_live(
    settings: Settings, model: str | None, since: datetime | None, until: datetime | None, collection: str | None
) -> Findings:
    """Measure the logged decisions of a model, beside a running service."""
    registry = Registry.scan(settings.model_directories)
    with connected(settings) as engine:
        with engine.connect() as connection:
            roles = last_assignment(connection)
        digest = registry.find(model).manifest.sha256 if model else roles.champion if roles else None
        if digest is None:
            raise typer.BadParameter("no model was ever the champion here: name one with --model")
        of = None if collection is None else frozenset({collection})
        query = LogQuery(digest, None, since, until, collections=of, any_challenger=True)
        decisions = read_decisions(engine, query)
    manifest = next((each.manifest for each in registry.folders("embedder") if each.manifest.sha256 == digest), None)
    subject = Subject(
        kind="decisions",
        source=f"collection {collection}" if collection else "all collections",
        model=manifest.identity if manifest else digest[:12],
        model_sha256=digest,
        space=(manifest.space or "") if manifest else "",
        score=manifest.computed_score if manifest else "",
        detector=None,
        detector_sha256=None,
        settings={
            "first decision": decisions[0].at.isoformat(timespec="seconds") if decisions else "",
            "last decision": decisions[-1].at.isoformat(timespec="seconds") if decisions else "",
        },
        **_circumstances(0, 0),
    )
    return measure_decisions(decisions, subject)


def _circumstances(seed: int, rounds: int) -> dict[str, Any]:
    return {
        "digest": None,
        "facet": VERSION,
        "command": shlex.join(["facet", *sys.argv[1:]]),
        "seed": seed,
        "rounds": rounds,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _normalised_by(manifest: Manifest) -> str:
    if manifest.normalisation is None:
        return "scores are not normalised"
    return ", ".join(manifest.normalisation.data)


def _write(findings: Findings, html: Path | None, pdf: Path | None, json: Path | None) -> None:
    if json is not None:
        text = dumps(findings.as_json(), indent=2, ensure_ascii=False, allow_nan=False)
        json.write_text(text + "\n", encoding="utf-8")
    if html is None and pdf is None:
        return
    page = render(findings, draw_all(findings))
    if html is not None:
        html.write_text(page, encoding="utf-8")
    if pdf is not None:
        print_pdf(find_browser() or "", page, pdf)
