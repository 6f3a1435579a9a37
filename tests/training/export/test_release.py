"""From a run to a model folder that the service can serve: export, evaluate, calibrate, publish, by command."""

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from typer.testing import CliRunner

from service.face.embedding.preprocess import to_tensor
from service.face.manifest import Licence
from service.face.registry import Registry
from tests.conftest import encode
from tests.training.conftest import MakeRecipe, MakeSet
from training.atomic_folder import digest_file
from training.backbones.network import restore_student
from training.cli import app
from training.data.crops import open_set
from training.distillation import teacher_targets
from training.distillation.teacher_targets import compute_targets, flip_averaged
from training.distillation.teachers import RunTeacher, open_teacher
from training.engine.checkpoint import load_checkpoint
from training.engine.fit import fit
from training.errors import ExportFailed, InitialisationFailed, PublishRefused
from training.export.export import draw, export
from training.export.publish import Publication, publish
from training.recipe import Roots
from training.tasks import first_weights
from training.tasks.embedding import EMBEDDING

ABOUT = {
    "name": "tiny",
    "version": "1.2.3",
    "form": "fp32",
    "licence": {"id": "Apache-2.0", "url": None, "commercial_use": True, "note": "For this test."},
    "made_by": "the test suite",
    "about": "A very small network.",
    "limits": "Knows six people.",
}


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory, make_set: MakeSet, make_recipe: MakeRecipe) -> Roots:
    """A trained and exported run `tiny`, and a set `held-out` of thirty-six crops."""
    root = tmp_path_factory.mktemp("release")
    roots = Roots(root / "data", root / "models", root / "runs")
    roots.models.mkdir()
    six = make_set(roots.data / "six", each=8)
    make_set(roots.data / "held-out", each=6, seed=9)
    fit(make_recipe(), EMBEDDING, roots, accelerator="cpu", progress=False)
    export(roots.runs / "tiny", [six], amount=20)
    return roots


def command(roots: Roots, *arguments: str) -> str:
    folders = {"FACET_TRAIN_DATA": roots.data, "FACET_TRAIN_MODELS": roots.models, "FACET_TRAIN_RUNS": roots.runs}
    result = CliRunner().invoke(app, list(arguments), env={name: str(path) for name, path in folders.items()})
    assert result.exit_code == 0, result.output + repr(result.exception)
    return result.output


def refused(roots: Roots, *arguments: str) -> str:
    folders = {"FACET_TRAIN_DATA": roots.data, "FACET_TRAIN_MODELS": roots.models, "FACET_TRAIN_RUNS": roots.runs}
    result = CliRunner().invoke(app, list(arguments), env={name: str(path) for name, path in folders.items()})
    assert result.exit_code == 1
    lines = result.output.strip().splitlines()
    assert "Traceback" not in result.output
    return lines[-1]  # progress bars come before


def test_every_form_is_measured_and_none_is_praised_that_is_slower(roots: Roots) -> None:
    found = json.loads((roots.runs / "tiny" / "export" / "export.json").read_text())
    forms = {entry["form"]: entry for entry in found["forms"]}
    assert set(forms) == {"fp32", "fp16", "int8"}
    assert forms["fp32"]["cosine_min"] > 0.99999
    assert forms["fp16"]["cosine_min"] > 0.999
    assert forms["int8"]["cosine_mean"] > 0.8
    assert forms["fp32"]["bytes"] > forms["fp16"]["bytes"] > 0
    for entry in forms.values():
        assert entry["milliseconds"] > 0
        assert ("not an optimisation" in entry["verdict"]) == (entry["form"] != "fp32" and entry["speedup"] <= 1)
    assert not list((roots.runs / "tiny").glob(".*"))


def test_graph_and_torch_agree_on_any_batch_size_and_nothing_else_is_in_the_graph(
    roots: Roots, faces: NDArray[np.uint8]
) -> None:
    checkpoint = load_checkpoint(roots.runs / "tiny")
    student, pixels = restore_student(checkpoint)
    path = roots.runs / "tiny" / "export" / "fp32.onnx"
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for crops in (faces, faces[:1]):
        x = to_tensor(crops, pixels)
        with torch.no_grad():
            np.testing.assert_allclose(session.run(None, {"input": x})[0], student(torch.from_numpy(x)), atol=1e-4)
    weights = sum(
        int(np.prod(t.dims)) for t in onnx.load(path).graph.initializer if t.data_type == onnx.TensorProto.FLOAT
    )
    own = sum(t.numel() for t in student.state_dict().values() if t.is_floating_point())
    assert weights <= own + 100, "the head's centres stay in training"


def test_int8_weights_have_a_scale_per_channel(roots: Roots) -> None:
    graph = onnx.load(roots.runs / "tiny" / "export" / "int8.onnx").graph
    stored = {t.name: t for t in graph.initializer}
    kernels = [t for t in stored.values() if t.data_type == onnx.TensorProto.INT8 and len(t.dims) == 4]
    assert len(kernels) > 5
    dequantised = {n.input[0]: n for n in graph.node if n.op_type == "DequantizeLinear"}
    assert all(list(stored[dequantised[k.name].input[1]].dims) == [k.dims[0]] for k in kernels)


