"""The models that are loaded and may answer: one detector and one or more embedders."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Self

import numpy as np
from prometheus_client import CollectorRegistry

from service.face.align import CROP
from service.face.cross_model import Calibration, Strictest, Thresholds
from service.face.detection.detect import Detector
from service.face.detection.search import DetectionLimits
from service.face.embedding.embed import Embedder
from service.face.embedding.normalisation import Normalisation, Offsets
from service.face.errors import ModelNotFound, ThresholdUnsupported
from service.face.manifest import Manifest
from service.face.registry import ModelFolder, Registry, version_of
from service.face.score import ThresholdTable
from service.face.session import Runtime
from service.metrics import LabelledGauge, Sample
from service.model_set import ModelSet, normalisations_of, pairs_of
from service.settings import SettingsInvalid
from service.settings.decisions import Inference


class Models:
    """The detector, loaded once at start, and embedders, of which some may come and go while requests go on.

    A request that holds an embedder ends with it, whatever is unloaded meanwhile.
    """

    def __init__(
        self,
        detector: Detector,
        embedders: Sequence[Embedder],
        default: str | None = None,
        known: Sequence[Manifest] = (),
        pairs: Mapping[tuple[str, str], ThresholdTable] | None = None,
        normalisations: Mapping[str, Normalisation] | None = None,
    ) -> None:
        """`default` names the embedder that answers when none is asked for; None takes the first.

        `known` are manifests of embedders that need not be loaded: templates of theirs may be enrolled. `pairs`
        are thresholds for a probe's model and another reference's model, by their digests.

        Raises:
            ModelNotFound when there is no embedder, or none of that name.
        """
        if not embedders:
            raise ModelNotFound("no embedder is loaded: add one with `facet models add`, or name a model directory")
        self.detector = detector
        self._changing = threading.Lock()
        self._set = ModelSet.of(embedders, known, normalisations or {}, pairs or {})
        self.default = self._named(default) if default else self.embedders[0]

    @classmethod
    def load(
        cls,
        registry: Registry,
        detector: str | None = None,
        embedders: Sequence[str] = (),
        default: str | None = None,
        runtime: Callable[[Manifest], Runtime] | None = None,
        limits: DetectionLimits | None = None,
    ) -> Self:
        """Verify and load models by name; unset names take the registry's first detector and all its embedders.

        `runtime` says what each runs on.

        Raises:
            ModelError.
        """
        if detector is None:
            detectors = registry.folders("detector")
            if not detectors:
                raise ModelNotFound("no detector found: name a model directory that holds one")
            detector = detectors[0].manifest.identity
        folders = registry.folders("embedder")
        choose = runtime or (lambda _: Runtime())
        loaded = [
            registry.embedder(name, choose(registry.find(name).manifest))
            for name in embedders or [folder.manifest.identity for folder in folders]
        ]
        known = [folder.manifest for folder in folders]
        pairs, normalisations = pairs_of(folders, known), normalisations_of(folders)
        finder = registry.detector(detector, choose(registry.find(detector).manifest), limits)
        return cls(finder, loaded, default, known, pairs, normalisations)

    @property
    def embedders(self) -> tuple[Embedder, ...]:
        """Those loaded at this moment."""
        return self._set.embedders

    @property
    def known(self) -> Mapping[str, Manifest]:
        """Manifests of embedders that need not be loaded, by digest."""
        return self._set.known

    def add(self, embedder: Embedder, folders: Sequence[ModelFolder] = ()) -> None:
        """Let one more embedder answer from here on, and know what further folders hold.

        Raises:
            ModelError: a folder cannot be read; nothing has changed.
        """
        with self._changing:
            self._set = self._set.with_(embedder, folders)

    def check_addition(self, embedder: Embedder, folders: Sequence[ModelFolder]) -> None:
        """Check that `add` would do it.

        Raises:
            ModelError: a folder cannot be read.
        """
        self._set.with_(embedder, folders)

    def remove(self, digest: str) -> None:
        """Let an embedder answer no further requests."""
        with self._changing:
            self._set = self._set.without(digest)

    def embedder(self, name: str | None) -> Embedder:
        """The embedder of that name (its newest version, whichever was loaded first) or `name@version`, or the default.

        Raises:
            ModelNotFound.
        """
        return self.default if name is None else self._named(name)

    def by_digest(self, digest: str) -> Embedder | None:
        """The loaded embedder with that digest, if there is one."""
        return next((embedder for embedder in self.embedders if embedder.digest == digest), None)

    def thresholds(self, embedder: Embedder) -> ThresholdTable:
        """The calibrated thresholds of a loaded embedder."""
        return self._set.tables[embedder.digest]

    def offsets(self, digest: str) -> Offsets | None:
        """What a known model's normalisation adds to the scores of its unit vectors; None where there is none."""
        normalisation = self._set.normalisations.get(digest)
        return None if normalisation is None else normalisation.offsets

    def same_space(self, model: Manifest) -> tuple[str, ...]:
        """Digests of the known embedders that share a model's space, its own first."""
        return digests_of_space(model, self.known.values())

    def calibration(self, probe: Embedder, references: Sequence[str]) -> tuple[Thresholds, Calibration]:
        """Thresholds for probes of one model against templates of others of its space, and whose they are.

        A pair without thresholds of its own gets the stricter of its two models'; several pairs the strictest.
        """
        if tuple(references) == (probe.digest,):
            return self.thresholds(probe), "model"
        tables: list[ThresholdTable] = []
        measured, own = True, self._set
        for reference in references:
            if reference == probe.digest:
                tables.append(own.tables[reference])
            elif (pair := own.pairs.get((probe.digest, reference))) is not None:
                tables.append(pair)
            else:
                tables += [own.tables[probe.digest], own.tables[reference]]
                measured = False
        return Strictest(tables), "pair" if measured else "cautious"

    def register(self, registry: CollectorRegistry) -> None:
        """Register a series for each model that is loaded when somebody asks."""

        def info() -> list[Sample]:
            loaded = (each.manifest for each in self._loaded())
            return [((each.name, each.version, each.task, each.sha256, each.licence.id), 1) for each in loaded]

        def runs() -> list[Sample]:
            return [((each.manifest.name, each.manifest.version, each.provider), 1) for each in self._loaded()]

        labels = ("name", "version", "task", "digest", "licence")
        registry.register(LabelledGauge("facet_model_info", "Models loaded; always 1.", labels, info))
        on = ("name", "version", "provider")
        about = "What each loaded model runs on; always 1."
        registry.register(LabelledGauge("facet_model_provider", about, on, runs))

    def provider_of(self, digest: str) -> str | None:
        """The execution provider that a model runs on, by its short name; None where it is not loaded."""
        return next((each.provider for each in self._loaded() if each.manifest.sha256 == digest), None)

    def exercise(self) -> None:
        """Run every loaded model once on a grey picture, with what stands beside it.

        Raises:
            InferenceFailed.
        """
        grey = np.full((CROP, CROP, 3), 127, dtype=np.uint8)
        grey[32:96, 32:96] = 90
        self.detector.detect(grey)
        for embedder in self.embedders:
            embedder.templates(grey[None])

    def _loaded(self) -> list[Detector | Embedder]:
        return [self.detector, *self.embedders]

    def _named(self, name: str) -> Embedder:
        embedders = self.embedders
        exact = [embedder for embedder in embedders if embedder.manifest.identity == name]
        if chosen := exact or [embedder for embedder in embedders if embedder.manifest.name == name]:
            return max(chosen, key=lambda embedder: version_of(embedder.manifest))
        known = ", ".join(embedder.manifest.identity for embedder in embedders)
        raise ModelNotFound(f"model {name!r} is not loaded; loaded: {known}")


