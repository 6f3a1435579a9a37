"""`facet-train confidence`: teaches a finished run's student to say how near its embedding is to the teacher's.

The network stays as it is: crops go through it once, and the head is fitted to what it gave. A crop's target is the
cosine between the student's embedding of it, degraded as far as may be, and the teacher's of the clean crop; what is no
upright face, or a negative, has the target 0. A tenth of the crops is kept to measure on.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from service.face.embedding.preprocess import to_tensor
from training.atomic_folder import whole_file, write_json
from training.backbones.confidence import Confidence, gather_features
from training.backbones.network import restore_student
from training.data.augment import Augment, augment
from training.data.crops import open_sets
from training.data.degradations import pixelate
from training.data.no_face import make_no_face
from training.data.samples import Pool, gather
from training.distillation.spaces import find_regressed_teacher
from training.distillation.teacher_targets import compute_targets
from training.distillation.teachers import open_teacher
from training.engine.checkpoint import load_checkpoint
from training.errors import CheckpointInvalid, RecipeInvalid
from training.recipe import Roots
from training.tasks.embedding import EmbeddingRecipe

FILE, REPORT = "confidence.pt", "confidence.json"
STEP = "step"
"""In the file: after how many steps of the run the head was taught. Older files do not say."""
CROPS = 6000
HARSH = Augment(
    flip=0.5, shift=6, scale=0.12, rotate=10, roll=0.3, rolled=45, light=0.4, colour=0.1, grey=0.1, low_resolution=0.3,
    smallest=12, blur=0.25, sigma=6, motion=0.25, length=20, noise=0.25, grain=40, dark=0.25, mask=0.15, occlusion=0.2,
    largest=0.7, jpeg=0.3, quality=10,
)  # fmt: skip
"""Worse than a recipe trains with, so that the head sees what the student cannot do."""
BLOCKS, FEWEST, MOST = 0.1, 16, 48
"""Of harsh crops so many are made of blocks instead, between so many across."""
NO_FACE, HARD = 0.25, 0.45
STEPS, RATE, DECAY, KEPT = 400, 3e-3, 1e-2, 0.1


@dataclass(frozen=True, slots=True)
class ConfidenceReport:
    """How well a head tells good crops from bad ones, on crops that it did not learn from.

    Attributes:
        crops: How many they were.
        correlation: Of confidence and cosine, among faces.
        ordinary: Mean confidence of faces as the recipe degrades them.
        harsh: Of harshly degraded ones.
        no_face: Of what is no upright face.
        cosine: Mean cosine of all faces with their teacher's embeddings.
        cosine_of_surer_90: Of the nine tenths that are surer.
        cosine_of_surer_50: Of the surer half.
    """

    crops: int
    correlation: float
    ordinary: float
    harsh: float
    no_face: float
    cosine: float
    cosine_of_surer_90: float
    cosine_of_surer_50: float


def fit_confidence(run: Path, roots: Roots, *, crops: int = CROPS, seed: int = 0) -> ConfidenceReport:
    """Fit the head on `crops` crops of the run's own sets; writes `confidence.pt` and `confidence.json` beside it.

    Raises:
        CheckpointInvalid: There is no checkpoint, or it does not fit.
        RecipeInvalid: The student regresses no teacher.
        DataError: A set is missing or damaged.
        TeacherError: The teacher is missing or does not fit.
    """
    checkpoint = load_checkpoint(run)
    student, pixels = restore_student(checkpoint)
    recipe = checkpoint.read_recipe(EmbeddingRecipe)
    name = find_regressed_teacher(recipe.terms)
    if name is None:
        raise RecipeInvalid(f"{recipe.name}: its student regresses no one teacher, so nothing says how good it is")
    pool = gather(open_sets(roots.data, list(recipe.data.sets)), recipe.data)
    teacher = open_teacher(name, recipe.teachers[name], roots).embeds
    targets = [compute_targets(roots.runs / "targets", teacher, part) for part in pool.sets]
    rng = np.random.default_rng(seed)
    features, cosines, kinds = [], [], []
    rows = rng.permutation(len(pool))[:crops]
    for part in np.array_split(rows, max(1, len(rows) // 64)):
        seen, kind = _spoil(pool, part, recipe.augment, rng)
        with torch.no_grad():
            embedding, stages = student.features(torch.from_numpy(to_tensor(seen, pixels)))
        cosine = F.cosine_similarity(embedding, torch.from_numpy(np.asarray(pool.take(targets, part), np.float32)))
        features.append(gather_features(embedding, stages[-1]))
        cosines.append(torch.where(torch.from_numpy(kind) == 2, 0.0, cosine.clamp(0, 1)))
        kinds.append(kind)
    head, report = _fit(torch.cat(features), torch.cat(cosines), np.concatenate(kinds), seed)
    with whole_file(run / FILE) as draft:
        torch.save(head.state_dict() | {STEP: torch.tensor(checkpoint.step)}, draft)
    write_json(run / REPORT, asdict(report))
    return report


def read_confidence(run: Path, step: int | None = None) -> Confidence | None:
    """Read the head of a run that has one; `step` is where the run stands, None for wherever.

    Raises:
        CheckpointInvalid: Its file is damaged, or it was taught before the run went on to `step`.
    """
    path = run / FILE
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        last_step = state.pop(STEP, None)
        head = Confidence(len(state["mean"]), len(state["first.bias"]))
        head.load_state_dict(state)
    except Exception as error:  # torch raises many classes for a damaged file
        raise CheckpointInvalid(
            f"{path} cannot be read ({type(error).__name__}): run `facet-train confidence`"
        ) from error
    if step is not None and last_step is not None and int(last_step) != step:
        raise CheckpointInvalid(
            f"{path} was taught after {int(last_step)} steps of the run, which has gone on to {step}: "
            f"run `facet-train confidence` again"
        )
    return head.eval()


def has_confidence(run: Path) -> bool:
    """Whether a run has a head that can be read, and that was taught where the run stands."""
    try:
        return read_confidence(run, load_checkpoint(run).step) is not None
    except CheckpointInvalid:
        return False


def _spoil(
    pool: Pool, rows: NDArray[np.int64], ordinary: Augment, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Crops as the student will see them, and which kind each is: 0 as in the recipe, 1 harsh, 2 no upright face."""
    clean = np.asarray(pool.take([part.crops for part in pool.sets], rows), np.uint8)
    chance = rng.random(len(rows))
    kind = np.where(chance < NO_FACE, 2, np.where(chance < NO_FACE + HARD, 1, 0))
    seen = clean.copy()
    for which, how in ((0, ordinary), (1, HARSH)):
        seen[kind == which] = augment(clean[kind == which], how, rng)[0]
    for place in np.flatnonzero(kind == 1):
        if rng.random() < BLOCKS:
            seen[place] = pixelate(clean[place], int(rng.integers(FEWEST, MOST, endpoint=True)))
    for place in np.flatnonzero(kind == 2):
        seen[place] = make_no_face(clean[place], rng)
    return seen, kind


