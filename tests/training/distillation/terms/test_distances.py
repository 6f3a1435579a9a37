import math

import pytest
import torch
from pydantic import TypeAdapter
from torch import Tensor

from training.distillation.terms.distances import Distance, primary_group


def value(loss: Tensor) -> float:
    return loss.detach().item()


NO_LABELS = torch.full((4,), -1)


def distance(kind: str, **options: object) -> Distance:
    parsed: Distance = TypeAdapter(Distance).validate_python({"kind": kind, **options})
    return parsed


def pair(rows: int = 4, columns: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    u, v = torch.randn(2, rows, columns, dtype=torch.float64, generator=generator)
    return u, v


EVERY = [
    distance("mse"),
    distance("mse", normalise=True),
    distance("cosine"),
    distance("cosine", power=2),
    distance("relations"),
    distance("kl", temperature=3.0),
    distance("grouped_kl", mass=0.7, temperature=2.0),
    distance("landmarks"),
]
NAMES = ["mse", "unit mse", "cosine", "angular", "relations", "kl", "grouped kl", "landmarks"]


@pytest.mark.parametrize("loss", EVERY, ids=NAMES)
def test_gradients_agree_with_differences(loss: Distance) -> None:
    u, v = pair()
    assert torch.autograd.gradcheck(lambda x: loss.measure(x, v, NO_LABELS), (u.requires_grad_(),), atol=1e-6)


@pytest.mark.parametrize("loss", EVERY, ids=NAMES)
def test_zero_where_both_agree_and_positive_elsewhere(loss: Distance) -> None:
    u, v = pair()
    assert value(loss.measure(u, u.clone(), NO_LABELS)) == pytest.approx(0, abs=1e-12)
    assert value(loss.measure(u, v, NO_LABELS)) > 0


@pytest.mark.parametrize("loss", EVERY, ids=NAMES)
def test_no_gradient_reaches_the_teacher(loss: Distance) -> None:
    u, v = pair()
    v.requires_grad_()
    loss.measure(u.requires_grad_(), v, NO_LABELS).backward()  # type: ignore[no-untyped-call]
    assert v.grad is None
    assert u.grad is not None


def test_mse_by_hand() -> None:
    u, v = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[0.0, 0.0], [3.0, 4.0]])
    assert value(distance("mse").measure(u, v, NO_LABELS)) == pytest.approx((5 + 25) / 4)


def test_angular_by_hand_and_scale_invariant() -> None:
    u, v = torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([[1.0, 1.0], [0.0, -3.0]])
    loss = distance("cosine", power=2)
    expected = ((1 - math.sqrt(0.5)) ** 2 + 4) / 2
    assert value(loss.measure(u, v, NO_LABELS)) == pytest.approx(expected, abs=1e-6)
    assert value(loss.measure(100 * u, 0.01 * v, NO_LABELS)) == pytest.approx(expected, abs=1e-6)


def test_relations_by_hand() -> None:
    """Two at right angles that should be alike: one pair, seen from both sides. Turning all of them costs nothing."""
    loss = distance("relations")
    u, v = torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([[0.0, 1.0], [0.0, 3.0]])
    assert value(loss.measure(u, v, NO_LABELS)) == pytest.approx(1)
    assert value(loss.measure(u, -u.flip(1), NO_LABELS)) == pytest.approx(0)
    assert value(loss.measure(u[:1], v[:1], NO_LABELS)) == 0


def test_unit_mse_is_one_minus_cosine() -> None:
    u, v = pair()
    torch.testing.assert_close(
        distance("mse", normalise=True).measure(u, v, NO_LABELS), distance("cosine").measure(u, v, NO_LABELS)
    )