def digests_of_space(model: Manifest, known: Iterable[Manifest]) -> tuple[str, ...]:
    """Digests of the known embedders that share a model's space, its own first."""
    others = (each.sha256 for each in known if each.space == model.space and each.sha256 != model.sha256)
    return (model.sha256, *others)


def load_models(registry: Registry, inference: Inference) -> Models:
    """Verify and load the models that the settings name, on the providers that they name. Raises: ModelError."""
    for name in inference.provider_names[1]:
        registry.find(name)  # a misspelt name would be a model that silently runs on something else
    return Models.load(
        registry,
        detector=inference.detector,
        embedders=inference.models,
        default=inference.default_model,
        runtime=partial(runtime_for, inference),
    )


def runtime_for(inference: Inference, manifest: Manifest) -> Runtime:
    """What a model runs on, as the settings say. Raises: ModelError."""
    default, own = inference.provider_names
    return Runtime.on(own.get(manifest.identity, own.get(manifest.name, default)))


def require_rate(models: Models, variable: str, fmr: float) -> None:
    """Check that a false match rate which a setting asks for is one that some loaded model can decide at.

    Models without any calibration decide at scores that callers give; without others, there is nothing to check.

    Raises: SettingsInvalid, with the rates that each model supports.
    """
    tables = {embedder.manifest.identity: models.thresholds(embedder) for embedder in models.embedders}
    calibrated = {name: table for name, table in tables.items() if table.rates}
    if calibrated and not any(_supports(table, fmr) for table in calibrated.values()):
        ranges = ", ".join(f"{name} {table.rates[-1]:g} to {table.rates[0]:g}" for name, table in calibrated.items())
        raise SettingsInvalid(
            f"{variable}: no loaded model supports a false match rate of {fmr:g}; supported: {ranges}"
        )


def _supports(table: ThresholdTable, fmr: float) -> bool:
    try:
        table.at(fmr)
    except ThresholdUnsupported:
        return False
    return True
