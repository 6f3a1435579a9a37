"""`facet-train ensemble`: several embedders become one model folder, which trains, serves and is calibrated like any.

The joined vector is as long as all members' together. Reduced to fewer values it keeps what it holds of faces: the
projection is the leading right singular vectors of the joined vectors of training crops, uncentred, so that inner
products, and not variances, are what is kept (MobileID concatenates its teachers; the reduction is Eckart and Young's).
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.face.embedding.preprocess import to_tensor
from service.face.manifest import InputSpec, Licence, OutputSpec, Provenance
from service.face.model_import import ModelSpec, add_model
from service.face.registry import ModelFolder, Registry
from service.face.session import ModelSession
from training.data.crops import CropSet
from training.distillation.joint_graph import Member, joint_input, write_joint
from training.errors import SetInvalid, TeacherMismatch

CHUNK = 8


@dataclass(frozen=True, slots=True)
class Made:
    """The new model, its projection if it has one, and what share of the joined vectors' energy a fitted one keeps."""

    folder: ModelFolder
    projection: NDArray[np.float32] | None
    kept: float


def make_ensemble(
    name: str,
    weights: Mapping[str, float],
    registry: Registry,
    target: Path,
    *,
    version: str = "1.0.0",
    dim: int | None = None,
    sets: Sequence[CropSet] = (),
    projection: NDArray[np.float32] | None = None,
    crops: int = 8192,
    seed: int = 0,
) -> Made:
    """Join embedders of `registry` into `target/<name>-<version>`.

    Its space is named by the members' digests, the weights and the projection: whoever joins the same members in the
    same way has the same space, whatever bytes their graph is written in.

    Args:
        name: The new model's.
        weights: By name or `name@version` of each member, the weight of its cosine; they are divided by their sum.
        registry: Where the members are.
        target: Folder of models to write into.
        version: The new model's.
        dim: Length of the embedding; None joins without a projection.
        sets: Where the projection is fitted: at most `crops` crops of their training split, evenly from each.
        projection: One that was fitted before, (all members' values, dim), in place of `dim` and `sets`.
        crops: How many crops fit the projection at most.
        seed: Of their choice.

    Raises:
        ModelNotFound: There is no such member.
        ModelExists: The new model is there already.
        TeacherMismatch: Members or weights cannot be joined.
        SetInvalid: The sets hold too few crops.
    """
    if len(weights) < 2 or min(weights.values()) <= 0:
        raise TeacherMismatch("an ensemble has two members or more, each with a weight above zero")
    folders = [registry.find(member) for member in weights]
    shares = np.array(list(weights.values())) / sum(weights.values())
    members = [_member(folder, float(share)) for folder, share in zip(folders, shares, strict=True)]
    width = sum(member.dim for member in members)
    pixels = joint_input(members)
    kept, fitted = 1.0, [f"{s.name} ({s.digest[:12]})" for s in sets]
    if projection is not None:
        if len(projection) != width:
            raise TeacherMismatch(f"the members give {width} values together, the projection takes {len(projection)}")
        dim, fitted = projection.shape[1], ["crops that were chosen before"]
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "model.onnx"
        if dim is not None and projection is None:
            if not 0 < dim <= width:
                raise TeacherMismatch(f"the members give {width} values together: {dim} cannot be made of them")
            write_joint(members, None, path)
            chosen = training_crops(sets, crops, seed)
            if len(chosen) < dim:
                raise SetInvalid(f"{len(chosen)} training crops cannot fit {dim} values: name larger sets")
            projection, kept = fit_projection(_embed(path, pixels, chosen), dim)
        write_joint(members, projection, path)
        spec = _spec(name, version, folders, shares, pixels, dim or width, fitted if dim is not None else ())
        spec = spec.model_copy(update={"space": space_digest(members, folders, projection)})
        return Made(add_model(path, spec, target), projection, kept)


