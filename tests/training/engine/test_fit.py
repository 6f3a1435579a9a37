import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from tests.training.conftest import STUDENT, MakeRecipe, MakeSet
from training.backbones.network import restore_student
from training.data.crops import open_set
from training.distillation.spaces import teacher_space
from training.engine.checkpoint import load_checkpoint
from training.engine.fit import fit
from training.engine.optimise import Average, build_optimiser, rate
from training.engine.task import TaskKind
from training.errors import (
    CheckpointInvalid,
    ExportFailed,
    InitialisationFailed,
    LossNotFinite,
    RecipeInvalid,
    SetMissing,
    TeacherMismatch,
    TeacherMissing,
)
from training.export.export import export
from training.recipe import Roots, Schedule
from training.tasks.embedding import EMBEDDING, EmbeddingTask
from training.tasks.landmarks import LANDMARKS, LandmarkRecipe


def run(recipe: Any, roots: Roots, **options: Any) -> Path:
    return fit(recipe, EMBEDDING, roots, accelerator="cpu", progress=False, **options)


def equal(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_a_resumed_run_is_the_uninterrupted_run(roots: Roots, make_recipe: MakeRecipe) -> None:
    """With dropout, augmentation, momentum, warm-up and an average, interrupted twice, once within an epoch."""
    schedule = {"peak": 2e-3, "batch": 12, "steps": 7, "ema": 0.9, "checkpoint_every": 100, "workers": 2}
    whole = load_checkpoint(run(make_recipe(name="whole", schedule=schedule), roots))
    pieces = make_recipe(name="pieces", schedule=schedule)
    for until in (3, 5, None):
        folder = run(pieces, roots, until=until)
    resumed = load_checkpoint(folder)
    assert resumed.step == whole.step == 7
    assert equal(resumed.model, whole.model)
    assert resumed.average is not None
    assert whole.average is not None
    assert equal(resumed.average, whole.average)
    assert not equal(resumed.average, resumed.model)


def test_the_number_of_workers_does_not_matter(roots: Roots, make_recipe: MakeRecipe) -> None:
    states = []
    for workers in (1, 3):
        schedule = {"peak": 2e-3, "batch": 12, "steps": 3, "workers": workers}
        states.append(load_checkpoint(run(make_recipe(name=f"workers-{workers}", schedule=schedule), roots)).model)
    assert equal(*states)


def test_the_loss_falls_and_the_run_says_what_it_was(roots: Roots, make_recipe: MakeRecipe) -> None:
    schedule = {"peak": 5e-3, "batch": 24, "steps": 25}
    recipe = make_recipe(schedule=schedule, augment={}, student=STUDENT | {"dropout": 0.0})
    task = EmbeddingTask(recipe, roots)
    batch = {k: torch.from_numpy(v) for k, v in task.source.batch(np.arange(24), np.random.default_rng(0)).items()}
    before = sum(v.item() for v in task(batch).values())
    folder = run(recipe, roots)
    summary = json.loads((folder / "fit.json").read_text())
    assert summary["loss"] < 0.5 * before
    assert summary["images_per_second"] > 0
    assert 0 <= summary["data_wait"] < 1
    assert list((folder / "log").glob("events.*"))
    facts = load_checkpoint(folder).facts
    assert facts["crops"] == 48
    assert len(facts["classes"]) == 6
    assert set(facts["data"]) == {"six"}
    assert facts["trained_on"] == "cpu"


def test_only_the_student_is_exported(roots: Roots, make_recipe: MakeRecipe) -> None:
    teacher = run(make_recipe(name="teacher"), roots)
    recipe = make_recipe(
        name="student",
        student=STUDENT | {"dim": 8},
        teachers={"t": {"kind": "run", "run": "teacher"}},
        view={"teacher": "shared"},
        terms=[
            {
                "tap": "stage_2",
                "adapter": {"kind": "convolution"},
                "target": {"kind": "tail", "teacher": "t"},
                "distance": {"kind": "cosine", "power": 2},
            },
            {
                "tap": "embedding",
                "adapter": {"kind": "linear"},
                "target": {"kind": "identity", "teacher": "t"},
                "distance": {"kind": "cosine"},
            },
        ],
    )
    before = load_checkpoint(teacher).best
    state = load_checkpoint(run(recipe, roots))
    assert {name.split(".")[0] for name in state.model} == {"student", "head", "terms"}
    assert equal(load_checkpoint(teacher).best, before)
    exported = EMBEDDING.restore(recipe, state.best)
    assert {name.split(".")[0] for name in exported.module.state_dict()} == {"student"}
    student, _ = restore_student(state)
    torch.testing.assert_close(exported.module(exported.example), student(exported.example))
    assert teacher_space(state) is None, "an adapter makes a space of its own"


def test_the_teacher_stays_as_it_is(roots: Roots, make_recipe: MakeRecipe) -> None:
    run(make_recipe(name="teacher"), roots)
    recipe = make_recipe(
        name="s",
        head={"kind": "none"},
        teachers={"t": {"kind": "run", "run": "teacher"}},
        view={"teacher": "shared"},
        terms=[IDENTITY],
    )
    task = EmbeddingTask(recipe, roots)
    (network,) = task.frozen
    assert not any(p.requires_grad for p in network.parameters())
    assert not any(name.startswith("frozen") for name, _ in task.named_parameters())
    task.train()
    assert not network.training


IDENTITY = {"tap": "embedding", "target": {"kind": "identity", "teacher": "t"}, "distance": {"kind": "cosine"}}


def test_cached_and_shared_views_of_a_run_and_the_space(roots: Roots, make_recipe: MakeRecipe) -> None:
    run(make_recipe(name="teacher"), roots)
    common = {
        "head": {"kind": "none"},
        "teachers": {"t": {"kind": "run", "run": "teacher"}},
        "terms": [IDENTITY],
        "augment": {},
    }
    clean = EmbeddingTask(make_recipe(name="clean", **common), roots)
    shared = EmbeddingTask(make_recipe(name="shared", view={"teacher": "shared"}, **common), roots)
    arrays = [task.source.batch(np.arange(6), np.random.default_rng(0)) for task in (clean, shared)]
    assert "target.t" in arrays[0]
    assert "view.t" in arrays[1]
    assert len(list((roots.runs / "targets").glob("*.npy"))) == 1
    folder = run(make_recipe(name="clean", **common), roots)
    checkpoint = load_checkpoint(folder)
    assert teacher_space(checkpoint) == checkpoint.facts["teachers"]["t"]
    common["teachers"] = {"t": {"kind": "run", "run": "clean"}}
    pupil = load_checkpoint(run(make_recipe(name="pupil", **common), roots))
    assert teacher_space(pupil) == checkpoint.facts["teachers"]["t"], "whoever is taught by a pupil is in its space"


def test_knowledge_transfer_starts_at_the_teacher(roots: Roots, make_recipe: MakeRecipe) -> None:
    run(make_recipe(name="teacher"), roots)
    recipe = make_recipe(
        name="kt", init={"kind": "teacher", "teacher": "t"}, teachers={"t": {"kind": "run", "run": "teacher"}}
    )
    started = EmbeddingTask(recipe, roots)
    own = {f"student.{name}": t for name, t in started.student.state_dict().items()}
    teacher = {n: t for n, t in load_checkpoint(roots.runs / "teacher").best.items() if n.startswith("student.")}
    assert equal(own, teacher)
    again = EmbeddingTask(make_recipe(name="again", init={"kind": "checkpoint", "run": "teacher"}), roots)
    assert equal({f"student.{n}": t for n, t in again.student.state_dict().items()}, teacher)


def test_a_learned_head_may_start_at_the_teachers_centres(roots: Roots, make_recipe: MakeRecipe) -> None:
    run(make_recipe(name="teacher"), roots)
    head = {"kind": "learned", "teacher": "t", "arc": 0.2, "scale": 16}
    recipe = make_recipe(name="kt", head=head, teachers={"t": {"kind": "run", "run": "teacher"}})
    before = EmbeddingTask(recipe, roots).state_dict()["head.centres"]
    torch.testing.assert_close(before, load_checkpoint(roots.runs / "teacher").best["head.centres"])
    after = load_checkpoint(run(recipe, roots)).model["head.centres"]
    assert not torch.equal(before, after), "and moves on by gradient"


@pytest.mark.parametrize("kind", ["frozen", "ema"])
def test_heads_that_take_their_centres_from_a_teacher(roots: Roots, make_recipe: MakeRecipe, kind: str) -> None:
    run(make_recipe(name="teacher"), roots)
    recipe = make_recipe(
        name=kind,
        head={"kind": kind, "teacher": "t", "arc": 0.45, "scale": 64},
        teachers={"t": {"kind": "run", "run": "teacher"}},
    )
    before = EmbeddingTask(recipe, roots).state_dict()["head.centres"]
    after = load_checkpoint(run(recipe, roots)).model["head.centres"]
    assert torch.equal(before, after) == (kind == "frozen")
    if kind == "frozen":
        torch.testing.assert_close(before, load_checkpoint(roots.runs / "teacher").best["head.centres"])


def test_logits_are_compared_against_the_teachers_classes(roots: Roots, make_recipe: MakeRecipe) -> None:
    run(make_recipe(name="teacher"), roots)
    logits = {
        "tap": "logits",
        "target": {"kind": "identity", "teacher": "t"},
        "distance": {"kind": "grouped_kl", "temperature": 4},
    }
    recipe = make_recipe(
        name="kd", student=STUDENT | {"dim": 8}, terms=[logits], teachers={"t": {"kind": "run", "run": "teacher"}}
    )
    state = load_checkpoint(run(recipe, roots))
    assert not any("centres_t" in name for name in state.model)


def test_nan_in_the_loss_ends_the_run_and_keeps_the_last_good_state(roots: Roots, make_recipe: MakeRecipe) -> None:
    class Poisoned(EmbeddingTask):
        def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
            losses = super().forward(batch)
            self.steps = getattr(self, "steps", 0) + 1
            return {name: loss * (float("nan") if self.steps > 4 else 1) for name, loss in losses.items()}

    poisoned = TaskKind(EMBEDDING.recipe, Poisoned, EMBEDDING.restore)
    recipe = make_recipe(schedule={"peak": 1e-3, "batch": 12, "steps": 8, "checkpoint_every": 2})
    with pytest.raises(LossNotFinite, match="head is nan"):
        fit(recipe, poisoned, roots, accelerator="cpu", progress=False)
    checkpoint = load_checkpoint(roots.runs / "tiny")
    assert checkpoint.step == 4
    assert all(bool(t.isfinite().all()) for t in checkpoint.model.values())
    assert not (roots.runs / "tiny" / "fit.json").exists()
    assert not list((roots.runs / "tiny").glob(".*")), "no half-written file"


@pytest.mark.parametrize(
    ("change", "error", "complaint"),
    [
        ({"data": {"sets": {"seven": 1.0}}}, SetMissing, "seven"),
        ({"student": {"kind": "transformer"}}, RecipeInvalid, "known: .*iresnet"),
        ({"student": STUDENT | {"depth": 9}}, RecipeInvalid, "depth.*its options are"),
        ({"student": STUDENT | {"input_size": 48}}, RecipeInvalid, "48x48.*32x32"),
        ({"head": {"kind": "none"}}, RecipeInvalid, "at least one term"),
        ({"head": {"kind": "ema"}}, RecipeInvalid, "teacher"),
        ({"terms": [IDENTITY]}, RecipeInvalid, "t is compared with, but not described"),
        ({"teachers": {"t": {"kind": "model", "model": "nobody"}}, "terms": [IDENTITY]}, TeacherMissing, "nobody"),
        ({"teachers": {"t": {"kind": "run", "run": "nobody"}}, "terms": [IDENTITY]}, CheckpointInvalid, "nobody"),
        ({"init": {"kind": "checkpoint", "run": "nobody"}}, CheckpointInvalid, "nobody"),
        ({"schedule": {"peak": 1e-3, "batch": 49, "steps": 1}}, RecipeInvalid, "49"),
    ],
)
def test_a_recipe_that_cannot_run_fails_at_once_and_leaves_no_checkpoint(
    roots: Roots, make_recipe: MakeRecipe, change: dict[str, Any], error: type[Exception], complaint: str
) -> None:
    with pytest.raises(error, match=complaint):
        run(make_recipe(**change), roots)
    assert not (roots.runs / "tiny" / "checkpoint.pt").exists()


def test_a_teacher_of_another_size_is_refused(roots: Roots, make_recipe: MakeRecipe) -> None:
    run(make_recipe(name="teacher"), roots)
    teachers = {"t": {"kind": "run", "run": "teacher"}}
    narrow = STUDENT | {"dim": 8}
    with pytest.raises(TeacherMismatch, match=r"\(8,\).*\(16,\)"):
        run(make_recipe(student=narrow, teachers=teachers, terms=[IDENTITY]), roots)
    with pytest.raises(TeacherMismatch, match=r"16 values[\s\S]*gives 8"):
        run(make_recipe(student=narrow, teachers=teachers, head={"kind": "ema", "teacher": "t"}), roots)
    with pytest.raises(InitialisationFailed, match="tensors fit"):
        run(
            make_recipe(student=STUDENT | {"width": 0.25}, teachers=teachers, init={"kind": "teacher", "teacher": "t"}),
            roots,
        )


def test_another_recipe_of_the_same_name_does_not_continue_a_run(roots: Roots, make_recipe: MakeRecipe) -> None:
    run(make_recipe(), roots, until=2)
    with pytest.raises(CheckpointInvalid, match="another recipe"):
        run(make_recipe(seed=1), roots)
    (roots.runs / "tiny" / "checkpoint.pt").write_bytes(b"half")
    with pytest.raises(CheckpointInvalid, match="cannot be read"):
        run(make_recipe(), roots)


def test_a_run_does_not_go_on_with_other_crops(roots: Roots, make_recipe: MakeRecipe, make_set: MakeSet) -> None:
    run(make_recipe(), roots, until=3)
    make_set(roots.data / "six", seed=1)
    with pytest.raises(CheckpointInvalid, match="began with another six"):
        run(make_recipe(), roots)
    make_set(roots.data / "six")
    assert load_checkpoint(run(make_recipe(), roots)).step == 6


def test_nothing_learns_from_a_run_that_has_steps_left(roots: Roots, make_recipe: MakeRecipe) -> None:
    run(make_recipe(name="half"), roots, until=3)
    taught = make_recipe(name="taught", teachers={"t": {"kind": "run", "run": "half"}}, terms=[IDENTITY])
    begun = make_recipe(name="begun", init={"kind": "checkpoint", "run": "half"})
    for recipe in (taught, begun):
        with pytest.raises(CheckpointInvalid, match="half stopped at step 3 of 6: end it first"):
            run(recipe, roots)
    run(make_recipe(name="half"), roots)
    for recipe in (taught, begun):
        assert load_checkpoint(run(recipe, roots)).step == 6


def test_a_finished_run_is_left_as_it_is(roots: Roots, make_recipe: MakeRecipe) -> None:
    """Whatever has become since of what it learnt from."""
    finished = (run(make_recipe(), roots) / "checkpoint.pt").read_bytes()
    shutil.rmtree(roots.data / "six")
    assert (run(make_recipe(), roots) / "checkpoint.pt").read_bytes() == finished


def test_no_step_is_taken_until_step_nought(roots: Roots, make_recipe: MakeRecipe) -> None:
    assert not (run(make_recipe(), roots, until=0) / "checkpoint.pt").exists()


def test_a_gradient_that_is_not_finite_ends_a_run_that_clips_none(roots: Roots, make_recipe: MakeRecipe) -> None:
    class Steep(EmbeddingTask):
        def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
            weight = next(self.student.parameters())
            return super().forward(batch) | {"steep": (weight * 0).abs().sqrt().sum()}  # nought, and infinitely steep

    schedule = {"peak": 1e-3, "batch": 12, "steps": 1, "clip": None}
    with pytest.raises(LossNotFinite, match="gradient norm is nan"):
        fit(make_recipe(schedule=schedule), TaskKind(EMBEDDING.recipe, Steep, EMBEDDING.restore), roots, progress=False)
    assert not (roots.runs / "tiny" / "checkpoint.pt").exists()


def test_bfloat16_trains(roots: Roots, make_recipe: MakeRecipe) -> None:
    schedule = {"peak": 1e-3, "batch": 12, "steps": 2, "precision": "bf16-mixed"}
    state = load_checkpoint(run(make_recipe(schedule=schedule), roots)).model
    assert {t.dtype for t in state.values() if t.is_floating_point()} == {torch.float32}


def test_the_rate_rises_and_falls() -> None:
    schedule = Schedule(peak=2.0, warmup=0.1, final=0.1, batch=1, steps=100)
    values = [rate(step, 100, schedule) for step in range(100)]
    np.testing.assert_allclose(values[:10], np.arange(1, 11) * 0.2)
    assert max(values) == 2.0
    assert values[55] == pytest.approx(0.2 + 1.8 * 0.5)
    assert 0.2 <= values[-1] < 0.21


def test_the_rate_is_that_of_torchs_own_schedulers() -> None:
    schedule = Schedule(peak=2.0, warmup=0.1, final=0.1, batch=1, steps=100)
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=schedule.peak)
    rise = torch.optim.lr_scheduler.LinearLR(optimiser, start_factor=1 / 10, total_iters=9)
    fall = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=90, eta_min=0.2)
    scheduler = torch.optim.lr_scheduler.SequentialLR(optimiser, [rise, fall], milestones=[10])
    for step in range(100):
        assert rate(step, 100, schedule) == pytest.approx(optimiser.param_groups[0]["lr"], rel=1e-6)
        optimiser.step()
        scheduler.step()


