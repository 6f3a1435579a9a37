"""`facet-train distil`: photographs and a teacher in, a published and calibrated student out, by one command.

The student begins with the weights of a published one, or with those kept of its name, its last layer fitted to the
teacher's embeddings, so some thousand photographs and an hour are enough to move it into that teacher's space. People
held out of the training measure and calibrate it. Every step keeps what it has done: called again, it goes on where it
stopped.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from service.face.cross_model import PAIRS
from service.face.manifest import Licence
from service.face.registry import ModelFolder, Registry
from training.atomic_folder import write_json
from training.backbones.regress import output_layer
from training.backbones.weights import RECIPE, read_student
from training.data.crops import CropSet, open_set
from training.data.prepare import Preparation, prepare
from training.engine.fit import fit
from training.errors import RateUnsupported, SetInvalid, TeacherMismatch
from training.evaluation.held_out import evaluate_held_out, hold_out
from training.evaluation.thresholds.cross_model import calibrate_pair, write_pair
from training.evaluation.vectors import open_detector, open_model
from training.export.beginning import Beginning, find_beginning
from training.export.export import export
from training.export.publish import Publication, check_identity, publish
from training.export.record import Form
from training.export.release import calibrate_on
from training.recipe import Roots, validate
from training.tasks.confidence import fit_confidence
from training.tasks.embedding import EMBEDDING, EmbeddingRecipe


@dataclass(frozen=True, slots=True)
class Order:
    """What is wanted: the student's name and version, and how much work it may cost.

    `epochs` counts passes over the training crops; `test` is the share of people held out; `aligned` says that the
    pictures are crops already. `amount` crops quantise the student and compare its forms.
    """

    name: str
    version: str = "1.0.0"
    epochs: float = 12.0
    batch: int = 64
    peak: float = 4e-4
    test: float = 0.15
    aligned: bool = False
    crops_of_confidence: int = 4000
    amount: int = 200


def distil(photos: Path, teacher: str, student: str, into: Path, roots: Roots, order: Order) -> Path:
    """Distil `teacher` into the published `student`'s network on `photos`; returns the new model's folder.

    Raises:
        DataError: The photographs hold no faces, or others were prepared under this name.
        ModelNotFound: There is no such teacher or student.
        InitialisationFailed: The student was published without weights.
        ProtocolInvalid: Too few people are held out.
        FitError: The training failed.
        PublishRefused: The model cannot be published.
    """
    check_identity(order.name, order.version)
    registry = Registry.scan(roots.model_folders)
    taught, begun = registry.find(teacher), find_beginning(student, registry)
    if taught.manifest.task != "embedder" or taught.manifest.output is None:
        raise TeacherMismatch(f"{taught.manifest.identity} is a model for {taught.manifest.task}, not an embedder")
    crops = _prepared(photos, roots, order)
    people = hold_out(crops, roots.data / f"{order.name}-held-out")
    recipe = write_recipe(taught, begun, crops, order)
    run = fit(recipe, EMBEDDING, roots)
    fit_confidence(run, roots, crops=order.crops_of_confidence)
    form = begun.form
    amount = min(order.amount, len(crops.rows("train")) // 2)
    export(run, [crops], tuple({"fp32", form}), amount=amount, split="train")
    model, reference = open_model(f"run:{run.name}:{form}", roots), open_model(taught.manifest.identity, roots)
    reports = evaluate_held_out(people, model, reference)
    write_json(run / "report.json", [report.as_json() for report in reports])
    mine = [report.as_json() for report in reports if report.digest == model.embeds.digest]
    try:
        calibration = calibrate_on(model, roots, people.name)[1]
        pair = calibrate_pair(model, reference, roots, people.name)
    except RateUnsupported:  # so few people are held out that not even one in ten can be told: no thresholds
        calibration, pair = None, None
    what = _publication(order, taught, begun, form)
    folder = publish(run, what, into, reports=mine, calibration=calibration, replace=True)
    if pair is not None:
        write_pair(folder / PAIRS, taught.manifest.sha256, pair, (model.score, reference.score))
    return folder


def write_recipe(teacher: ModelFolder, begun: Beginning, crops: CropSet, order: Order) -> EmbeddingRecipe:
    """The recipe of the run: the published student's own, turned to this teacher and these photographs."""
    assert teacher.manifest.output is not None
    network, _ = read_student(begun.folder)
    values, init = json.loads((begun.folder / RECIPE).read_text(encoding="utf-8")), dict(begun.init)
    last = output_layer(network)
    enough = last is not None and len(crops.rows("train")) >= 2 * last.weight.shape[1]
    if enough and begun.space != teacher.manifest.space:
        init["regress"] = {"teacher": "teacher", "crops": 4096}
    term = {
        "tap": "embedding",
        "adapter": {"kind": "identity"},
        "target": {"kind": "identity", "teacher": "teacher"},
        "distance": {"kind": "cosine", "power": 1},
        "weight": 1.0,
    }
    schedule = values["schedule"] | {
        "epochs": order.epochs,
        "steps": None,
        "batch": min(order.batch, len(crops.rows("train"))),
        "peak": order.peak,
        "checkpoint_every": 50,
    }
    return validate(
        EmbeddingRecipe,
        {
            "name": order.name,
            "task": "embedding",
            "about": f"{begun.name} turned to {teacher.manifest.identity} on {crops.name}.",
            "data": {"sets": {crops.name: 1.0}},
            "input": values["input"],
            "student": values["student"] | {"dim": teacher.manifest.output.dim},
            "teachers": {"teacher": {"kind": "model", "model": teacher.manifest.identity}},
            "init": init,
            "terms": [term],
            "augment": values["augment"],
            "schedule": schedule,
        },
        order.name,
    )


