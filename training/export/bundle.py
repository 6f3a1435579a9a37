"""The bundled models, made again from the folder of research data: every step from the archives to the bundle.

What is there already is kept: unpacked archives, prepared sets and targets stay, and runs resume where they stopped.
Only the published folders are replaced, each whole.
"""

from __future__ import annotations

import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from service.face.model_import import add_model, read_spec
from service.face.registry import Registry
from training.data.prepare import Preparation, prepare
from training.distillation.ensemble import make_ensemble
from training.engine.fit import fit
from training.errors import SetMissing
from training.evaluation.vectors import open_detector
from training.export.equip import equip_all
from training.export.release import Evidence, read_publication, release_detector, release_embedder
from training.recipe import Roots
from training.tasks.confidence import CROPS, fit_confidence, has_confidence
from training.tasks.detection.prepare import UNPEOPLED, prepare_tiles, read_names, split_photographs
from training.tasks.detection.teacher import open_detector as open_detecting_teacher
from training.tasks.registry import kind_of, read_recipe

HERE = Path(__file__).parents[1]
FACES = ("utkface", "celeba", "pins", "masks", "ffhq", "fairface540")
COHORT = ("utkface", "celeba", "ffhq", "fairface540")
"""Of which the scores' normalisation is made: every age and ancestry, and what ordinary photographs look like."""
ARCHIVES = (*FACES, "lfw_view1", "flickr_scenes")
TEACHERS = {
    "yunet": "yunet_n_dynamic.onnx",
    "omz-0095": "omz_face_reid_retail_0095.onnx",
    "sface": "face_recognition_sface_2021dec.onnx",
}
PAIR, WEIGHTS = "facet-pair", {"omz-0095": 0.45, "sface": 0.55}
"""The ensemble that teaches the students, and the weights of its members' cosines."""
TILES, TILES_SEED, TILES_OF_BUNDLE = "detector-second-tiles", 12, 6_000
TILED = ("masks", "masks", *["fairface540"] * 4, "ffhq", "ffhq", "pins")
"""Crops that the detector's tiles are composed of: small sets more than once."""
PEOPLE = "lfw-view1"
SERVED = "facet-detector"
RELEASES = ("detector", "facet-m", "facet-s")


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """How far a rehearsal goes, whose models are worth nothing.

    Attributes:
        steps: Steps of every run.
        tiles: Tiles of the detector's set.
        crops: Crops that teach the confidence.
    """

    steps: int = 2
    tiles: int = 64
    crops: int = 200


def make_starter(
    shared: Path,
    work: Path,
    target: Path,
    releases: tuple[str, ...] = RELEASES,
    rehearsal: Rehearsal | None = None,
    *,
    trained: bool = False,
) -> list[Path]:
    """Make the bundle from `shared` (its `data` archives and `models`) into `target`, working in `work`.

    A `rehearsal` takes every step, and few of each. `trained`: the runs in `work` are taken as they are, and exported,
    measured, calibrated and published again.

    Raises:
        SetMissing: An archive is not there, and whatever a step raises.
    """
    if trained:
        roots = starter_roots(work)
    else:
        roots = prepare_starter(shared, work, rehearsal.tiles if rehearsal else TILES_OF_BUNDLE)
    evidence = Evidence(
        view1=work / "raw" / "lfw_view1",
        scenes=work / "raw" / "flickr_scenes",
        detector=SERVED,
        people=PEOPLE,
        groups="utkface",
        ranges=FACES,
        teacher="facet-m",
        detecting_teacher="yunet",
    )
    folders = []
    for name in releases:
        what = read_publication(HERE / "releases" / f"{name}.json")
        run = roots.runs / what.recipes[-1] if trained else _fit_all(what.recipes, roots, rehearsal)
        if name != "detector" and not has_confidence(run):
            fit_confidence(run, roots, crops=rehearsal.crops if rehearsal else CROPS)
        release = release_detector if name == "detector" else release_embedder
        folders.append(release(run.name, what, roots, evidence, target))
    equip_all(target, roots, COHORT, PEOPLE, groups=evidence.groups)
    return folders


