"""The shape of Open Model Zoo's face-reidentification-retail-0095, and its thinner relatives.

A MobileNetV2-style chain of inverted residuals with squeeze-and-excite on the projection, a global depthwise
convolution and a linear embedding. Batch normalisation is folded into the convolutions, as in the published graph, so
tensors can be copied from it one to one.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.backbones.backbone import Student


def conv(inputs: int, outputs: int, kernel: int = 1, *, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """Build a convolution that keeps the size but for its stride."""
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups)


SLOPE = 0.25


class Slope(nn.Module):
    """PReLU with one slope that is kept, not trained: a trained slope triples the cost of the backward pass.

    A constant slope is exported as LeakyRelu, which ONNX Runtime fuses with the convolution before it and can
    quantise; a PRelu it can do neither with.
    """

    weight: Tensor

    def __init__(self, slope: float = SLOPE) -> None:
        super().__init__()
        self.register_buffer("weight", torch.tensor([slope]))
        self._constant: float | None = None

    def freeze(self) -> None:
        """Note the slope as it is now, to be exported as a constant."""
        self._constant = float(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Multiply what is negative by the slope.

        Raises:
            RuntimeError: It is exported without having been frozen.
        """
        slope = self._slope()
        # in place where it can be: a convolution's backward pass does not look at its output, and memory is scarce
        y: Tensor = F.leaky_relu(x, slope, inplace=self.training and slope > 0)
        return y

    def _slope(self) -> float:
        exporting = torch.compiler.is_exporting() or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        if not exporting:
            return float(self.weight)
        if self._constant is None:
            raise RuntimeError("freeze the slopes before the export")
        return self._constant


def freeze_slopes(network: nn.Module) -> None:
    """Ready a network for export: its slopes become constants of the graph."""
    for module in network.modules():
        if isinstance(module, Slope):
            module.freeze()


class Strided(nn.Conv2d):
    """Depthwise 3x3 convolution of stride 2, always in float32: oneDNN's bf16 backward pass is four times slower."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, 3, 2, 1, groups=channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the block's output."""
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float())


class Whole(nn.Conv2d):
    """Depthwise convolution whose kernel covers the whole ``size`` x ``size`` map: a weighted sum per channel."""

    def __init__(self, channels: int, size: int) -> None:
        super().__init__(channels, channels, size, groups=channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C, 1, 1)."""
        if not self.training or self.bias is None:
            return super().forward(x)
        # the same sum, without oneDNN's slow backward pass for kernels of this size
        return ((x * self.weight[:, 0]).sum((2, 3)) + self.bias)[:, :, None, None]


class Mean(nn.AvgPool2d):
    """The mean over a map of ``size`` x ``size``, as pooling of a fixed size: exporters write no reduction for it."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C, 1, 1)."""
        # the same mean: pooling's backward pass took a tenth of a step's time
        return x.mean((2, 3), keepdim=True) if self.training else super().forward(x)


class Excite(nn.Module):
    """Squeeze-and-excite: channel gates from the mean over a ``side`` x ``side`` map (arXiv 1709.01507)."""

    def __init__(self, channels: int, side: int, reduction: int = 8) -> None:
        super().__init__()
        self.pool = Mean(side)
        self.squeeze = conv(channels, channels // reduction)
        self.act = Slope()
        self.expand = conv(channels // reduction, channels)
        self.gate = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the block's output."""
        gate: Tensor = self.gate(self.expand(self.act(self.squeeze(self.pool(x)))))
        return x * gate


class Inverted(nn.Module):
    """Inverted residual: 1x1 expansion, 3x3 depthwise, 1x1 projection to a ``side`` x ``side`` map, gates; shortcut."""

    def __init__(
        self, inputs: int, hidden: int, outputs: int, *, side: int, stride: int = 1, excite: bool = True
    ) -> None:
        super().__init__()
        self.expand = conv(inputs, hidden)
        self.act1 = Slope()
        self.depthwise = Strided(hidden) if stride == 2 else conv(hidden, hidden, 3, groups=hidden)
        self.act2 = Slope()
        self.project = conv(hidden, outputs)
        self.excite = Excite(outputs, side) if excite else nn.Identity()
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the block's output."""
        hidden = self.act2(self.depthwise(self.act1(self.expand(x))))
        y: Tensor = self.excite(self.project(hidden))
        return x + y if self.shortcut else y


class Stem(nn.Sequential):
    """3x3 convolution of stride 2 and a depthwise 3x3."""

    def __init__(self, channels: int) -> None:
        super().__init__(
            conv(3, channels, 3, stride=2),
            Slope(),
            conv(channels, channels, 3, groups=channels),
            Slope(),
        )


class Head(nn.Sequential):
    """1x1 expansion, global depthwise convolution over the ``size`` x ``size`` map, linear 1x1 -> (N, dim)."""

    def __init__(self, inputs: int, hidden: int, size: int, dim: int) -> None:
        super().__init__(
            conv(inputs, hidden),
            Slope(),
            Whole(hidden, size),
            nn.Conv2d(hidden, dim, 1, bias=False),
            nn.Flatten(),
        )


def retail(
    input_size: int = 128,
    *,
    stem: int = 64,
    hidden: Sequence[Sequence[int]] = ((128,) * 5, (256,) * 7, (512, 256, 256)),
    outputs: Sequence[int] = (64, 128, 128),
    head: int = 512,
    dim: int = 256,
    excite: bool | Sequence[Sequence[bool]] = True,
) -> Student:
    """The 0095 net at any even input size, with the ``hidden`` width of every block free, and its gates (``excite``).

    Defaults give the published net: 1.107M parameters, pixels BGR.
    """
    stages: list[nn.Module] = [Stem(stem)]
    inputs, side = stem, -(-input_size // 2)
    gates = [[excite] * len(widths) for widths in hidden] if isinstance(excite, bool) else excite
    for widths, gated, width in zip(hidden, gates, outputs, strict=True):
        side = -(-side // 2)  # what a padded convolution of stride 2 makes of it
        blocks = []
        for number, (middle, gate) in enumerate(zip(widths, gated, strict=True)):
            stride = 1 if number else 2
            blocks.append(Inverted(inputs, middle, width, side=side, stride=stride, excite=gate))
            inputs = width
        stages.append(nn.Sequential(*blocks))
    student = Student(stages, Head(inputs, head, side, dim), input_size=input_size, dim=dim)
    for module in student.modules():
        if isinstance(module, nn.Conv2d):
            # nothing normalises in between, so the first weights must keep the scale through forty layers
            nn.init.kaiming_normal_(module.weight, a=SLOPE)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return student


def read_retail(path: Path) -> dict[str, Tensor]:
    """The weights of an ONNX file of the published net, as a state dict of `retail()`.

    The graph's tensors stand in the order of the layers; the first two normalise the pixels, which here is the input
    spec's business: `mean` 64.44161, 67.65716, 82.06874 and `scale` 0.01437378, 0.0213623, 0.01864624, BGR.

    Raises:
        ValueError: The file holds another network.
    """
    import onnx  # noqa: PLC0415 - a lent device trains the network, and need not have it

    tensors = [torch.from_numpy(onnx.numpy_helper.to_array(t).copy()) for t in onnx.load(path).graph.initializer][2:]
    state = retail().state_dict()
    if [t.numel() for t in tensors] != [t.numel() for t in state.values()]:
        raise ValueError(f"{path} does not hold the weights of face-reidentification-retail-0095")
    return {name: t.float().reshape(own.shape) for (name, own), t in zip(state.items(), tensors, strict=True)}