def space_digest(
    members: Sequence[Member], folders: Sequence[ModelFolder], projection: NDArray[np.float32] | None
) -> str:
    """SHA-256 of what makes the space: members' digests, weights to six decimals, the projection's values."""
    parts = [f"{folder.manifest.sha256} {m.weight:.6f}" for folder, m in zip(folders, members, strict=True)]
    values = b"" if projection is None else np.ascontiguousarray(projection, dtype="<f4").tobytes()
    return hashlib.sha256("\n".join(parts).encode() + b"\n" + values).hexdigest()


def fit_projection(vectors: NDArray[np.float32], dim: int) -> tuple[NDArray[np.float32], float]:
    """The (D, dim) basis that keeps most of the inner products of (N, D) vectors, and the share of energy it keeps."""
    values = vectors.astype(np.float64)
    energy, directions = np.linalg.eigh(values.T @ values)
    # in numbers of half precision, so that what is written down and read again is the same projection, and space
    kept = float(energy[::-1][:dim].sum() / energy.sum())
    return directions[:, ::-1][:, :dim].astype(np.float16).astype(np.float32), kept


def training_crops(sets: Sequence[CropSet], most: int, seed: int) -> NDArray[np.uint8]:
    """At most `most` crops (N, 128, 128, 3) of the sets' training splits, as evenly as their sizes allow."""
    rng = np.random.default_rng(seed)
    rows = [rng.permutation(crops.rows("train")) for crops in sets]
    each = -(-most // max(1, len(sets)))
    parts = [np.asarray(crops.crops[np.sort(own[:each])]) for crops, own in zip(sets, rows, strict=True)]
    return np.concatenate(parts)[:most] if parts else np.empty((0, 128, 128, 3), np.uint8)


def _member(folder: ModelFolder, weight: float) -> Member:
    folder.verify()
    manifest = folder.manifest
    if manifest.task != "embedder" or manifest.output is None:
        raise TeacherMismatch(f"{manifest.identity} is a model for {manifest.task}, not an embedder")
    return Member(folder.model_path, manifest.input, manifest.output.dim, weight)


def _embed(path: Path, pixels: InputSpec, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
    session = ModelSession(path)
    parts = [crops[start : start + CHUNK] for start in range(0, len(crops), CHUNK)]
    return np.concatenate([session.run(to_tensor(part, pixels))["embedding"] for part in parts])


def _spec(
    name: str,
    version: str,
    folders: Sequence[ModelFolder],
    shares: NDArray[np.float64],
    pixels: InputSpec,
    dim: int,
    fitted: Sequence[str],
) -> ModelSpec:
    manifests = [folder.manifest for folder in folders]
    described = [
        f"{m.identity} (SHA-256 {m.sha256}, {m.licence.id}, weight {share:.2f})"
        for m, share in zip(manifests, shares, strict=True)
    ]
    licences = sorted({m.licence.id for m in manifests})
    uses = {m.licence.commercial_use for m in manifests}
    data = [f"projection fitted on {', '.join(fitted)}"] if fitted else []
    parameters = [m.cost.parameters for m in manifests]
    return ModelSpec(
        name=name,
        version=version,
        task="embedder",
        about=f"An ensemble: the weighted unit vectors of {'; '.join(described)}, joined"
        + (f" and projected to {dim} values." if fitted else "."),
        url=None,
        sha256=None,
        space=None,
        input=pixels,
        output=OutputSpec(dim=dim, normalised=False),
        licence=Licence(
            id=" AND ".join(licences),
            url=manifests[0].licence.url if len(licences) == 1 else None,
            commercial_use=False if False in uses else (None if None in uses else True),
            note=f"Members: {'; '.join(described)}.",
        ),
        provenance=Provenance(
            teachers=tuple(m.sha256 for m in manifests),
            recipe=None,
            data=tuple(sorted({line for m in manifests for line in m.provenance.data})) + tuple(data),
            made_by="facet-train ensemble, of the members named under the licence",
        ),
        parameters=sum(p for p in parameters if p is not None) if None not in parameters else None,
        multiply_adds=None,
        results=(),
        thresholds=(),
    )