def test_the_average_is_that_of_torchs_averaged_model() -> None:
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    average = Average(net.state_dict(), 0.9)
    model = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    model.update_parameters(net)  # the first update copies
    for step in range(1000, 1005):
        net(torch.randn(2, 3, 8, 8))
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.add_(torch.randn_like(parameter))
        average.update(net.state_dict(), step)
        model.update_parameters(net)
    expected = model.module.state_dict()
    for name in ("0.weight", "0.bias", "1.weight", "1.running_mean", "1.running_var"):
        torch.testing.assert_close(average.state[name], expected[name])
    assert average.state["1.num_batches_tracked"] == net[1].num_batches_tracked


def test_weight_decay_spares_biases_and_norms() -> None:
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.PReLU(4))
    decayed, spared = build_optimiser(net, Schedule(peak=1e-3, batch=1, steps=1, weight_decay=0.1)).param_groups
    assert [tuple(p.shape) for p in decayed["params"]] == [(4, 3, 3, 3)]
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.1, 0.0)


def test_the_average_by_hand() -> None:
    average = Average({"w": torch.tensor([0.0]), "n": torch.tensor(1)}, 0.99)
    average.update({"w": torch.tensor([10.0]), "n": torch.tensor(2)}, 0)  # keeps (1 + 0) / (10 + 0)
    assert average.state["w"].item() == pytest.approx(9.0)
    assert average.state["n"].item() == 2
    average.update({"w": torch.tensor([0.0]), "n": torch.tensor(3)}, 100_000)
    assert average.state["w"].item() == pytest.approx(9.0 * 0.99)


