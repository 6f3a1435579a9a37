"""A student beside its teacher on the people of its own set that it was not trained on.

Every two crops are compared, of one person and of different people. Where nobody knows who is on a picture, every
picture is taken for another person, so rates are upper bounds and there is no TAR.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.measures.all_pairs import AllPairs, compare_across, compare_all
from service.measures.curves import area, equal_error
from service.measures.intervals import Estimate
from service.measures.thresholds import tar_at
from training.data.crops import CropSet, Entry, open_set, writing_set
from training.errors import ProtocolInvalid
from training.evaluation.report import Report, row
from training.evaluation.vectors import Model, embed

FMRS = (1e-2, 1e-3, 1e-4)
FEWEST = 30  # false matches that a rate needs to be told


def hold_out(crops: CropSet, folder: Path) -> CropSet:
    """Write the test split as a set of its own, where a crop of nobody known is a person of its own.

    It is written once, and again where it was made of another set: whoever was held out of that one may be trained on.

    Raises:
        ProtocolInvalid: Fewer than two crops are held out.
    """
    made_from = f"{crops.name} ({crops.digest}), its test split"
    if folder.is_dir() and (known := open_set(folder)).about.get("made_from") == made_from:
        return known
    rows = crops.rows("test")
    if len(rows) < 2:
        raise ProtocolInvalid(f"{crops.name} holds {len(rows)} pictures back for testing: more are needed")
    with writing_set(folder) as writer:
        for i in map(int, rows):
            name = crops.identities[i] or f"unknown: {crops.files[i]}"
            writer.add(np.ascontiguousarray(crops.crops[i]), Entry(crops.files[i], name, "test"))
        writer.about = {"made_from": made_from}
    return open_set(folder)


def evaluate_held_out(people: CropSet, student: Model, teacher: Model) -> list[Report]:
    """Reports of the student, of the student's probes against the teacher's templates, and of the teacher alone."""
    person = np.unique(people.identities, return_inverse=True)[1].astype(np.int64)
    of_student, of_teacher = (embed(model.embeds, people.crops, progress=False) for model in (student, teacher))
    name = people.name
    likeness = (of_student * of_teacher).sum(axis=1) if student.space == teacher.space else None
    reports = [_report(name, student, compare_all(of_student, person), likeness)]
    if likeness is not None:
        crossed = compare_across(of_student, of_teacher, person)
        reports.append(_report(f"{name}, enrolled with {teacher.name}", student, crossed, None))
    reports.append(_report(name, teacher, compare_all(of_teacher, person), None))
    return reports


def _report(name: str, model: Model, pairs: AllPairs, likeness: NDArray[np.float32] | None) -> Report:
    rows, genuine, impostor = [], pairs.genuine, pairs.impostor
    if likeness is not None:
        rows.append(row(name, "mean cosine with its teacher", Estimate(float(likeness.mean()), None, len(likeness))))
    if len(genuine) and len(impostor):
        trials = len(genuine) + len(impostor)
        rows.append(row(name, "AUC", Estimate(area(genuine, impostor), None, trials)))
        rows.append(row(name, "EER", Estimate(equal_error(genuine, impostor), None, trials)))
        supported = [fmr for fmr in FMRS if fmr * len(impostor) >= FEWEST]
        rows += [row(name, f"TAR at FMR {fmr:g}", tar_at(genuine, impostor, fmr)) for fmr in supported]
    return Report(model.name, model.embeds.digest, name, tuple(rows), {}, genuine, impostor)
