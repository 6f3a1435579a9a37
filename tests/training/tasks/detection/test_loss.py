import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from training.tasks.detection.loss import DetectionWeights, distil_rows

Rows = NDArray[np.float64]


def rows(seed: int, cells: int = 24) -> tuple[Rows, Rows]:
    """Student (logits) and teacher (probabilities) rows (2, cells, 16)."""
    rng = np.random.default_rng(seed)
    student, teacher = rng.normal(size=(2, 2, cells, 16))
    teacher[..., :2] = rng.uniform(0.01, 0.99, (2, cells, 2))
    return student, teacher


def reference(student: Rows, teacher: Rows, weights: DetectionWeights) -> dict[str, float]:
    """The docstring's formulas, cell by cell."""

    def kl(logit: float, target: float) -> float:
        p = 1 / (1 + np.exp(-logit))
        return float(target * np.log(target / p) + (1 - target) * np.log((1 - target) / (1 - p)))

    obj = cls = box = kps = mass = norm = 0.0
    for s, t in zip(student.reshape(-1, 16), teacher.reshape(-1, 16), strict=True):
        mass += t[1]
        obj += kl(s[1], t[1])
        cls += t[1] * kl(s[0], t[0])
        q = np.sqrt(t[0] * t[1])
        if q >= weights.min_score:
            w, h = np.exp(t[4]), np.exp(t[5])
            gaps = [abs(s[2] - t[2]) / w, abs(s[3] - t[3]) / h, abs(s[4] - t[4]), abs(s[5] - t[5])]
            norm += q
            box += q * float(np.mean(gaps))
            kps += q * float(np.abs(s[6:] - t[6:]).mean() / ((w + h) / 2))
    return {
        "obj": weights.obj * obj / max(mass, 1),
        "cls": weights.cls * cls / max(mass, 1),
        "box": weights.box * box / max(norm, 1),
        "kps": weights.kps * kps / max(norm, 1),
    }


@pytest.mark.parametrize("seed", range(4))
def test_it_is_the_published_formula(seed: int) -> None:
    student, teacher = rows(seed)
    weights = DetectionWeights(obj=0.7, cls=1.3, box=2.0, kps=0.5, min_score=0.4)
    found = distil_rows(torch.from_numpy(student), torch.from_numpy(teacher), weights)
    assert {name: value.item() for name, value in found.items()} == pytest.approx(
        reference(student, teacher, weights), rel=1e-9
    )


def test_its_gradient_is_the_numerical_one() -> None:
    student, teacher = (torch.from_numpy(array) for array in rows(7, cells=5))
    student.requires_grad_()

    def total(x: torch.Tensor) -> torch.Tensor:
        return torch.stack(list(distil_rows(x, teacher, DetectionWeights()).values())).sum()

    assert torch.autograd.gradcheck(total, (student,), eps=1e-6, atol=1e-6)


def test_a_perfect_copy_costs_nothing_and_any_change_costs() -> None:
    _, teacher = (torch.from_numpy(array) for array in rows(3))
    copy = teacher.clone()
    copy[..., :2] = torch.logit(teacher[..., :2])
    for value in distil_rows(copy, teacher, DetectionWeights()).values():
        assert value.item() == pytest.approx(0, abs=1e-12)
    for name, column in (("cls", 0), ("obj", 1), ("box", 3), ("kps", 10)):
        worse = copy.clone()
        worse[..., column] += 0.3
        changed = {key for key, value in distil_rows(worse, teacher, DetectionWeights()).items() if value > 1e-9}
        assert changed == {name}


def test_stress_multiplies_the_objects_of_one_picture() -> None:
    student, teacher = (torch.from_numpy(array) for array in rows(5))
    plain = distil_rows(student, teacher, DetectionWeights())
    ones = torch.ones(len(student), dtype=student.dtype)
    assert distil_rows(student, teacher, DetectionWeights(), ones) == plain
    stressed = distil_rows(student, teacher, DetectionWeights(), 3 * ones)
    assert stressed["obj"].item() == pytest.approx(3 * plain["obj"].item())
    assert {name: stressed[name] for name in ("cls", "box", "kps")} == {n: plain[n] for n in ("cls", "box", "kps")}


def test_an_empty_tile_has_finite_losses() -> None:
    """No face anywhere: nothing to divide by, and certain zeros in the teacher."""
    student = torch.randn(1, 6, 16, requires_grad=True)
    found = distil_rows(student, torch.zeros(1, 6, 16), DetectionWeights())
    torch.stack(list(found.values())).sum().backward()
    assert student.grad is not None
    assert student.grad.isfinite().all()
    assert found["obj"] > 0
    assert found["box"] == 0