def test_landmarks_are_learnt_and_exported_with_their_layer(
    roots: Roots, make_recipe: MakeRecipe, make_set: MakeSet
) -> None:
    values = make_recipe(
        name="points", head={"kind": "none"}, schedule={"peak": 5e-3, "batch": 24, "steps": 30}
    ).model_dump()
    recipe = LandmarkRecipe.model_validate(
        values | {"task": "landmarks", "points_weight": 10.0, "augment": {"shift": 8}}
    )
    folder = fit(recipe, LANDMARKS, roots, accelerator="cpu", progress=False)
    state = load_checkpoint(folder)
    exported = LANDMARKS.restore(recipe, state.best)
    source = EmbeddingTask(make_recipe(), roots).source
    pixels = source.batch(np.arange(12), np.random.default_rng(0))["x"]
    points = exported.module(torch.from_numpy(pixels)).detach().reshape(12, 5, 2)
    assert exported.outputs == ("landmarks",)
    assert bool((points[:, 0, 0] < points[:, 1, 0]).all()), "the left eye is left of the right one"
    assert bool((points[:, 0, 1] < points[:, 3, 1]).all()), "eyes are above mouths"
    with pytest.raises(ExportFailed, match="task landmarks"):  # it would leave the landmarks out
        export(folder, [open_set(roots.data / "six")], ("fp32",), amount=4)


