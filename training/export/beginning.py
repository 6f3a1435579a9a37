"""What a distilled student begins with: a published model that carries its weights, or weights kept of its name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import onnx

from service.face.manifest import Licence
from service.face.registry import Registry
from training.backbones.weights import KEPT, WEIGHTS
from training.errors import InitialisationFailed
from training.export.record import Form
from training.export.release import read_publication

RELEASES = Path(__file__).parents[1] / "releases"


@dataclass(frozen=True, slots=True)
class Beginning:
    """Where weights and recipe of the network lie, and what is to be said of them.

    Attributes:
        name: What it is called.
        folder: Where `weights.npz` and `recipe.json` lie.
        init: The recipe's `init` that begins from it.
        space: Whose space it embeds into; None where nothing else is known to.
        licence: Its terms.
        form: The arithmetic that it is made to be served with.
    """

    name: str
    folder: Path
    init: dict[str, object]
    space: str | None
    licence: Licence
    form: Form


def find_beginning(student: str, registry: Registry) -> Beginning:
    """Find a student's weights: beside its graph, else among those that are kept in `training/weights`.

    Raises:
        ModelNotFound: There is no such model.
        InitialisationFailed: It was published without weights, and none of its name are kept.
    """
    folder = registry.find(student)
    manifest = folder.manifest
    if (folder.path / WEIGHTS).is_file():
        init: dict[str, object] = {"kind": "model", "model": manifest.identity, "minimum": 0.9}
        form: Form = "int8" if is_quantised(folder.model_path) else "fp32"
        return Beginning(manifest.identity, folder.path, init, manifest.space, manifest.licence, form)
    kept, release = KEPT / manifest.name, RELEASES / f"{manifest.name}.json"
    if "@" in student or not (kept / WEIGHTS).is_file() or not release.is_file():
        raise InitialisationFailed(f"{folder.path} holds no {WEIGHTS}: only a model with its weights is begun from")
    what = read_publication(release)
    init = {"kind": "weights", "weights": manifest.name, "minimum": 0.9}
    form = "int8" if what.form == "int8" else "fp32"
    return Beginning(f"kept weights {manifest.name}", kept, init, None, what.licence, form)


def is_quantised(path: Path) -> bool:
    """Whether a graph calculates in 8 bits."""
    return any(node.op_type == "QuantizeLinear" for node in onnx.load(path).graph.node)
