"""Every method of the papers runs from its recipe: one step of each, at its own sizes, on a few crops."""

import csv
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from service.face.model_import import add_model, read_spec
from service.face.registry import Registry
from tests.conftest import SHARED, STARTER
from tests.training.conftest import MakeSet
from training.data.prepare import Preparation, prepare
from training.engine.checkpoint import load_checkpoint
from training.engine.fit import fit
from training.papers.budget import BUDGETS, cut
from training.papers.measures.benchmark import prepare_benchmark
from training.papers.rows import ROWS, TEACHER
from training.papers.run import run_rows
from training.recipe import Recipe, Roots, validate
from training.tasks.embedding import EmbeddingRecipe
from training.tasks.registry import kind_of

SMALL = BUDGETS["small"]
SETS = SHARED / "data"


def stand_in(recipe: Recipe, roots: Roots) -> Recipe:
    """The recipe with borrowed teachers replaced by the one that is trained here, and neurons listed unseen."""
    assert isinstance(recipe, EmbeddingRecipe)
    values: dict[str, Any] = recipe.model_dump()
    if recipe.name == "papers-teacher":
        values |= {"teachers": {}, "terms": [], "init": {"kind": "random"}, "head": {"kind": "learned", "arc": 0.3}}
    else:
        values["teachers"] = {name: {"kind": "run", "run": "papers-teacher"} for name in values["teachers"]}
    for term in values["terms"]:
        if term["target"]["kind"] == "select":
            listed = {"neurons": list(range(values["student"]["dim"]))}
            (roots.runs / term["target"]["select"]).write_text(json.dumps(listed))
    changed: Recipe = validate(kind_of(recipe.task).recipe, values, recipe.name)
    return changed


@pytest.mark.slow
def test_every_recipe_of_the_papers_takes_a_step(tmp_path: Path, make_set: MakeSet) -> None:
    for seed, name in enumerate(("celeba", "pins")):
        make_set(tmp_path / "data" / name, each=4, seed=seed)
    roots = Roots(tmp_path / "data", tmp_path / "models", tmp_path / "runs")
    for row in ROWS:
        recipe = stand_in(cut(row.recipe, SMALL, 0), roots)
        folder = fit(recipe, kind_of(recipe.task), roots, accelerator="cpu", progress=False)
        assert load_checkpoint(folder).step == SMALL.steps, row.recipe


@pytest.mark.data
def test_the_comparison_at_its_small_budget_is_killed_and_goes_on(tmp_path: Path) -> None:
    """A few hundred real faces, the real teachers, every row; stopped after some rows, then run again."""
    roots = Roots(tmp_path / "sets", tmp_path / "models", tmp_path / "runs")
    add_model(SHARED / "models" / "omz_face_reid_retail_0095.onnx", read_spec("omz-0095"), roots.models)
    add_model(SHARED / "models" / "face_recognition_sface_2021dec.onnx", read_spec("sface"), roots.models)
    detector = Registry.scan([STARTER]).detector("facet-detector")
    landmarks = Preparation(aligned=True, landmarks=True, validation=0.2, test=0.3)
    few(tmp_path / "celeba", SETS / "celeba.tar", 60)
    celeba = prepare(tmp_path / "celeba", roots.data / "celeba", landmarks, detector, progress=False)
    few(tmp_path / "pins", SETS / "pins.tar", 50)
    pins = prepare(tmp_path / "pins", roots.data / "pins", Preparation(aligned=True, most=5), None, progress=False)
    assert pins.about["identities"] > 5
    benchmark = prepare_benchmark(lfw(tmp_path / "lfw"), celeba, pins, detector, tmp_path / "crops", SMALL.rounds)

    row_runs = run_rows(SMALL, roots, celeba, benchmark, progress=False)
    first = [next(row_runs) for _ in range(3)]
    row_runs.close()
    kept = {s.graph: s.graph.stat().st_mtime_ns for s in first if s.graph is not None}
    assert len(kept) == 3
    assert first[0].row.recipe == TEACHER
    row_runs = list(run_rows(SMALL, roots, celeba, benchmark, progress=False))
    assert {graph: graph.stat().st_mtime_ns for graph in kept} == kept, "what was done is not done again"
    assert [s.row for s in row_runs] == list(ROWS)
    for row_run in row_runs:
        assert bool(row_run.measures) != bool(row_run.reason), row_run
        assert not row_run.reason, row_run.reason
        for name, values in (row_run.measures or {}).items():
            assert len(values) == 1 + SMALL.rounds
            assert values[0] >= 0, name


def few(folder: Path, archive: Path, people: int) -> None:
    """Four pictures of each of the first people who have so many, with their lists."""
    folder.mkdir()
    with tarfile.open(archive) as tar:
        members = [m for m in tar.getmembers() if m.isfile()]
        (index,) = [m for m in members if Path(m.name).name == "index.csv"]
        listed = tar.extractfile(index)
        assert listed is not None
        files: dict[str, list[str]] = {}
        for row in csv.DictReader(io.TextIOWrapper(listed, encoding="utf-8")):
            files.setdefault(row["identity"], []).append(Path(row["file"]).name)
        chosen = [sorted(files[name])[:4] for name in sorted(files) if name and len(files[name]) >= 4][:people]
        wanted = {name for mine in chosen for name in mine}
        for member in members:
            if Path(member.name).name in wanted or member.name.endswith(".csv"):
                tar.extract(member, folder, filter="data")


def lfw(folder: Path) -> Path:
    """A dozen people of LFW's development view with pairs in its layout."""
    folder.mkdir()
    with tarfile.open(SETS / "lfw_view1.tar") as tar:
        by_person: dict[str, list[tarfile.TarInfo]] = {}
        for member in tar.getmembers():
            if member.name.endswith(".jpg"):
                by_person.setdefault(Path(member.name).parent.name, []).append(member)
        people = [name for name in sorted(by_person) if len(by_person[name]) >= 2][:24]
        for name in people:
            for member in sorted(by_person[name], key=lambda m: m.name)[:2]:
                member.name = f"{name}/{Path(member.name).name}"
                tar.extract(member, folder, filter="data")
    number = {n: sorted(int(p.stem[-4:]) for p in (folder / n).iterdir()) for n in people}
    for part, mine in (("Train", people[:12]), ("Test", people[12:])):
        genuine = [f"{n} {number[n][0]} {number[n][1]}" for n in mine]
        impostor = [f"{a} {number[a][0]} {b} {number[b][1]}" for a, b in zip(mine, mine[1:] + mine[:1], strict=True)]
        (folder / f"pairsDev{part}.txt").write_text("\n".join([str(len(mine)), *genuine, *impostor]) + "\n")
    return folder