def test_last_steps_for_eight_bits_keep_their_ranges_and_bring_the_student_back(
    roots: Roots, make_recipe: MakeRecipe
) -> None:
    student = {"kind": "retail", "input_size": 32, "stem": 16, "head": 32, "dim": 16}
    student |= {"hidden": [[16, 16], [24], [16]], "outputs": [16, 24, 16]}
    run(make_recipe(name="single", student=student), roots)
    last = make_recipe(
        name="eight",
        student=student,
        head={"kind": "none"},
        teachers={"single": {"kind": "run", "run": "single"}},
        view={"teacher": "shared"},
        init={"kind": "checkpoint", "run": "single", "minimum": 1.0},
        terms=[
            {"tap": "embedding", "target": {"kind": "identity", "teacher": "single"}, "distance": {"kind": "cosine"}}
        ],
        quantise={"crops": 24},
        schedule={"peak": 5e-4, "batch": 12, "steps": 24, "checkpoint_every": 100},
    )
    first = EmbeddingTask(last, roots)
    batch = first.source.batch(np.arange(24), np.random.default_rng(0))
    arrays = {name: torch.from_numpy(array) for name, array in batch.items()}
    run(last, roots, until=2)
    trained = load_checkpoint(run(last, roots))
    assert first.ranges is not None
    assert torch.equal(trained.model["ranges"], first.ranges)
    task = EmbeddingTask(last, roots)
    task.load_state_dict(dict(trained.model))
    with torch.no_grad():
        before, after = (sum(float(loss) for loss in each(arrays).values()) for each in (first, task))
    assert 0 < after < before
    restored, _ = restore_student(trained)
    assert restored.dim == 16


def test_eight_bits_are_refused_where_their_rounding_is_not_known(roots: Roots, make_recipe: MakeRecipe) -> None:
    with pytest.raises(RecipeInvalid, match="iresnet"):
        run(make_recipe(quantise={"crops": 8}), roots)
