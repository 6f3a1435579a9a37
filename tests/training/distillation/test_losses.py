import math

import pytest
import torch
from torch import Tensor

from training.distillation.losses import Head, HeadSpec, class_means, margin_logits


def value(loss: Tensor) -> float:
    return loss.detach().item()


def vectors(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def head(kind: str, classes: int = 3, dim: int = 4, **options: float) -> Head:
    centres = vectors(classes, dim, seed=9) if kind == "frozen" else None
    torch.manual_seed(1)
    return Head(HeadSpec(kind=kind, **options), classes, dim, centres).double()  # type: ignore[arg-type]


def test_arc_margin_by_hand() -> None:
    cosines = torch.tensor([[math.cos(1.0), 0.2]], dtype=torch.float64)
    logits = margin_logits(cosines, torch.tensor([0]), arc=0.5, cos=0.0, scale=64)
    torch.testing.assert_close(logits, torch.tensor([[64 * math.cos(1.5), 64 * 0.2]], dtype=torch.float64))


def test_cosine_margin_by_hand() -> None:
    cosines = torch.tensor([[0.3, 0.8]], dtype=torch.float64)
    logits = margin_logits(cosines, torch.tensor([1]), arc=0.0, cos=0.35, scale=30)
    torch.testing.assert_close(logits, torch.tensor([[9.0, 13.5]], dtype=torch.float64))


def test_the_margin_never_helps_and_falls_with_the_angle() -> None:
    cosines = torch.linspace(0.999, -0.999, 400, dtype=torch.float64)[:, None]
    logits = margin_logits(cosines, torch.zeros(400, dtype=torch.long), arc=0.5, cos=0.1, scale=1)
    assert bool((logits < cosines).all())
    assert bool((logits.diff(dim=0) < 0).all())


def test_zero_margins_are_normalised_softmax() -> None:
    net, x, y = head("learned", scale=10), vectors(5, 4), torch.tensor([0, 1, 2, 1, 0])
    w = torch.nn.functional.normalize(net.centres)
    expected = torch.nn.functional.cross_entropy(10 * torch.nn.functional.normalize(x) @ w.T, y)
    torch.testing.assert_close(net.loss(x, y), expected)


@pytest.mark.parametrize("kind", ["learned", "frozen"])
def test_gradients_agree_with_differences(kind: str) -> None:
    net, y = head(kind, arc=0.5, cos=0.1, scale=8), torch.tensor([0, 2, 1])
    assert torch.autograd.gradcheck(lambda x: net.loss(x, y), (vectors(3, 4).requires_grad_(),), atol=1e-6)


def test_the_loss_does_not_see_the_length_of_an_embedding() -> None:
    net, x, y = head("learned", arc=0.4), vectors(5, 4), torch.tensor([0, 1, 2, 1, 0])
    torch.testing.assert_close(net.loss(x, y), net.loss(7.5 * x, y))


def test_samples_without_identity_do_not_count() -> None:
    net, x = head("learned", arc=0.4), vectors(5, 4)
    known = net.loss(x[:3], torch.tensor([0, 1, 2]))
    torch.testing.assert_close(net.loss(x, torch.tensor([0, 1, 2, -1, -1])), known)
    assert value(net.loss(x, torch.full((5,), -1))) == 0


def test_frozen_and_ema_centres_have_no_gradient() -> None:
    for kind in ("frozen", "ema"):
        net = head(kind)
        assert list(net.parameters()) == []
        assert "centres" in net.state_dict()
    assert [name for name, _ in head("learned").named_parameters()] == ["centres"]


def test_adadistill_step_by_hand() -> None:
    net = head("ema", classes=2, dim=2)
    net.centres[1] = torch.tensor([1.0, 0.0])
    teacher = torch.tensor([[0.0, 3.0], [1.0, 1.0]], dtype=torch.float64)
    student = torch.tensor([[5.0, 0.0], [0.0, 2.0]], dtype=torch.float64)
    net.move_centres(student, teacher, torch.tensor([0, 1]))
    # class 0 had no centre, so it takes the teacher's; class 1: alpha = cos(s, t) cos(w, t) = 1/2
    half = math.sqrt(0.5)
    expected = torch.tensor([[0.0, 1.0], [0.5 + 0.5 * half, 0.5 * half]], dtype=torch.float64)
    torch.testing.assert_close(net.centres, expected)


def test_a_student_that_points_away_lets_the_centre_go_to_the_teacher() -> None:
    net = head("ema", classes=1, dim=2)
    net.centres[0] = torch.tensor([1.0, 0.0])
    net.move_centres(
        torch.tensor([[-1.0, 0.0]], dtype=torch.float64),
        torch.tensor([[1.0, 0.2]], dtype=torch.float64),
        torch.tensor([0]),
    )
    torch.testing.assert_close(
        net.centres, torch.nn.functional.normalize(torch.tensor([[1.0, 0.2]], dtype=torch.float64))
    )


def test_duplicates_in_a_batch_do_not_depend_on_their_order() -> None:
    student, teacher, labels = vectors(8, 4, seed=1), vectors(8, 4, seed=2), torch.tensor([0, 1, 0, 0, 2, 1, -1, 0])
    order = torch.tensor([7, 3, 1, 6, 0, 5, 2, 4])
    one, other = head("ema"), head("ema")
    for net in (one, other):
        net.centres.copy_(vectors(3, 4, seed=3))
    one.move_centres(student, teacher, labels)
    other.move_centres(student[order], teacher[order], labels[order])
    torch.testing.assert_close(one.centres, other.centres, rtol=0, atol=1e-15)


def test_ema_centres_move_while_training_only() -> None:
    net, x, t, y = head("ema"), vectors(3, 4), vectors(3, 4, seed=5), torch.tensor([0, 1, 2])
    net.eval()
    net.loss(x, y, t)
    assert value(net.centres.abs().sum()) == 0
    net.train()
    net.loss(x.requires_grad_(), y, t).backward()  # type: ignore[no-untyped-call]
    assert value(net.centres.abs().sum()) > 0
    assert net.centres.grad is None
    with pytest.raises(ValueError, match="teacher"):
        net.loss(x, y)


def test_class_means() -> None:
    embeddings = torch.tensor([[2.0, 0.0], [0.0, 5.0], [0.0, -1.0], [9.0, 9.0]])
    means = class_means(embeddings, torch.tensor([0, 0, 1, -1]), 2)
    torch.testing.assert_close(means, torch.tensor([[math.sqrt(0.5)] * 2, [0.0, -1.0]]))