def _fit(features: Tensor, cosines: Tensor, kinds: NDArray[np.int64], seed: int) -> tuple[Confidence, ConfidenceReport]:
    torch.manual_seed(seed)
    held = max(1, round(KEPT * len(features)))
    head = Confidence(features.shape[1])
    head.mean.copy_(features[held:].mean(0))
    head.spread.copy_(features[held:].std(0).clamp(min=1e-3))
    optimiser = torch.optim.AdamW(head.parameters(), lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
    for _ in range(STEPS):
        loss = F.binary_cross_entropy_with_logits(head.logits(features[held:])[:, 0], cosines[held:])
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    with torch.no_grad():
        confidence = head.eval()(features[:held])[:, 0].numpy()
    return head, _measure(confidence, cosines[:held].numpy(), kinds[:held])


def _measure(output: NDArray[np.float32], target: NDArray[np.float32], kinds: NDArray[np.int64]) -> ConfidenceReport:
    def mean(values: NDArray[np.float32]) -> float:
        return float(values.mean()) if len(values) else float("nan")

    faces = kinds < 2
    confidence, cosine = output[faces], target[faces]
    order = np.argsort(-confidence)
    return ConfidenceReport(
        crops=len(output),
        correlation=float(np.corrcoef(confidence, cosine)[0, 1]) if len(confidence) > 1 else float("nan"),
        ordinary=mean(output[kinds == 0]),
        harsh=mean(output[kinds == 1]),
        no_face=mean(output[kinds == 2]),
        cosine=mean(cosine),
        cosine_of_surer_90=mean(cosine[order[: round(0.9 * len(order))]]),
        cosine_of_surer_50=mean(cosine[order[: round(0.5 * len(order))]]),
    )