def test_kl_by_hand() -> None:
    u = torch.tensor([[0.0, math.log(3.0)]])  # 1/4, 3/4
    v = torch.tensor([[0.0, 0.0]])  # 1/2, 1/2
    expected = 0.5 * math.log(2) + 0.5 * math.log(2 / 3)
    assert value(distance("kl").measure(u, v, NO_LABELS)) == pytest.approx(expected, abs=1e-6)
    # with a temperature: logits are divided by it, and the loss grows back by its square
    assert value(distance("kl", temperature=2.0).measure(2 * u, 2 * v, NO_LABELS)) == pytest.approx(
        4 * expected, abs=1e-6
    )


def test_kl_does_not_see_a_shift_of_logits() -> None:
    u, v = pair()
    loss = distance("kl", temperature=4.0)
    torch.testing.assert_close(loss.measure(u + 5, v - 3, NO_LABELS), loss.measure(u, v, NO_LABELS))


def test_the_primary_group_is_the_smallest_that_holds_the_mass() -> None:
    p = torch.tensor([[0.1, 0.6, 0.25, 0.05], [0.97, 0.01, 0.01, 0.01], [0.25, 0.25, 0.25, 0.25]])
    assert primary_group(p, 0.8).tolist() == [
        [False, True, True, False],
        [True, False, False, False],
        [True, True, True, True],
    ]


def test_grouped_kl_by_hand() -> None:
    teacher = torch.tensor([[0.5, 0.3, 0.15, 0.05]], dtype=torch.float64)
    student = torch.tensor([[0.2, 0.4, 0.3, 0.1]], dtype=torch.float64)
    within = 0.625 * math.log(0.625 / (0.2 / 0.6)) + 0.375 * math.log(0.375 / (0.4 / 0.6))
    between = 0.8 * math.log(0.8 / 0.6) + 0.2 * math.log(0.2 / 0.4)
    found = distance("grouped_kl", mass=0.75).measure(student.log(), teacher.log(), NO_LABELS)
    assert value(found) == pytest.approx(within + between, abs=1e-6)


def test_grouped_kl_drops_what_happens_in_the_rest() -> None:
    teacher = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()
    one = torch.tensor([[0.4, 0.4, 0.15, 0.05]]).log()
    other = torch.tensor([[0.4, 0.4, 0.01, 0.19]]).log()
    loss = distance("grouped_kl", mass=0.75)
    torch.testing.assert_close(loss.measure(one, teacher, NO_LABELS), loss.measure(other, teacher, NO_LABELS))


def test_triplet_by_hand() -> None:
    angles = torch.tensor([0.0, 0.4, 0.9, 2.0], dtype=torch.float64)
    points = torch.stack([angles.cos(), angles.sin()], 1)
    labels = torch.tensor([0, 0, 1, 1])
    squared = lambda a, b: 2 - 2 * math.cos(a - b)  # noqa: E731
    # anchor 0: positive 1, negative 2; anchor 1: positive 0, nearest farther negative 2;
    # anchor 2: positive 3, no negative is farther than it, so the nearest, 1; anchor 3: positive 2, negative 1
    expected = [
        max(0, 0.2 + squared(0, 0.4) - squared(0, 0.9)),
        max(0, 0.2 + squared(0.4, 0) - squared(0.4, 0.9)),
        max(0, 0.2 + squared(0.9, 2.0) - squared(0.9, 0.4)),
        max(0, 0.2 + squared(2.0, 0.9) - squared(2.0, 0.4)),
    ]
    found = distance("triplet").measure(5 * points, torch.empty(0), labels)
    assert value(found) == pytest.approx(sum(expected) / 4, abs=1e-6)


def test_triplet_gradient_and_degenerate_batches() -> None:
    u, _ = pair(6, 4)
    labels = torch.tensor([0, 0, 1, 1, 2, -1])
    loss = distance("triplet", margin=1.0)
    assert torch.autograd.gradcheck(lambda x: loss.measure(x, torch.empty(0), labels), (u.requires_grad_(),), atol=1e-6)
    for empty in (torch.arange(6), torch.zeros(6, dtype=torch.long), torch.full((6,), -1)):
        assert value(loss.measure(u, torch.empty(0), empty)) == 0
