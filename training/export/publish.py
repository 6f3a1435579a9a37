"""`facet-train publish`: an exported graph becomes a model folder: graph, manifest and card, whole or not at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

from pydantic import TypeAdapter, ValidationError

from service.face.detection.detect import LANDMARKS
from service.face.errors import ModelError
from service.face.manifest import (
    COSINE,
    CalibratedThreshold,
    Cost,
    LandmarksSpec,
    Licence,
    Manifest,
    Name,
    OutputSpec,
    Provenance,
    Result,
    TailThreshold,
    Version,
    dump_manifest,
)
from service.face.model_import import probe, read_spec
from service.face.registry import CARD, MANIFEST, MODEL, ModelFolder
from training.atomic_folder import digest_file, whole_folder
from training.backbones.network import StudentRecipe, restore_student
from training.backbones.weights import RECIPE, WEIGHTS, write_weights
from training.distillation.spaces import teacher_space
from training.engine.checkpoint import FILE, Checkpoint, load_checkpoint
from training.errors import PublishRefused
from training.export.record import DetectorGraph, EmbedderExport, EmbedderGraph, Export, read_export
from training.tasks.detection.task import kept_graph
from training.tasks.registry import read_stored


@dataclass(frozen=True, slots=True)
class Publication:
    """What a person decides about a model: its name and version, its terms, what it is for and where it fails.

    `form` is the exported graph to publish; `recipes` are fitted in this order, and the last one's run is published.
    `landmarks` names a detector's second graph: where it is kept below `training/weights`, and its `name@version`.
    """

    name: str
    version: str
    licence: Licence
    made_by: str
    about: str
    limits: str
    form: str = "fp32"
    recipes: tuple[str, ...] = ()
    landmarks: tuple[str, str] | None = None


def publish(
    run: Path,
    what: Publication,
    target: Path,
    *,
    reports: Sequence[Mapping[str, Any]] = (),
    calibration: Mapping[str, Any] | None = None,
    replace: bool = False,
) -> Path:
    """Publish one exported form of a run to `target/<name>-<version>`; returns that folder.

    `reports` are entries of `report.json`, of this very file (their digest must be the graph's); `calibration` is what
    `facet-train calibrate` wrote.

    Raises:
        PublishRefused: The model folder would be incomplete or overwrite another.
        CheckpointInvalid: There is no checkpoint, or it does not fit.
    """
    check_identity(what.name, what.version)
    exported = read_export(run / "export")
    graph = _choose(exported, what.form, run)
    digest = graph.sha256
    for entry in (*reports, *([calibration] if calibration is not None else [])):
        if entry["digest"] != digest:
            raise PublishRefused(
                f"a measurement is of {entry['digest'][:12]}..., the {what.form} graph is {digest[:12]}...: "
                f"measure this one"
            )
    checkpoint = load_checkpoint(run)
    recipe = read_stored(checkpoint)
    if isinstance(recipe, StudentRecipe) != isinstance(exported, EmbedderExport):
        raise PublishRefused(f"{run} holds the export of another kind of model: export it again")
    folder = target / f"{what.name}-{what.version}"
    if folder.exists() and not replace:
        raise PublishRefused(f"{folder} exists already: raise the version, or replace it explicitly")
    manifest = Manifest(
        schema=1,
        name=what.name,
        version=what.version,
        task=exported.kind,
        sha256=digest,
        space=(teacher_space(checkpoint) or digest) if isinstance(exported, EmbedderExport) else None,
        input=recipe.input if isinstance(recipe, StudentRecipe) else read_spec("yunet").input,
        output=_output(exported) if isinstance(exported, EmbedderExport) else None,
        licence=what.licence,
        provenance=Provenance(
            teachers=tuple(sorted({*checkpoint.facts["teachers"].values()})),
            recipe=recipe.name,
            data=tuple(f"{name} (digest {d[:12]})" for name, d in checkpoint.facts["data"].items()),
            made_by=what.made_by,
        ),
        cost=Cost(
            parameters=exported.parameters,
            multiply_adds=exported.multiply_adds if isinstance(exported, EmbedderExport) else None,
            bytes=graph.bytes,
        ),
        results=tuple(Result.model_validate(row) for report in reports for row in report["results"]),
        thresholds=tuple(CalibratedThreshold.model_validate(row) for row in (calibration or {}).get("thresholds", ())),
        score=(calibration or {}).get("score", COSINE),
        tail=tuple(TailThreshold.model_validate(row) for row in (calibration or {}).get("tail", ())),
        landmarks=None
        if what.landmarks is None
        else LandmarksSpec(sha256=digest_file(kept_graph(what.landmarks[0])), source=what.landmarks[1]),
    )
    with whole_folder(folder, MANIFEST) as draft:
        if what.landmarks is not None:
            shutil.copyfile(kept_graph(what.landmarks[0]), draft / LANDMARKS)
        shutil.copyfile(run / "export" / graph.file, draft / MODEL)
        (draft / MANIFEST).write_text(dump_manifest(manifest), encoding="utf-8")
        kept = _keep_weights(run, checkpoint, draft) if isinstance(exported, EmbedderExport) else "not kept"
        (draft / CARD).write_text(write_card(manifest, what, graph, reports, calibration, kept), encoding="utf-8")
        try:
            ModelFolder(manifest, draft).verify()
            probe(manifest, draft / MODEL)
        except ModelError as error:
            raise PublishRefused(f"{what.name}: {error}") from error
    return folder


def check_identity(name: str, version: str) -> None:
    """See that a model can be called so.

    Raises:
        PublishRefused: The manifest takes no such name or version.
    """
    for what, kind, value, such in (
        ("name", Name, name, "small letters, digits, dots and dashes"),
        ("version", Version, version, "three numbers, 1.0.0 say"),
    ):
        try:
            TypeAdapter[str](kind).validate_python(value)
        except ValidationError as error:
            raise PublishRefused(f"{value!r} is no {what} of a model: give {such}") from error


def write_card(
    manifest: Manifest,
    what: Publication,
    graph: EmbedderGraph | DetectorGraph,
    reports: Sequence[Mapping[str, Any]],
    calibration: Mapping[str, Any] | None,
    weights: str = "not kept",
) -> str:
    """The model card, Markdown, from the template beside this module; `weights` says where to go on from."""
    use = {True: "allowed", False: "not allowed", None: "not stated"}[what.licence.commercial_use]
    return Template((Path(__file__).parent / "card.md").read_text(encoding="utf-8")).substitute(
        identity=manifest.identity,
        about=what.about,
        data="\n".join(f"- {line}" for line in manifest.provenance.data) or "- not recorded",
        recipe=manifest.provenance.recipe,
        weights=weights,
        teachers="\n".join(f"- `{digest}`" for digest in manifest.provenance.teachers) or "- none",
        space=_space(manifest),
        licence=what.licence.id,
        use=use,
        note=what.licence.note,
        results=describe_results(manifest),
        thresholds=describe_thresholds(manifest, calibration),
        groups="\n\n".join(r["details"]["table"] for r in reports if "table" in r["details"]) or "Not measured.\n",
        parameters=f"{manifest.cost.parameters:,}",
        adds=f"{manifest.cost.multiply_adds:,} multiply-adds for one face"
        if manifest.cost.multiply_adds is not None
        else "multiply-adds that depend on the picture's size",
        bytes=f"{manifest.cost.bytes:,}",
        form=what.form,
        cost=graph.cost,
        sha256=manifest.sha256,
        limits=what.limits,
        made_by=what.made_by,
    )


def _output(exported: EmbedderExport) -> OutputSpec:
    second = {"confidence": exported.confidence} if exported.confidence is not None else {}
    return OutputSpec.model_validate({"dim": exported.dim, "normalised": False} | second)


def _keep_weights(run: Path, checkpoint: Checkpoint, folder: Path) -> str:
    """Write the student's weights and the recipe into the folder; says what they are."""
    student, _ = restore_student(checkpoint)
    write_weights(student, folder / WEIGHTS)
    (folder / RECIPE).write_text(json.dumps(json.loads(checkpoint.recipe), indent=2) + "\n", encoding="utf-8")
    return (
        f"`{WEIGHTS}` (SHA-256 `{digest_file(folder / WEIGHTS)}`) holds the weights in single precision after "
        f"{checkpoint.step} of {checkpoint.total} steps (checkpoint `{digest_file(run / FILE)[:12]}`); `{RECIPE}` is "
        f"the recipe that made them"
    )


def _space(manifest: Manifest) -> str:
    if manifest.space is None:
        return "none; it finds faces and does not tell them apart"
    if manifest.space == manifest.sha256:
        return "its own; templates of other models cannot be compared with its"
    return f"that of its teacher `{manifest.space}`; templates of both can be compared"


def _choose(exported: Export, form: str, run: Path) -> EmbedderGraph | DetectorGraph:
    for graph in exported.forms:
        if graph.form == form:
            return graph
    raise PublishRefused(f"{run} was exported as {', '.join(graph.form for graph in exported.forms)}, not as {form}")


def describe_results(manifest: Manifest) -> str:
    """The results as a Markdown table, and what to keep in mind of them."""
    if not manifest.results:
        return "Not measured.\n"
    lines = [
        "Every row names its protocol. Pictures of a set that stands under Data were trained on: rows on such a set",
        "describe pictures the network has seen.",
        "",
        "| protocol | metric | value | 95 % interval | trials |",
        "|---|---|---|---|---|",
    ]
    for row in manifest.results:
        interval = f"{row.ci95[0]:.4f} .. {row.ci95[1]:.4f}" if row.ci95 is not None else ""
        lines.append(f"| {row.protocol} | {row.metric} | {row.value:.4f} | {interval} | {row.trials} |")
    return "\n".join(lines)


def describe_thresholds(manifest: Manifest, calibration: Mapping[str, Any] | None) -> str:
    """The thresholds as a Markdown table, with some of the fitted tail's."""
    if calibration is None or not manifest.thresholds:
        return "None."
    lines = [
        f"From {calibration['impostors']} comparisons between {calibration['people']} people of {calibration['set']}; "
        f"FNMR on {calibration['genuine']} genuine ones.",
        "",
        "| FMR | threshold | 95 % interval of the FMR | FNMR |",
        "|---|---|---|---|",
    ]
    for row, fnmr in zip(manifest.thresholds, calibration["fnmr"], strict=True):
        interval = f"{row.ci95[0]:.1e} .. {row.ci95[1]:.1e}"
        lines.append(f"| {row.fmr:g} | {row.threshold:.4f} | {interval} | {fnmr:.4f} |")
    for beyond in manifest.tail[1::4]:
        interval = f"{beyond.ci95[0]:.1e} .. {beyond.ci95[1]:.1e}"
        lines.append(f"| {beyond.fmr:.0e}, extrapolated | {beyond.threshold:.4f} | {interval} | |")
    if manifest.normalisation is not None:
        lines += ["", "Scores are normalised: cosines, shifted by both templates' offsets."]
    return "\n".join(lines)
