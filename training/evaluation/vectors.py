"""Pictures of a protocol to vectors, through the served path: decode, detect, align, preprocess, embed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from service.face.align import CROP
from service.face.detection.detect import Detector
from service.face.detection.detection import Detection
from service.face.detection.search import Seek
from service.face.embedding.embed import Embedder
from service.face.manifest import COSINE, Manifest, load_manifest
from service.face.registry import MANIFEST, ModelFolder, Registry
from service.face.session import Runtime
from training.atomic_folder import whole_file
from training.backbones.network import restore_student
from training.data.embeds import Embeds
from training.data.faces import choose, cut_centre, cut_face, from_aligned, read
from training.distillation.dlib_net import DlibNet
from training.distillation.spaces import teacher_space
from training.distillation.teacher_targets import flip_averaged
from training.distillation.teachers import RunTeacher, open_teacher
from training.engine.checkpoint import load_checkpoint
from training.errors import TeacherMissing
from training.evaluation.onnx_network import OnnxNet
from training.evaluation.protocols import Picture
from training.recipe import Roots

CHUNK = 64


@dataclass(frozen=True, slots=True)
class Crops:
    """Canonical crops uint8 (N, 128, 128, 3) in the order of the pictures; in `missed` no face was found."""

    crops: NDArray[np.uint8]
    missed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Model:
    """An embedder under evaluation: its name in reports, the space of its vectors, and its manifest if it has one."""

    name: str
    embeds: Embeds
    space: str
    manifest: Manifest | None

    @property
    def score(self) -> str:
        """What its scores are: the cosine, or those of its normalisation."""
        return self.manifest.computed_score if self.manifest is not None else COSINE


def open_model(name: str, roots: Roots, threads: int = 1) -> Model:
    """Open what is to be evaluated.

    `name` is a model folder's path, a registered name, `run:<name>` for a run's torch network, `run:<name>:<form>` for
    one of its exported graphs, or `dlib`.

    Raises:
        ModelError: There is no such model, or it is damaged.
        CheckpointInvalid: There is no checkpoint, or it does not fit.
        TeacherMissing: There is no such teacher.
    """
    if name == "dlib":
        peer = DlibNet()
        return Model(name, peer, peer.digest, None)
    if name.startswith("run:"):
        _, run, *form = name.split(":")
        checkpoint = load_checkpoint(roots.runs / run)
        if form:
            student, pixels = restore_student(checkpoint)
            path = roots.runs / run / "export" / f"{form[0]}.onnx"
            network: Embeds = OnnxNet(path, pixels, student.dim, threads)
        else:
            network = open_teacher(name, RunTeacher(kind="run", run=run), roots).embeds
        return Model(name, network, teacher_space(checkpoint) or network.digest, None)
    runtime = Runtime(threads)
    folder = Path(name)
    if (folder / MANIFEST).is_file():
        embedder = ModelFolder(load_manifest(folder / MANIFEST), folder).embedder(runtime)
    else:
        embedder = Registry.scan(roots.model_folders).embedder(name, runtime)
    return Model(embedder.manifest.identity, embedder, embedder.space, embedder.manifest)


def open_detector(name: str | None, roots: Roots) -> Detector:
    """The detector of that name, or the first there is: the bundled one if the bundle holds one.

    Raises:
        ModelError: There is no such model, or it is damaged.
        TeacherMissing: There is none.
    """
    registry = Registry.scan(roots.model_folders)
    if name is not None:
        return registry.detector(name)
    known = registry.folders("detector")
    if not known:
        raise TeacherMissing(
            f"no detector in {', '.join(map(str, roots.model_folders))}: register one, or give --models"
        )
    return registry.detector(known[0].manifest.identity)


def cut_crops(
    pictures: Sequence[Picture], detector: Detector | None, cache: Path | None, *, progress: bool = True
) -> Crops:
    """Cut every picture's face (the one nearest to the centre), or take it as a crop where `detector` is None.

    A picture without a face still gets a crop, its middle, and its name goes into `missed`. Crops are cached by the
    detector's digest and the pictures' names, bytes and landmarks.
    """
    mark = hashlib.sha256(("".join(detector.digests) if detector else "aligned").encode())
    blobs = [picture.data() for picture in pictures]
    for picture, data in zip(pictures, blobs, strict=True):
        mark.update(picture.name.encode() + hashlib.sha256(data).digest())
        if picture.landmarks is not None:
            mark.update(picture.landmarks.tobytes())
    path = cache / f"crops-{mark.hexdigest()[:16]}.npz" if cache is not None else None
    if path is not None and path.is_file():
        with np.load(path) as saved:
            return Crops(saved["crops"], tuple(saved["missed"].tolist()))
    crops = np.empty((len(pictures), CROP, CROP, 3), np.uint8)
    missed = []
    for i, picture in enumerate(tqdm(pictures, desc="crops", unit="face", disable=not progress)):
        crop = _crop(picture, blobs[i], detector)
        if crop is None:
            missed.append(picture.name)
            crop = cut_centre(read(blobs[i])).crop
        crops[i] = crop
    if path is not None:
        with whole_file(path) as draft, draft.open("wb") as file:
            np.savez(file, crops=crops, missed=np.array(missed, dtype=np.str_))
    return Crops(crops, tuple(missed))


def embed(model: Embeds, crops: NDArray[np.uint8], *, flip: bool = False, progress: bool = True) -> NDArray[np.float32]:
    """Unit vectors (N, D) of crops (N, 128, 128, 3); `flip` averages with the mirror image, which serving does not."""
    parts = [
        flip_averaged(model, part) if flip else model.embed(part)
        for start in tqdm(range(0, len(crops), CHUNK), desc="embed", unit="batch", disable=not progress)
        for part in (np.ascontiguousarray(crops[start : start + CHUNK]),)
    ]
    return np.concatenate(parts)


def offsets_of(model: Embeds, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """What a served model's normalisation adds to the scores of unit vectors (N, D): (N,), zeros without one."""
    return model.offsets(vectors) if isinstance(model, Embedder) else np.zeros(len(vectors), np.float32)


def _crop(picture: Picture, data: bytes, detector: Detector | None) -> NDArray[np.uint8] | None:
    pixels = read(data)
    if detector is None:
        return from_aligned(pixels).crop
    if picture.landmarks is not None:
        return cut_face(pixels, Detection((0.0, 0.0, 1.0, 1.0), 1.0, picture.landmarks)).crop
    face = choose(detector.detect(pixels, Seek.ALL), pixels.shape[1], pixels.shape[0], "centre")
    return cut_face(pixels, face).crop if face is not None else None
