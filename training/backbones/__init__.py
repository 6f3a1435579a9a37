"""Student networks by name, and readers of foreign weights into them."""

from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from training.backbones.backbone import Student
from training.backbones.mobileface import mobileface, mobileface_r
from training.backbones.mobileid import mobileid
from training.backbones.rectified import rectified
from training.backbones.resnet import iresnet, iresnet100, resnet
from training.backbones.resnet56 import resnet56
from training.backbones.retail import read_retail, retail

STUDENTS: dict[str, Callable[..., Student]] = {
    "iresnet": iresnet,
    "iresnet100": iresnet100,
    "mobileface": mobileface,
    "mobileface_r": mobileface_r,
    "mobileid": mobileid,
    "rectified": rectified,
    "resnet": resnet,
    "resnet56": resnet56,
    "retail": retail,
}

WEIGHTS: dict[str, Callable[[Path], dict[str, Tensor]]] = {"retail": read_retail}
"""Readers of a published model file into a student's state dict."""