def starter_roots(work: Path) -> Roots:
    """Where sets, models and runs lie in the folder that the bundle is made in."""
    return Roots(work / "sets", work / "models", work / "runs")


def _fit_all(recipes: tuple[str, ...], roots: Roots, rehearsal: Rehearsal | None) -> Path:
    """Train recipes one after another; returns the last one's run."""
    run = roots.runs
    for name in recipes:
        recipe = read_recipe(HERE / "recipes" / f"{name}.yaml")
        if rehearsal is not None:
            short = recipe.schedule.model_copy(update={"steps": rehearsal.steps, "epochs": None})
            recipe = recipe.model_copy(update={"schedule": short})
        run = fit(recipe, kind_of(recipe.task), roots)
    return run


def prepare_starter(shared: Path, work: Path, tiles: int = TILES_OF_BUNDLE) -> Roots:
    """Everything before the first step of training: archives, teachers, their ensemble, sets. Each once.

    Raises:
        SetMissing: An archive is not there.
    """
    roots = starter_roots(work)
    unpack(shared / "data", work / "raw")
    register(shared / "models", roots.models)
    join(roots.models)
    prepare_sets(shared / "data", work / "raw", roots, tiles)
    return roots


def unpack(archives: Path, raw: Path) -> None:
    """Unpack every archive into a folder of its name, once.

    Raises:
        SetMissing: There is no such set or file.
    """
    for name in ARCHIVES:
        folder, archive = raw / name, archives / f"{name}.tar"
        if folder.is_dir():
            continue
        if not archive.is_file():
            raise SetMissing(f"{archive} is not there: the starter is trained on {', '.join(ARCHIVES)}")
        draft = raw / f".{name}"
        with tarfile.open(archive) as tar:
            tar.extractall(draft, filter="data")
        draft.rename(folder)


def register(files: Path, models: Path) -> None:
    """Take the teachers into the folder of models, once."""
    models.mkdir(parents=True, exist_ok=True)
    known = {folder.manifest.name for folder in Registry.scan([models]).folders()}
    for name, file in TEACHERS.items():
        if name not in known:
            add_model(files / file, read_spec(name), models)


def join(models: Path) -> None:
    """Join the students' teachers into one, in the way that the bundled students were taught, once."""
    registry = Registry.scan([models])
    if PAIR not in {folder.manifest.name for folder in registry.folders()}:
        projection = np.load(HERE / "releases" / f"{PAIR}.npy").astype(np.float32)
        make_ensemble(PAIR, WEIGHTS, registry, models, projection=projection)


def prepare_sets(archives: Path, raw: Path, roots: Roots, tiles: int = TILES_OF_BUNDLE) -> None:
    """Prepare the sets of crops, the people of LFW's development view, and the detector's tiles, each once."""
    for name in FACES:
        if not (roots.data / name).is_dir():
            prepare(archives / f"{name}.tar", roots.data / name, Preparation(aligned=True), None)
    if not (roots.data / PEOPLE).is_dir():
        # all of it is for testing: nothing may ever be trained on these people
        how = Preparation(which="centre", validation=0.0, test=1.0)
        prepare(raw / "lfw_view1", roots.data / PEOPLE, how, open_detector(SERVED, roots))
    if not (roots.data / TILES).is_dir():
        photographs = split_photographs(raw / "flickr_scenes")  # nobody of LFW: they are to be tested on
        session = open_detecting_teacher(Registry.scan([roots.models]), "yunet").session
        crops, unpeopled = [raw / name for name in TILED], read_names(UNPEOPLED)
        prepare_tiles(
            roots.data / TILES, photographs, crops, session, seed=TILES_SEED, count=tiles, unpeopled=unpeopled
        )
