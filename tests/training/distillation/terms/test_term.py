from functools import partial
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from torch import Tensor

from training.backbones import STUDENTS
from training.backbones.backbone import Student
from training.distillation.terms.taps import View
from training.distillation.terms.term import Term, TermSpec
from training.errors import TeacherMismatch


def value(loss: Tensor) -> float:
    return loss.detach().item()


LABELS = torch.full((3,), -1)


def network(dim: int = 8, width: float = 0.125, seed: int = 0) -> Student:
    torch.manual_seed(seed)
    net = STUDENTS["resnet"](input_size=32, depths=[1, 1, 1, 1], width=width, dim=dim)
    return net.eval()


def view(net: Student, seed: int = 5) -> View:
    x = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(seed))
    embedding, stages = net.features(x)
    return View(embedding, stages, None, lambda y, after: net.tail(y, after=after))


def spec(**values: Any) -> TermSpec:
    base = {"tap": "embedding", "target": {"kind": "identity", "teacher": "t"}, "distance": {"kind": "cosine"}}
    parsed: TermSpec = TypeAdapter(TermSpec).validate_python(base | values)
    return parsed


def test_weight_and_identity() -> None:
    student, teacher = view(network(seed=1)), {"t": view(network(seed=2))}
    one = Term(spec(), student, teacher)(student, teacher, LABELS)
    heavy = Term(spec(weight=2.5), student, teacher)(student, teacher, LABELS)
    expected = (1 - torch.cosine_similarity(student.embedding, teacher["t"].embedding)).mean()
    torch.testing.assert_close(one, expected)
    torch.testing.assert_close(heavy, 2.5 * one)


@pytest.mark.parametrize("tap", ["stage_1", "stage_-1", "stage_0"])
def test_the_tail_is_the_teachers_own(tap: str) -> None:
    """Where the adapter is removed and the student is the teacher, the map comes out as the teacher's embedding."""
    net = network()
    same = view(net)
    term = Term(spec(tap=tap, target={"kind": "tail", "teacher": "t"}), same, {"t": same})
    assert value(term(same, {"t": same}, LABELS)) == pytest.approx(0, abs=1e-6)


def test_a_tail_term_trains_student_and_adapter_but_not_the_teacher() -> None:
    small, large = network(seed=1), network(dim=8, width=0.25, seed=2).requires_grad_(False)
    student, teacher = view(small), {"t": view(large)}
    wanted = spec(
        tap="stage_2",
        adapter={"kind": "convolution"},
        target={"kind": "tail", "teacher": "t"},
        distance={"kind": "cosine", "power": 2},
    )
    term = Term(wanted, student, teacher)
    term(student, teacher, LABELS).backward()
    assert all(p.grad is None for p in large.parameters())
    assert all(p.grad is not None for p in term.adapter.parameters())
    reached = [name for name, p in small.named_parameters() if p.grad is not None]
    assert any(name.startswith("stages.2") for name in reached)
    assert not any(name.startswith(("stages.3", "stages.4", "head")) for name in reached), (
        "later blocks are not involved"
    )


def test_concat_and_select() -> None:
    student, teachers = view(network(dim=4, seed=1)), {"a": view(network(seed=2)), "b": view(network(dim=5, seed=3))}
    joined = torch.cat([teachers["a"].embedding, teachers["b"].embedding], 1)
    neurons = torch.tensor([12, 0, 3, 8])
    select = {"kind": "select", "teachers": ["a", "b"], "select": "neurons.json"}
    term = Term(spec(target=select, distance={"kind": "mse"}), student, teachers, neurons)
    expected = 0.5 * (student.embedding - joined[:, neurons]).square().sum(1).mean()
    torch.testing.assert_close(term(student, teachers, LABELS), expected)
    whole = Term(spec(target={"kind": "concat", "teachers": ["a", "b"]}, adapter={"kind": "linear"}), student, teachers)
    assert tuple(whole.adapter.weight.shape) == (13, 4)  # type: ignore[union-attr,arg-type]
    with pytest.raises(TeacherMismatch, match="neuron 13"):
        Term(spec(target=select), student, teachers, torch.tensor([0, 1, 2, 13]))


def test_logits_compare_class_scores() -> None:
    def logits(centres: Tensor, embedding: Tensor) -> Tensor:
        return embedding @ centres.T

    net = view(network(seed=1))
    student = View(net.embedding, net.stages, partial(logits, torch.eye(8)))
    teacher = {"t": View(net.embedding * 2, logits=partial(logits, torch.eye(8)))}
    term = Term(spec(tap="logits", distance={"kind": "kl"}), student, teacher)
    expected = torch.nn.functional.kl_div(
        net.embedding.log_softmax(1), (2 * net.embedding).log_softmax(1), reduction="batchmean", log_target=True
    )
    torch.testing.assert_close(term(student, teacher, LABELS), expected)


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({}, "the student gives"),
        ({"adapter": {"kind": "convolution"}}, "joins maps"),
        ({"tap": "stage_1", "adapter": {"kind": "linear"}}, "joins vectors"),
        ({"tap": "stage_9"}, "there is no stage_9"),
        ({"tap": "logits"}, "no class centres"),
    ],
)
def test_what_cannot_be_joined_is_refused(values: dict[str, Any], complaint: str) -> None:
    student, teacher = view(network(dim=8)), {"t": view(network(dim=7))}
    with pytest.raises(TeacherMismatch, match=complaint):
        Term(spec(**values), student, teacher)


def test_a_cached_teacher_has_no_inside() -> None:
    student, cached = view(network()), {"t": View(torch.randn(3, 8))}
    for target in ({"kind": "tail", "teacher": "t"}, {"kind": "identity", "teacher": "t"}):
        with pytest.raises(TeacherMismatch, match="open stages"):
            Term(spec(tap="stage_1", target=target, adapter={"kind": "convolution"}), student, cached)
