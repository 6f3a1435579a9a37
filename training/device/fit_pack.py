"""Trains a pack on a device for so many seconds: `python -m training.device.fit_pack PACK --out OUT --seconds 480`.

Stands alone: PyTorch, NumPy and Pillow, and of this project the networks. Crops lie on the device as bytes, and
augmentation runs there; the step is compiled and calculates in bf16; the learning rate falls along a cosine of the
clock, so that the run ends well whenever it ends. The loss is that of the recipe's terms: the angle to the teacher's
embedding, and where one asks for it the cosines between every two samples. `student.npz` (averaged weights, float32)
and `resume.pt` are written every minute and at the end, none larger than 16 MiB; a `resume.pt` that lies in the pack's
folder is gone on from.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from training.backbones import STUDENTS
from training.device.augment import DeviceAugment

SAVE_EVERY = 60.0
WARM_UP = 200  # steps, or a twentieth of the time
LOG_EVERY = 50


class Crops(NamedTuple):
    """On the device: uint8 (N, 3, 128, 128), unit targets float32 (N, D), and how often each is shown."""

    pixels: Tensor
    targets: Tensor
    shown: Tensor


def read_crops(folder: Path, device: torch.device) -> Crops:
    """All parts that are there, decoded on all cores and laid out on the device."""
    pixels, targets, shown = [], [], []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for path in sorted(folder.glob("part-*.npz")):
            with np.load(path) as part:
                data, ends = part["data"].tobytes(), part["ends"].tolist()
                targets.append(part["targets"].astype(np.float32))
                shown.append(part["shown"])
            starts = [0, *ends[:-1]]
            blobs = [data[a:b] for a, b in zip(starts, ends, strict=True)]
            crops = torch.from_numpy(np.stack(list(pool.map(_decode, blobs, chunksize=64))))
            pixels.append(crops.to(device).permute(0, 3, 1, 2).contiguous())
    if not pixels:
        raise SystemExit(f"{folder} holds no part-*.npz")
    return Crops(
        torch.cat(pixels),
        F.normalize(torch.from_numpy(np.concatenate(targets))).to(device),
        torch.from_numpy(np.concatenate(shown)).to(device),
    )


def _decode(blob: bytes) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.asarray(Image.open(io.BytesIO(blob)).convert("RGB"), np.uint8)


def build(recipe: Mapping[str, Any], folder: Path) -> nn.Module:
    """The recipe's student with the pack's first weights."""
    options = dict(recipe["student"])
    student = STUDENTS[options.pop("kind")](**options)
    with np.load(folder / "start.npz") as start:
        student.load_state_dict({name: torch.from_numpy(start[name]) for name in start.files})
    return student


def measure(embedding: Tensor, targets: Tensor, terms: Sequence[Mapping[str, Any]]) -> Tensor:
    """The weighted loss of a recipe's terms: what `training.distillation.terms.distances` measures, for a pack's two.

    `embedding` and `targets` are float32 (N, D).
    """
    losses = []
    for term in terms:
        distance, weight = term["distance"], term["weight"]
        if distance["kind"] == "cosine":
            cosines = F.cosine_similarity(embedding, targets)
            losses.append(weight * (1 - cosines).clamp(min=0).pow(distance["power"]).mean())
        else:
            own, wanted = F.normalize(embedding), F.normalize(targets)
            wrong = (own @ own.T - wanted @ wanted.T).square()
            losses.append(weight * wrong.sum() / max(1, len(own) * (len(own) - 1)))
    return torch.stack(losses).sum()


class Run:
    """A run under way: the network, its average, its optimiser, and what the clock says."""

    def __init__(self, recipe: Mapping[str, Any], folder: Path, device: torch.device, peak: float, ema: float) -> None:
        self.student = build(recipe, folder).to(device).train()
        self._ema, self._peak = ema, peak
        schedule = recipe["schedule"]
        kernels = [p for p in self.student.parameters() if p.ndim > 1]
        others = [p for p in self.student.parameters() if p.ndim <= 1]
        groups = [
            {"params": kernels, "weight_decay": schedule["weight_decay"]},
            {"params": others, "weight_decay": 0.0},
        ]
        self.optimiser = torch.optim.AdamW(groups, lr=peak, fused=True)
        self._clip = schedule["clip"] or float("inf")
        self.step, self.seen = 0, 0
        self.average = {name: tensor.detach().clone() for name, tensor in self.student.state_dict().items()}
        resume = folder / "resume.pt"
        if resume.exists():
            state = torch.load(resume, map_location=device, weights_only=True)
            self.student.load_state_dict(state["student"])
            self.average = {name: tensor.to(device).float() for name, tensor in state["average"].items()}
            self.step, self.seen = state["step"], state["seen"]

    def advance(self, loss: Tensor, share: float, crops: int) -> None:
        """One step; `share` of the time is over."""
        warm = min(1.0, (self.step + 1) / WARM_UP, (share + 1e-3) / 0.05)
        for group in self.optimiser.param_groups:
            group["lr"] = self._peak * warm * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.student.parameters(), self._clip)
        self.optimiser.step()
        keep = min(self._ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            own = self.student.state_dict()
            floats = [name for name, tensor in own.items() if tensor.is_floating_point()]
            torch._foreach_lerp_([self.average[n] for n in floats], [own[n] for n in floats], 1 - keep)
        self.step, self.seen = self.step + 1, self.seen + crops

    def save(self, out: Path, loss: float) -> None:
        """Write what comes back, whole: the averaged weights, the state to go on from, and how far it got.

        Raises:
            SystemExit: The weights are not finite; nothing is written.
        """
        if not all(bool(tensor.isfinite().all()) for tensor in self.average.values()):
            raise SystemExit("the weights are not finite; the last files written are good")
        out.mkdir(parents=True, exist_ok=True)
        arrays = {name: tensor.float().cpu().numpy() for name, tensor in self.average.items()}
        with (out / "student.part").open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)
        (out / "student.part").replace(out / "student.npz")
        half = {name: tensor.half().cpu() for name, tensor in self.average.items()}
        own = {name: tensor.detach().cpu() for name, tensor in self.student.state_dict().items()}
        torch.save({"student": own, "average": half, "step": self.step, "seen": self.seen}, out / "resume.part")
        (out / "resume.part").replace(out / "resume.pt")
        (out / "fit.part").write_text(json.dumps({"step": self.step, "crops": self.seen, "loss": loss}) + "\n")
        (out / "fit.part").replace(out / "fit.json")


def train(
    folder: Path,
    out: Path,
    *,
    seconds: float,
    batch: int = 512,
    peak: float | None = None,
    ema: float = 0.9995,
    most: int | None = None,
    compiled: bool = True,
) -> Run:
    """Train for `seconds` from now, reading and compiling among them, or for `most` steps."""
    begun = time.monotonic()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    recipe = json.loads((folder / "pack.json").read_text())
    crops = read_crops(folder, device)
    run = Run(recipe, folder, device, peak or recipe["schedule"]["peak"], ema)
    spoil = DeviceAugment(recipe["augment"], recipe["input"], device)
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = True
    network = torch.compile(run.student) if compiled else run.student
    ready, saved, value, first = time.monotonic(), time.monotonic(), float("nan"), run.step
    print(f"{len(crops.pixels)} crops on {device} after {ready - begun:.0f} s", flush=True)
    while time.monotonic() - begun < seconds and (most is None or run.step - first < most):
        rows = torch.multinomial(crops.shown, batch, replacement=True)
        seen = spoil(crops.pixels[rows])  # in single precision: bf16 does not tell 255 grey levels apart
        with torch.autocast(device.type, torch.bfloat16):
            embedding = network(seen)
        loss = measure(embedding.float(), crops.targets[rows], recipe["terms"])
        over = (time.monotonic() - ready) / max(1e-9, seconds - (ready - begun))
        run.advance(loss, over if most is None else (run.step - first) / most, batch)
        if run.step % LOG_EVERY == 0:
            value = float(loss.detach())
            print(f"step {run.step} loss {value:.4f} {run.seen / (time.monotonic() - ready):.0f} crops/s", flush=True)
            if not math.isfinite(value):
                raise SystemExit("the loss is not finite; the last files written are good")
        if time.monotonic() - saved > SAVE_EVERY:
            run.save(out, value)
            saved = time.monotonic()
    run.save(out, float(loss.detach()) if run.step > first else value)
    return run


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("pack", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=480)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--peak", type=float)
    parser.add_argument("--ema", type=float, default=0.9995)
    parser.add_argument("--steps", type=int, help="stop after so many, whatever the clock says")
    parser.add_argument("--eager", action="store_true", help="do not compile")
    arguments = parser.parse_args()
    train(
        arguments.pack,
        arguments.out,
        seconds=arguments.seconds,
        batch=arguments.batch,
        peak=arguments.peak,
        ema=arguments.ema,
        most=arguments.steps,
        compiled=not arguments.eager,
    )


if __name__ == "__main__":
    main()