def _prepared(photos: Path, roots: Roots, order: Order) -> CropSet:
    """The crops of the photographs, from an earlier call with the same words or cut now.

    Raises:
        SetInvalid: They were cut for other words.
    """
    folder = roots.data / order.name
    how = Preparation(aligned=order.aligned, validation=0.0, test=order.test)
    if folder.is_dir():
        crops = open_set(folder)
        wanted = {"made_from": photos.name, "aligned": how.aligned, "shares": {"validation": 0.0, "test": how.test}}
        # sets that are older do not tell their shares
        if others := [name for name, value in wanted.items() if crops.about.get(name, value) != value]:
            raise SetInvalid(
                f"{folder} was prepared with other words ({', '.join(others)}): repeat those to go on, "
                f"give another --name, or delete the folder"
            )
        return crops
    return prepare(photos, folder, how, None if order.aligned else open_detector(None, roots))


def _publication(order: Order, teacher: ModelFolder, begun: Beginning, form: Form) -> Publication:
    of_teacher, of_student = teacher.manifest.licence, begun.licence
    uses = {of_teacher.commercial_use, of_student.commercial_use}
    licences = f"{teacher.manifest.identity}: {of_teacher.id}; {begun.name}: {of_student.id}"
    return Publication(
        name=order.name,
        version=order.version,
        licence=Licence(
            id=of_teacher.id if of_teacher.id == of_student.id else f"{of_teacher.id} AND {of_student.id}",
            url=of_teacher.url if of_teacher.id == of_student.id else None,
            commercial_use=False if False in uses else None,
            note=f"Made of {licences}. The photographs' own terms come besides, and are known to whoever gave them.",
        ),
        made_by="facet-train distil",
        about=f"{begun.name} turned to {teacher.manifest.identity}: its network, in that teacher's space.",
        limits=(
            "Trained on the photographs that were given, measured and calibrated on people held out of them: it is "
            "known for faces like those. It does not tell a live face from a picture of one."
        ),
        form=form,
    )
