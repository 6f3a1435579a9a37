"""Taking a model in: an ONNX file and a spec become a checked model folder, or nothing at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from importlib import resources
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from service.face.align import CROP
from service.face.detection.detect import Detector
from service.face.embedding.embed import Embedder
from service.face.errors import ModelDigestMismatch, ModelExists, ModelInvalid, ModelNotFound
from service.face.external_weights import require_whole
from service.face.manifest import (
    CalibratedThreshold,
    Cost,
    InputSpec,
    Licence,
    Manifest,
    Name,
    OutputSpec,
    Provenance,
    Result,
    Sha256,
    Task,
    Version,
    describe_faults,
    dump_manifest,
    parse_json,
)
from service.face.registry import CARD, MANIFEST, MODEL, ModelFolder, sha256_of
from service.face.session import ModelSession

PROBE_SEED = 20260101
BATCH_TOLERANCE = 1e-3


class ModelSpec(BaseModel):
    """What one must know of an ONNX file to serve it; the rest of the manifest is read off the file.

    `sha256` pins the file (null: any file). `space` is null for a model with a space of its own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: Name
    version: Version
    task: Task
    about: str = Field(min_length=1)
    url: str | None
    sha256: Sha256 | None
    space: Sha256 | None
    input: InputSpec
    output: OutputSpec | None
    licence: Licence
    provenance: Provenance
    parameters: int | None
    multiply_adds: int | None
    results: tuple[Result, ...]
    thresholds: tuple[CalibratedThreshold, ...]


def known_specs() -> dict[str, ModelSpec]:
    """The specs that come with this package, by name."""
    files = resources.files("service.face").joinpath("known").iterdir()
    specs = [parse_spec(file.read_text("utf-8"), file.name) for file in files if file.name.endswith(".json")]
    return {spec.name: spec for spec in sorted(specs, key=lambda spec: spec.name)}


def parse_spec(text: str | bytes, source: str) -> ModelSpec:
    """Parse a spec's JSON. Raises: ModelInvalid, listing every wrong field."""
    return parse_json(ModelSpec, text, source, "spec")


def read_spec(name_or_path: str) -> ModelSpec:
    """A known spec by name, or one from a JSON file. Raises: ModelNotFound, ModelInvalid."""
    specs = known_specs()
    if name_or_path in specs:
        return specs[name_or_path]
    try:
        return parse_spec(Path(name_or_path).read_bytes(), name_or_path)
    except OSError as error:
        raise ModelNotFound(f"no spec {name_or_path!r}; a JSON file or one of: {', '.join(specs)}") from error


def add_model(source: Path, spec: ModelSpec, directory: Path) -> ModelFolder:
    """Check an ONNX file against its spec and put both, with a card, into `directory`.

    The network is loaded and run before anything is kept: shapes must agree, vectors must be finite, and one
    crop must embed alike alone and in a batch. The folder appears whole, by one rename.

    Raises: ModelNotFound (no such file), ModelDigestMismatch, ModelExists, ModelInvalid, InferenceFailed.
    """
    if not source.is_file():
        raise ModelNotFound(f"{source} is not a file")
    digest = sha256_of(source)
    if spec.sha256 is not None and digest != spec.sha256:
        raise ModelDigestMismatch(f"{source.name} has sha256 {digest}, the spec {spec.name!r} expects {spec.sha256}")
    require_whole(source)
    target = directory / f"{spec.name}-{spec.version}"
    if target.exists():
        raise ModelExists(f"{target} exists already; remove it, or give another name or version")
    manifest = _manifest_of(spec, digest, source.stat().st_size)
    probe(manifest, source)
    directory.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".adding-", dir=directory))
    try:
        staging.chmod(0o755)
        shutil.copyfile(source, staging / MODEL)
        (staging / MANIFEST).write_text(dump_manifest(manifest), encoding="utf-8")
        (staging / CARD).write_text(_card(spec, manifest), encoding="utf-8")
        folder = ModelFolder(manifest, staging)
        folder.verify()
        staging.rename(target)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    _sync(directory)
    return ModelFolder(manifest, target)


def _manifest_of(spec: ModelSpec, digest: str, size: int) -> Manifest:
    """What a spec and a file make together. Raises: ModelInvalid where the parts of the spec do not go together."""
    try:
        return Manifest(
            schema=1,
            name=spec.name,
            version=spec.version,
            task=spec.task,
            sha256=digest,
            space=(spec.space or digest) if spec.task == "embedder" else None,
            input=spec.input,
            output=spec.output,
            licence=spec.licence,
            provenance=spec.provenance,
            cost=Cost(parameters=spec.parameters, multiply_adds=spec.multiply_adds, bytes=size),
            results=spec.results,
            thresholds=spec.thresholds,
        )
    except ValidationError as error:
        raise ModelInvalid(f"the spec {spec.name!r}: {describe_faults(error, spec.task)}") from error


def probe(manifest: Manifest, path: Path) -> None:
    """Load the graph as its manifest says and run it once. Raises: ModelInvalid, InferenceFailed."""
    session = ModelSession(path)
    if manifest.task == "detector":
        detector = Detector(manifest, session)
        detector.finder.see(np.full((96, 96, 3), 127, np.uint8), detector.limits.glimpse_score)
    elif manifest.task == "embedder":
        embedder = Embedder(manifest, session)
        noise = np.random.default_rng(PROBE_SEED)
        crops = noise.integers(0, 256, (3, CROP, CROP, 3), dtype=np.uint8)
        together = embedder.embed(crops)
        alone = np.concatenate([embedder.embed(crop[None]) for crop in crops])
        if float(np.abs(together - alone).max()) > BATCH_TOLERANCE:
            raise ModelInvalid(f"{manifest.identity}: a crop embeds differently alone and in a batch")
    else:
        session.run(np.zeros([size or 1 for size in session.input_shape], np.float32))


def _card(spec: ModelSpec, manifest: Manifest) -> str:
    use = {True: "allowed", False: "not allowed", None: "not stated: ask the licensor"}[spec.licence.commercial_use]
    thresholds = "\n".join(f"| {row.fmr:g} | {row.threshold:.4f} | {row.impostor_trials} |" for row in spec.thresholds)
    table = (
        f"\n| FMR | threshold | impostor trials |\n|---|---|---|\n{thresholds}\n"
        if thresholds
        else ("\nNone calibrated: pass `threshold=` with each request, or calibrate with `facet-train calibrate`.\n")
    )
    return (
        f"# {manifest.identity}\n\n{spec.about}\n\n"
        f"- Task: {spec.task}\n- SHA-256: `{manifest.sha256}`\n- Size: {manifest.cost.bytes} bytes\n"
        f"- Licence: {spec.licence.id}. Commercial use: {use}. {spec.licence.note}\n"
        f"- Origin: {spec.provenance.made_by}. Data: {', '.join(spec.provenance.data) or 'not stated'}.\n\n"
        f"## Thresholds\n{table}"
    )


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
