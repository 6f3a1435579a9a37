import pytest
import torch
from torch import nn

from training.backbones import STUDENTS
from training.backbones.initialise import copy_weights, resample_kernel
from training.errors import InitialisationFailed


def test_resampling_keeps_the_sum() -> None:
    kernel = torch.randn(5, 1, 8, 8)
    for size in ((4, 4), (5, 7), (3, 3), (8, 8), (12, 16)):
        new = resample_kernel(kernel, size)
        assert tuple(new.shape[-2:]) == size
        torch.testing.assert_close(new.sum((-1, -2)), kernel.sum((-1, -2)), rtol=1e-4, atol=1e-5)


def test_resampling_by_hand() -> None:
    kernel = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert resample_kernel(kernel, (2, 2)).tolist() == [[[[10.0, 18.0], [42.0, 50.0]]]]
    row = torch.tensor([[[[3.0, 6.0, 9.0]]]])
    torch.testing.assert_close(resample_kernel(row, (1, 2)), torch.tensor([[[[6.0, 12.0]]]]))


def test_a_constant_map_gives_the_same_response_at_another_size() -> None:
    """A global depthwise convolution at half the resolution answers a constant as before."""
    large, small = nn.Conv2d(3, 3, 8, groups=3), nn.Conv2d(3, 3, 4, groups=3)
    copied = copy_weights(small, large.state_dict(), 1.0, "test")
    assert (copied.exact, copied.resampled, copied.left) == (("bias",), ("weight",), ())
    constant = torch.randn(1, 3, 1, 1)
    torch.testing.assert_close(
        small(constant.expand(1, 3, 4, 4)), large(constant.expand(1, 3, 8, 8)), rtol=1e-4, atol=1e-5
    )


def test_a_network_copied_from_itself_is_itself() -> None:
    net, other = (STUDENTS["mobileface"](input_size=32, width=0.25, dim=8).eval() for _ in range(2))
    x = torch.randn(2, 3, 32, 32)
    assert not torch.allclose(net(x), other(x))
    copied = copy_weights(other, net.state_dict(), 1.0, "test")
    assert copied.left == ()
    torch.testing.assert_close(net(x), other(x))


def test_too_few_matches_fail_loudly() -> None:
    net, foreign = nn.Linear(3, 4), {"weight": torch.zeros(4, 5), "offset": torch.zeros(4)}
    before = net.weight.clone()
    with pytest.raises(InitialisationFailed, match=r"only 0 of 2 tensors .* weight, bias"):
        copy_weights(net, foreign, 0.5, "test")
    torch.testing.assert_close(net.weight, before)
    with pytest.raises(InitialisationFailed, match="1 of 2"):
        copy_weights(net, {"bias": torch.zeros(4)}, 0.9, "test")
    assert copy_weights(net, {"bias": torch.zeros(4)}, 0.5, "test").exact == ("bias",)
