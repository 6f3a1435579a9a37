"""Folders of models: `<directory>/<anything>/{model.onnx, manifest.json, MODEL_CARD.md}`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from service.face.detection.detect import LANDMARKS, Detector
from service.face.detection.search import DetectionLimits
from service.face.embedding.embed import Embedder
from service.face.embedding.normalisation import NORMALISATION, Normalisation
from service.face.embedding.recognisability import RECOGNISABILITY, Recognisability
from service.face.errors import ModelDigestMismatch, ModelError, ModelInvalid, ModelNotFound
from service.face.external_weights import require_whole
from service.face.manifest import Manifest, Task, load_manifest
from service.face.session import ModelSession, Runtime

MODEL, MANIFEST, CARD = "model.onnx", "manifest.json", "MODEL_CARD.md"


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """One model on disk: its parsed manifest and where it lies."""

    manifest: Manifest
    path: Path

    @property
    def model_path(self) -> Path:
        """Where the graph lies."""
        return self.path / MODEL

    def card(self) -> str:
        """The model card, Markdown. Raises: ModelInvalid when it is missing."""
        try:
            return (self.path / CARD).read_text(encoding="utf-8")
        except OSError as error:
            raise ModelInvalid(f"{self.manifest.identity}: no readable {CARD}") from error

    def verify(self) -> None:
        """Check every file against the manifest, and that there are no more.

        Raises: ModelInvalid (missing, or weights in other files), ModelDigestMismatch.
        """
        self.card()
        self._verify(MODEL, self.manifest.sha256)
        if self.manifest.normalisation is not None:
            self._verify(NORMALISATION, self.manifest.normalisation.sha256)
        if self.manifest.recognisability is not None and self.manifest.recognisability.sha256 is not None:
            self._verify(RECOGNISABILITY, self.manifest.recognisability.sha256)
        if self.manifest.landmarks is not None:
            self._verify(LANDMARKS, self.manifest.landmarks.sha256)

    def embedder(self, runtime: Runtime | None = None) -> Embedder:
        """Verify and load an embedder with what stands beside it. Raises: ModelError."""
        self.verify()
        manifest = self.manifest
        dim = manifest.output.dim if manifest.output is not None else 0
        recognisability = None
        if manifest.recognisability is not None and manifest.recognisability.sha256 is not None:
            recognisability = Recognisability(ModelSession(self.path / RECOGNISABILITY), dim)
        session = ModelSession(self.model_path, runtime)
        return Embedder(manifest, session, self.normalisation(), recognisability)

    def detector(self, runtime: Runtime | None = None, limits: DetectionLimits | None = None) -> Detector:
        """Verify and load a detector with what stands beside it. Raises: ModelError."""
        self.verify()
        placer = ModelSession(self.path / LANDMARKS, runtime) if self.manifest.landmarks is not None else None
        return Detector(self.manifest, ModelSession(self.model_path, runtime), limits, placer)

    def normalisation(self) -> Normalisation | None:
        """Verify and load what is added to the model's scores; None where there is nothing. Raises: ModelError."""
        spec, output = self.manifest.normalisation, self.manifest.output
        if spec is None or output is None:
            return None
        self._verify(NORMALISATION, spec.sha256)
        return Normalisation(ModelSession(self.path / NORMALISATION), output.dim, spec.sha256)

    def _verify(self, file: str, expected: str) -> None:
        try:
            digest = sha256_of(self.path / file)
        except OSError as error:
            raise ModelInvalid(f"{self.manifest.identity}: {file} is missing or unreadable") from error
        if digest != expected:
            raise ModelDigestMismatch(
                f"{self.manifest.identity}: {file} has sha256 {digest[:12]}..., the manifest says "
                f"{expected[:12]}...: the file is damaged or is another model's"
            )
        require_whole(self.path / file)


class Registry:
    """Every model found below some directories. The first directory that holds a name@version wins."""

    def __init__(self, folders: Iterable[ModelFolder], faults: Iterable[ModelError] = ()) -> None:
        self._folders = _first_of_each(folders)
        self.faults = tuple(faults)

    @classmethod
    def scan(cls, directories: Iterable[Path]) -> Self:
        """Read the manifests below `directories`; what cannot be read is kept in `faults`, not hidden.

        Raises: ModelNotFound when a directory does not exist.
        """
        folders: list[ModelFolder] = []
        faults: list[ModelError] = []
        for directory in directories:
            if not directory.is_dir():
                raise ModelNotFound(f"model directory {directory} does not exist")
            for path in sorted(directory.glob(f"[!.]*/{MANIFEST}")):  # a hidden folder is one that is being made
                try:
                    folders.append(ModelFolder(load_manifest(path), path.parent))
                except ModelError as error:
                    faults.append(error)
        return cls(folders, faults)

    def refresh(self, directories: Iterable[Path]) -> None:
        """Read the manifests below `directories` as they are now; a model whose folder is gone stays known.

        Raises: ModelNotFound when a directory does not exist.
        """
        fresh = Registry.scan(directories)
        self._folders, self.faults = {**self._folders, **fresh._folders}, fresh.faults

    def folders(self, task: Task | None = None) -> list[ModelFolder]:
        """All models, or those of one task, by name and then by version, newest first."""
        chosen = [folder for folder in self._folders.values() if task in (None, folder.manifest.task)]
        chosen.sort(key=lambda folder: version_of(folder.manifest), reverse=True)
        return sorted(chosen, key=lambda folder: folder.manifest.name)

    def find(self, name: str) -> ModelFolder:
        """Find `name` (its newest version) or `name@version`. Raises: ModelNotFound, naming what there is."""
        for folder in self.folders():
            if name in (folder.manifest.identity, folder.manifest.name):
                return folder
        known = ", ".join(folder.manifest.identity for folder in self.folders()) or "none"
        raise ModelNotFound(f"no model {name!r}; known: {known}")

    def embedder(self, name: str, runtime: Runtime | None = None) -> Embedder:
        """Verify and load an embedder. Raises: ModelError."""
        return self._of_task(name, "embedder").embedder(runtime)

    def detector(self, name: str, runtime: Runtime | None = None, limits: DetectionLimits | None = None) -> Detector:
        """Verify and load a detector. Raises: ModelError."""
        return self._of_task(name, "detector").detector(runtime, limits)

    def _of_task(self, name: str, task: Task) -> ModelFolder:
        folder = self.find(name)
        if folder.manifest.task != task:
            raise ModelNotFound(f"{folder.manifest.identity} is a model for {folder.manifest.task}, not {task}")
        return folder


def _first_of_each(folders: Iterable[ModelFolder]) -> dict[str, ModelFolder]:
    first: dict[str, ModelFolder] = {}
    for folder in folders:
        first.setdefault(folder.manifest.identity, folder)
    return first


def sha256_of(path: Path) -> str:
    """The file's SHA-256, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def version_of(manifest: Manifest) -> tuple[int, ...]:
    """Return the version as numbers, which are greater the newer it is."""
    return tuple(int(part) for part in manifest.version.split("."))
