import pytest
import torch

from training.backbones.regress import output_layer, regress_output
from training.backbones.resnet import iresnet
from training.backbones.retail import retail
from training.errors import InitialisationFailed

SMALL = {"stem": 8, "hidden": ((8,), (16,), (16,)), "outputs": (8, 8, 8), "head": 16, "dim": 6}


def test_the_last_layer_carries_the_features_into_another_space() -> None:
    torch.manual_seed(0)
    student, pixels = retail(32, **SMALL), torch.randn(400, 3, 32, 32)
    with torch.no_grad():
        turned = student.eval()(pixels) @ torch.linalg.qr(torch.randn(6, 6))[0]
    targets = torch.nn.functional.normalize(turned)
    before = torch.cosine_similarity(student(pixels), targets).mean()
    reached = regress_output(student, pixels, targets)
    after = torch.cosine_similarity(student(pixels), targets).mean()
    assert before < 0.6
    assert after > 0.95
    assert float(after.detach()) == pytest.approx(reached, abs=1e-3)


def test_it_refuses_too_few_crops_and_networks_that_do_not_end_in_a_linear_layer() -> None:
    with pytest.raises(InitialisationFailed, match="at least 32"):
        regress_output(retail(32, **SMALL), torch.randn(8, 3, 32, 32), torch.randn(8, 6))
    normalised = iresnet(32, depths=(1, 1, 1, 1), width=0.125, dim=16)
    assert output_layer(normalised) is None
    with pytest.raises(InitialisationFailed, match="linear layer"):
        regress_output(normalised, torch.randn(40, 3, 32, 32), torch.randn(40, 16))