def test_too_few_crops_to_calibrate(roots: Roots) -> None:
    six = open_set(roots.data / "six")
    assert draw([six, six], 30, 0).shape == (30, 128, 128, 3)
    with pytest.raises(ExportFailed, match="the sets hold 48"):
        export(roots.runs / "tiny", [six], amount=40)


def test_targets_are_cached_flip_averaged_and_go_on_where_they_stopped(
    roots: Roots, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teacher_targets, "CHUNK", 8)
    monkeypatch.setattr(teacher_targets, "MARK_EVERY", 2)

    class Counting:
        def __init__(self, fails_after: int) -> None:
            self.teacher = open_teacher("t", RunTeacher(kind="run", run="tiny"), roots).embeds
            self.dim, self.digest = self.teacher.dim, self.teacher.digest
            self.calls, self.fails_after = 0, fails_after

        def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
            self.calls += 1
            if self.calls > self.fails_after:
                raise RuntimeError("power cut")
            return self.teacher.embed(crops)

    six = open_set(roots.data / "six")
    folder = roots.runs / "targets-test"
    with pytest.raises(RuntimeError, match="power"):
        compute_targets(folder, Counting(5), six, progress=False)
    working = Counting(100)
    values = compute_targets(folder, working, six, progress=False)
    assert working.calls == 2 * 4, "of six chunks two were kept"
    np.testing.assert_allclose(np.linalg.norm(values, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(values[5:9], flip_averaged(working.teacher, np.asarray(six.crops[5:9])), atol=1e-6)
    mirrored = flip_averaged(working.teacher, np.ascontiguousarray(six.crops[5:9, :, ::-1]))
    np.testing.assert_allclose(values[5:9], mirrored, atol=1e-6)
    calls = working.calls
    compute_targets(folder, working, six, progress=False)
    assert working.calls == calls, "computed once"
    held_out = open_set(roots.data / "held-out")
    assert compute_targets(folder, working, held_out, progress=False).shape == (36, 16)
    assert len(list(folder.glob("*.npy"))) == 2
    assert not list(folder.glob("*.part*"))


def test_the_whole_way_by_command(
    roots: Roots, model_dirs: tuple[Path, ...], faces: NDArray[np.uint8], tmp_path: Path
) -> None:
    held_out = open_set(roots.data / "held-out")
    detector = next(f for f in Registry.scan(model_dirs).folders("detector"))
    if not (roots.models / "detector").exists():
        (roots.models / "detector").symlink_to(detector.path.resolve())
    rng = np.random.default_rng(0)
    images, same = [], []
    for i in range(40):
        a, b = rng.permutation(6)[:2]
        b = a if i % 2 == 0 else b
        images += [encode(held_out.crops[6 * a + rng.integers(6)][8:120, 8:120], "PNG") for a in (a, b)]
        same.append(bool(a == b))
    pack = tmp_path / "pack.bin"
    pack.write_bytes(pickle.dumps((images, same)))

    printed = command(
        roots, "evaluate", "run:tiny:fp32", "--bin", str(pack), "--openset", "held-out", "--out", str(tmp_path / "eval")
    )
    assert "TAR at FMR" in printed or "accuracy" in printed
    (packed, opened) = json.loads((tmp_path / "eval" / "report.json").read_text())
    torch_only = command(roots, "evaluate", "run:tiny", "--bin", str(pack))
    value = next(r["value"] for r in packed["results"] if r["metric"] == "accuracy")
    assert f"{value:.4f}" in torch_only, "the graph decides as the trained network does"
    assert opened["details"]["mated"] > 0
    for suffix in ("png", "svg"):
        for kind in ("det", "roc"):
            assert (tmp_path / "eval" / f"pack-{kind}.{suffix}").stat().st_size > 1000

    assert "refused" in command(roots, "calibrate", "run:tiny:fp32", "held-out", "--out", str(tmp_path / "c.json"))
    about = tmp_path / "about.json"
    about.write_text(json.dumps(ABOUT))
    arguments = [
        "publish",
        "tiny",
        str(roots.models),
        "--about",
        str(about),
        "--report",
        str(tmp_path / "eval" / "report.json"),
        "--calibration",
        str(tmp_path / "c.json"),
    ]
    command(roots, *arguments)
    assert "exists already" in refused(roots, *arguments)

    embedder = Registry.scan([roots.models]).embedder("tiny")
    manifest = embedder.manifest
    assert manifest.identity == "tiny@1.2.3"
    assert manifest.space == manifest.sha256
    assert manifest.provenance.recipe == "tiny"
    assert manifest.thresholds[0].fmr == 0.1
    assert {row.protocol for row in manifest.results} >= {"pack"}
    student, pixels = restore_student(load_checkpoint(roots.runs / "tiny"))
    with torch.no_grad():
        expected = torch.nn.functional.normalize(student(torch.from_numpy(to_tensor(faces, pixels))))
    np.testing.assert_allclose(embedder.embed(faces), expected, atol=1e-4)
    card = Registry.scan([roots.models]).find("tiny").card()
    for part in ("Knows six people.", "Apache-2.0", "| pack | accuracy |", "| 0.1 |", manifest.sha256, "## Limits"):
        assert part in card
    assert "$" not in card

    by_name = command(
        roots, "evaluate", "tiny", str(roots.models / "tiny-1.2.3"), "--bin", str(pack), "--reference", "tiny"
    )
    assert by_name.count("enrolled with tiny@1.2.3  accuracy  ") == 2
    assert "different spaces" in refused(roots, "evaluate", "run:tiny", "--bin", str(pack), "--reference", "tiny")


def test_training_goes_on_from_a_published_models_weights(
    roots: Roots, make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    about = Publication(**ABOUT | {"name": "begun", "licence": Licence.model_validate(ABOUT["licence"])})  # type: ignore[arg-type]
    folder = publish(roots.runs / "tiny", about, roots.models)
    checkpoint = load_checkpoint(roots.runs / "tiny")
    assert digest_file(folder / "weights.npz") in (folder / "MODEL_CARD.md").read_text()
    init = {"kind": "model", "model": "begun", "minimum": 1.0}
    task = EMBEDDING.build(make_recipe(name="next", init=init), roots)
    for name, tensor in task.student.state_dict().items():
        torch.testing.assert_close(tensor, checkpoint.best[f"student.{name}"], msg=name)
    assert set(task.facts["data"]) == {"that of begun@1.2.3", "six"}
    (folder / "weights.npz").write_bytes((folder / "weights.npz").read_bytes()[:-100])
    with pytest.raises(InitialisationFailed, match="only a model with its weights"):
        EMBEDDING.build(make_recipe(name="next", init=init), roots)
    (folder / "weights.npz").unlink()
    with pytest.raises(InitialisationFailed, match="only a model with its weights"):
        EMBEDDING.build(make_recipe(name="next", init=init), roots)
    shutil.rmtree(folder)


def test_training_goes_on_from_kept_weights(
    roots: Roots, make_recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command(roots, "keep", "tiny", "--into", str(tmp_path / "begun")).strip() == str(tmp_path / "begun")
    monkeypatch.setattr(first_weights, "KEPT", tmp_path)
    checkpoint = load_checkpoint(roots.runs / "tiny")
    init = {"kind": "weights", "weights": "begun", "minimum": 1.0}
    task = EMBEDDING.build(make_recipe(name="next", init=init), roots)
    for name, tensor in task.student.state_dict().items():
        torch.testing.assert_close(tensor, checkpoint.best[f"student.{name}"], msg=name, atol=1e-3, rtol=1e-3)
    assert task.facts["data"] == checkpoint.facts["data"]
    (tmp_path / "begun" / "facts.json").unlink()
    with pytest.raises(InitialisationFailed, match="facet-train keep"):
        EMBEDDING.build(make_recipe(name="next", init=init), roots)


def test_a_measurement_of_another_file_is_not_published(roots: Roots, tmp_path: Path) -> None:
    about, report = tmp_path / "about.json", tmp_path / "report.json"
    about.write_text(json.dumps(ABOUT | {"version": "9.0.0"}))
    report.write_text(json.dumps([{"digest": "0" * 64, "results": [], "details": {}}]))
    message = refused(roots, "publish", "tiny", str(tmp_path / "m"), "--about", str(about), "--report", str(report))
    assert message.startswith("publish_refused: a measurement is of 000000000000")
    assert not (tmp_path / "m").exists()
    about.write_text(json.dumps({k: v for k, v in ABOUT.items() if k != "limits"}))
    assert "limits" in refused(roots, "publish", "tiny", str(tmp_path / "m"), "--about", str(about))
    about.write_text(json.dumps(ABOUT | {"form": "int4"}))
    assert "not as int4" in refused(roots, "publish", "tiny", str(tmp_path / "m"), "--about", str(about))


def test_expected_failures_are_one_line(roots: Roots, tmp_path: Path) -> None:
    assert refused(roots, "fit", str(tmp_path / "none.yaml")).startswith("recipe_invalid: ")
    assert refused(roots, "evaluate", "run:nobody", "--openset", "six").startswith("checkpoint_invalid: ")
    assert "nothing to evaluate on" in refused(roots, "evaluate", "run:tiny")
    assert refused(roots, "calibrate", "run:tiny", "six", "--fmr", "1e-5").startswith("rate_unsupported: ")
    assert refused(roots, "prepare", str(tmp_path / "no"), "x", "--aligned").startswith("set_missing: ")


def test_publish_needs_an_export(roots: Roots, tmp_path: Path) -> None:
    what = Publication(**ABOUT | {"licence": Licence.model_validate(ABOUT["licence"])})  # type: ignore[arg-type]
    with pytest.raises(PublishRefused, match="facet-train export"):
        publish(tmp_path / "nothing", what, tmp_path)
