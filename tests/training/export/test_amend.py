"""A published folder gains a normalisation and thresholds whole, or stays as it was."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from service.face.manifest import Manifest
from service.face.registry import CARD, MANIFEST, ModelFolder, Registry
from tests.training.conftest import MakeSet
from training.data.crops import open_set
from training.errors import PublishRefused
from training.evaluation.vectors import open_model
from training.export.amend import amend, put_section, write_thresholds
from training.export.equip import equip
from training.export.release import calibrate_on
from training.normalisation.cohort import CohortPlan
from training.normalisation.recognisability import GatePlan
from training.recipe import Roots


@pytest.fixture
def folder(model_dirs: tuple[Path, ...], tmp_path: Path) -> ModelFolder:
    source = Registry.scan(model_dirs).folders("embedder")[0]
    shutil.copytree(source.path, tmp_path / "published" / "copy")
    return ModelFolder(source.manifest, tmp_path / "published" / "copy")


def test_a_section_takes_its_old_place_or_stands_before_the_limits() -> None:
    card = "# m\n\nabout\n\n## Thresholds\n\nold\n\n## Limits\n\nnone\n"
    again = put_section(card, "Thresholds", "new\n")
    assert again == "# m\n\nabout\n\n## Thresholds\n\nnew\n\n## Limits\n\nnone\n"
    assert put_section(card, "More", "text").index("## More") < card.index("## Limits") + len("## More")
    assert put_section("# m\n\nabout\n", "More", "text") == "# m\n\nabout\n\n## More\n\ntext\n"


def test_what_would_not_load_is_not_written(folder: ModelFolder) -> None:
    before = {file.name: file.read_bytes() for file in folder.path.iterdir()}

    def spoil(draft: Path, manifest: Manifest) -> Manifest:
        (draft / "model.onnx").write_bytes(b"nothing")
        return manifest

    with pytest.raises(PublishRefused):
        amend(folder.path, spoil)
    assert {file.name: file.read_bytes() for file in folder.path.iterdir()} == before


def test_a_cohort_comes_with_a_gate_and_takes_the_old_thresholds_along(
    folder: ModelFolder, tmp_path: Path, make_set: MakeSet
) -> None:
    (tmp_path / "models").mkdir()
    roots = Roots(tmp_path / "data", tmp_path / "models", tmp_path / "runs")
    crops = make_set(roots.data / "six", each=12)
    people = make_set(roots.data / "people", each=10, seed=5)
    plan = CohortPlan(centres=8, nearest=2, least=2, damaged=20, tight=())
    made = equip(folder.path, [crops], roots, plan, GatePlan(damaged=20, steps=50, batch=32))
    assert made.manifest.thresholds == ()
    assert made.manifest.normalisation is not None
    assert made.manifest.computed_score.startswith("as-norm:")
    card = (folder.path / CARD).read_text()
    assert "## Score normalisation" in card
    assert "## Recognisability" in card

    opened = open_model(str(folder.path), roots)
    found, written = calibrate_on(opened, roots, people.name, [0.1])
    changed = write_thresholds(folder.path, opened, written)
    assert changed.thresholds == found.rows
    assert changed.score == changed.computed_score == written["score"]
    loaded = Registry.scan([folder.path.parent]).folders("embedder")[0]
    assert loaded.manifest == changed
    assert loaded.embedder().templates(open_set(people.folder).crops[:2]).offsets.shape == (2,)
    with pytest.raises(PublishRefused, match="measured was"):
        write_thresholds(folder.path, opened, written | {"score": "cosine"})
    assert (folder.path / MANIFEST).is_file()
