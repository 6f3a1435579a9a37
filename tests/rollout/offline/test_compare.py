"""`facet compare` and `facet comparison report`, from files to tables."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

from service.cli import app
from service.face.decoding.image import ImageLimits
from service.face.detection.search import Seek
from service.face.embedding.embed import Embedder
from service.face.embedding.normalisation import NORMALISATION, Normalisation
from service.face.quality import QualityLimits
from service.face.registry import Registry
from service.face.session import ModelSession
from service.measures.thresholds import threshold_at
from service.models import Models
from service.pipeline import Perception
from service.rollout.offline.measure import measure
from service.rollout.offline.photographs import read_people
from service.runtime.timing import Stages
from tests.accuracy.lfw import unpack
from tests.conftest import encode
from tests.rollout.conftest import Start, enrol, identify
from tests.rollout.test_shadow import cases_of
from training.normalisation.graphs import write_normalisation

RUNNER = CliRunner(env={"COLUMNS": "200"})


@pytest.fixture
def environment(zoo: Path, model_dirs: tuple[Path, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACET_MODEL_DIRS", ":".join(map(str, (zoo, *model_dirs))))
    monkeypatch.setenv("FACET_DATA", str(tmp_path / "data"))


def album(root: Path, faces: dict[str, NDArray[np.uint8]], nothing: NDArray[np.uint8]) -> Path:
    """Each person three times, a little changed; and one photograph without a face."""
    for person, pixels in faces.items():
        (root / person).mkdir(parents=True)
        for number, changed in enumerate((pixels, pixels[:, ::-1], (pixels * 0.7).astype(np.uint8))):
            (root / person / f"{number}.jpg").write_bytes(encode(changed))
    (root / next(iter(faces)) / "9.jpg").write_bytes(encode(nothing))
    return root


def test_models_side_by_side(
    environment: None,
    tmp_path: Path,
    astronaut: NDArray[np.uint8],
    admiral: NDArray[np.uint8],
    cat: NDArray[np.uint8],
) -> None:
    folder = album(tmp_path / "people", {"ann": astronaut, "bob": admiral}, cat)
    (folder / "bob" / "8.jpg").write_bytes(encode(admiral)[:2000])
    markdown, table = tmp_path / "report.md", tmp_path / "report.csv"
    chosen = ["teacher", "student", "stranger", "--people", str(folder), "--plots", str(tmp_path / "plots")]
    result = RUNNER.invoke(app, ["compare", *chosen, "--markdown", str(markdown), "--csv", str(table)])
    assert result.exit_code == 0, result.output
    rows = read(table)
    assert [row["model"] for row in rows] == ["teacher@1.0.0", "student@1.0.0", "stranger@1.0.0"]
    assert all(float(row["ms per face, 1 thread"]) > 0 for row in rows)
    files = [float(row["file, MB"]) for row in rows]
    assert all(0.5 * size < float(row["memory, MB"]) < 500 for row, size in zip(rows, files, strict=True))
    assert_drawn(tmp_path / "plots", "cost", "rates")
    assert all(row["accuracy"].startswith(rows[0]["accuracy"][:2]) for row in rows)
    text = markdown.read_text()
    assert "8 photographs, 1 without a face found, 1 that cannot be read; 12 genuine and 12 impostor pairs" in text
    assert f"left out: {folder / 'ann' / '9.jpg'}: no_face: " in result.output
    assert f"left out: {folder / 'bob' / '8.jpg'}: image_corrupt: " in result.output
    assert "| teacher@1.0.0, student@1.0.0 |" in text
    assert "| student@1.0.0, teacher@1.0.0 |" in text, "each direction of one space"
    (line,) = (line for line in text.splitlines() if line.startswith("| teacher@1.0.0, stranger@1.0.0 |"))
    assert line.endswith("| another space |")
    assert "teacher@1.0.0" in result.output


def test_scores_are_those_that_the_service_decides_by(
    model_dirs: tuple[Path, ...], tmp_path: Path, astronaut: NDArray[np.uint8], admiral: NDArray[np.uint8]
) -> None:
    """A model with a normalisation is not measured by the plain cosines of its templates."""
    shades = [round(0.5 + number / 40, 3) for number in range(18)]  # 324 impostors support one rate, 0.1
    for person, pixels in (("ann", astronaut), ("bob", admiral)):
        (tmp_path / "people" / person).mkdir(parents=True)
        for shade in shades:
            (tmp_path / "people" / person / f"{shade}.jpg").write_bytes(encode((pixels * shade).astype(np.uint8)))
    loaded = Models.load(Registry.scan(model_dirs), "facet-detector", ["facet-s"])
    (model,) = loaded.embedders
    perception = Perception(loaded.detector, ImageLimits(max_bytes=1 << 24, max_pixels=1 << 26), QualityLimits())
    photographs = read_people(tmp_path / "people")
    model.normalisation = strict_normalisation(model, tmp_path / NORMALISATION)
    made = measure(photographs, perception, [model], {model.digest: 0})
    crops = [
        perception.look(file.read_bytes(), Stages(), Seek.PROMINENT, 1).prominent().crop for file in photographs.files
    ]
    templates = model.templates(np.stack(crops))
    assert (templates.offsets < 0).all()
    ann, bob = slice(0, len(shades)), slice(len(shades), None)
    cosines = templates.vectors[ann] @ templates.vectors[bob].T
    scores = cosines + templates.offsets[ann, None] + templates.offsets[bob]
    _, threshold = made.models[0].rates[0.1]
    assert threshold == pytest.approx(threshold_at(scores.ravel(), 0.1), abs=1e-3)
    assert threshold < threshold_at(cosines.ravel(), 0.1) - 0.05
    assert made.models[0].score == model.manifest.computed_score


def test_the_live_comparison_as_files(
    environment: None, start: Start, tmp_path: Path, portrait: bytes, other_portrait: bytes
) -> None:
    client = start("teacher", "student", shadow_cpu=1.0)
    enrol(client, "person-1", portrait)
    client.put("/v1/roles", json={"champion": "teacher", "challenger": "student", "sample": 1.0})
    identify(client, portrait, fmr="0.01")
    identify(client, other_portrait, fmr="0.01")
    cases_of(client, 2)
    markdown, table = tmp_path / "live.md", tmp_path / "live.csv"
    arguments = ["comparison", "report", "--markdown", str(markdown), "--csv", str(table), "--plots", str(tmp_path)]
    result = RUNNER.invoke(app, arguments)
    assert result.exit_code == 0, result.output
    text = markdown.read_text()
    assert text.startswith("# teacher@1.0.0 and student@1.0.0 on live requests\n\n2 cases.")
    assert "| teacher@1.0.0 matches | 1 | 0 |" in text
    assert "| does not | 0 | 1 |" in text
    assert [row["route"] for row in read(table)] == ["identify", "identify"]
    assert_drawn(tmp_path, "scores", "agreement", "seconds")
    assert "agree: 2" in (tmp_path / "scores.svg").read_text()
    alone = RUNNER.invoke(app, ["comparison", "report", "--champion", "student", "--challenger", "teacher"])
    assert "0 cases.\n\n`--champion` and `--challenger`" in alone.output
    assert "|" not in alone.output, "no empty tables"


def test_wrong_arguments_say_what_to_do(environment: None, tmp_path: Path) -> None:
    assert "exactly one" in RUNNER.invoke(app, ["compare", "teacher"]).output
    missing = RUNNER.invoke(app, ["compare", "nobody", "--people", str(tmp_path)])
    assert missing.exit_code == 1
    assert RUNNER.invoke(app, ["comparison", "report"]).exit_code == 1


@pytest.mark.data
@pytest.mark.timeout(3600)
def test_on_the_lfw_development_view(environment: None, tmp_path: Path) -> None:
    pairs = unpack(tmp_path / "lfw") / "pairsDevTest.txt"
    table = tmp_path / "lfw.csv"
    result = RUNNER.invoke(app, ["compare", "teacher", "student", "--pairs", str(pairs), "--csv", str(table)])
    assert result.exit_code == 0, result.output
    teacher, student = read(table)
    assert share(teacher["accuracy"]) >= 97.0
    # Weights moved by two hundredths are no better than the weights they were moved from.
    assert share(teacher["TAR at FMR 0.001"]) > share(student["TAR at FMR 0.001"]) - 1


def strict_normalisation(model: Embedder, path: Path) -> Normalisation:
    """One that takes some tenths off every score."""
    near = np.ones(model.dim, np.float32) / np.sqrt(model.dim, dtype=np.float32)
    write_normalisation(path, near[None], nearest=1, strength=0.2, ordinary=-1.0)
    return Normalisation(ModelSession(path), model.dim, "0" * 64)


def assert_drawn(folder: Path, *names: str) -> None:
    """Each picture is there in both formats, and shows more than an empty sheet."""
    for name in names:
        with Image.open(folder / f"{name}.png") as picture:
            assert len(picture.convert("RGB").getcolors(1 << 20) or []) > 20
        assert "<svg" in (folder / f"{name}.svg").read_text()


def read(table: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(table.read_text().splitlines()))


def share(cell: str) -> float:
    """The percentage at the beginning of a cell."""
    return float(cell.partition("%")[0])
