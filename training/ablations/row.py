"""One row: the recipe with its lever, trained under the budget, measured, and recorded where the table finds it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from training.ablations.levers import BASE, LEVERS, lay
from training.ablations.measure import Sets, measure_network
from training.atomic_folder import digest_text, write_json
from training.backbones.network import example, restore_student
from training.engine.checkpoint import load_checkpoint
from training.engine.fit import fit
from training.engine.task import Exported
from training.errors import RecipeInvalid
from training.evaluation.onnx_network import OnnxNet
from training.export.graphs import write_fp32
from training.recipe import Recipe, Roots, validate
from training.tasks.registry import kind_of

KEPT = Path(__file__).parents[1] / "results" / "ablations"


@dataclass(frozen=True, slots=True)
class Row:
    """A lever of `LEVERS`, and the recipe that it makes."""

    lever: str
    recipe: Recipe


def make_row(recipe: Recipe, lever: str, steps: int) -> Row:
    """The recipe with `steps` steps and one lever changed. The warm-up keeps its steps, up to a third of all.

    Raises:
        RecipeInvalid: There is no such lever, the recipe does not have what it changes, or it changes nothing.
    """
    if lever not in LEVERS:
        raise RecipeInvalid(f"no lever {lever!r}; known: {', '.join(LEVERS)}")
    kind: type[Recipe] = kind_of(recipe.task).recipe
    short, schedule = recipe.model_dump(mode="json"), recipe.schedule
    warm = schedule.warmup * (schedule.steps or steps)
    short["schedule"] |= {"steps": steps, "epochs": None, "warmup": min(1 / 3, round(warm / steps, 4))}
    plain = validate(kind, short, recipe.name)
    changed = validate(kind, lay(short, LEVERS[lever].changes), f"{recipe.name} with {lever}")
    if lever != BASE and changed == plain:
        raise RecipeInvalid(f"{recipe.name} with {lever} is {recipe.name} as it is")
    return Row(lever, changed.model_copy(update={"name": f"{recipe.name}-{lever}"}))


def run_row(row: Row, roots: Roots, sets: Sets, kept: Path = KEPT) -> dict[str, Any]:
    """Return the row's record: the one that is kept, or what comes of training, which goes on where it stopped.

    Raises:
        TrainingError: Whatever training raises.
    """
    path = record_path(row, kept)
    record = read_record(path, row)
    if record is not None:
        return record
    folder = fit(row.recipe, kind_of(row.recipe.task), roots, progress=False)
    checkpoint = load_checkpoint(folder)
    student, pixels = restore_student(checkpoint)
    with TemporaryDirectory() as draft:
        graph = Path(draft) / "fp32.onnx"
        write_fp32(Exported(student, example(pixels), ("embedding",)), graph)
        measures = measure_network(OnnxNet(graph, pixels, student.dim), sets)
    text = row.recipe.model_dump_json()
    record = {
        "lever": row.lever,
        "digest": digest_text(text),
        "crops": checkpoint.total * row.recipe.schedule.batch,
        "data": checkpoint.facts["data"],
        "teachers": checkpoint.facts["teachers"],
        "measured_on": sets.digests,
        "measures": measures,
        "recipe": json.loads(text),
    }
    write_json(path, record)
    return record


def record_path(row: Row, kept: Path = KEPT) -> Path:
    """Where a row's record lies, once it is finished."""
    return kept / f"{row.recipe.name}.json"


def read_record(path: Path, row: Row) -> dict[str, Any] | None:
    """Read a row's record, if it is of this very recipe."""
    if not path.is_file():
        return None
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return record if row.recipe.matches_text(json.dumps(record["recipe"])) else None
