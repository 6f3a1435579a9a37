"""The embedders that are loaded at one moment, with what is known beside them: never changed, only replaced."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Self

from service.face.cross_model import read_pairs
from service.face.embedding.embed import Embedder
from service.face.embedding.normalisation import Normalisation
from service.face.manifest import Manifest
from service.face.registry import ModelFolder
from service.face.score import ThresholdTable

Pairs = Mapping[tuple[str, str], ThresholdTable]


@dataclass(frozen=True, slots=True)
class ModelSet:
    """By digest: manifests of embedders that need not be loaded, their thresholds, and what is added to their scores.

    `pairs` are thresholds for a probe's model and another reference's model.
    """

    embedders: tuple[Embedder, ...]
    known: Mapping[str, Manifest]
    tables: Mapping[str, ThresholdTable]
    normalisations: Mapping[str, Normalisation]
    pairs: Pairs

    @classmethod
    def of(
        cls,
        embedders: Iterable[Embedder],
        known: Iterable[Manifest],
        normalisations: Mapping[str, Normalisation],
        pairs: Pairs,
    ) -> Self:
        """Put a set together; what is loaded is known too."""
        loaded = tuple(embedders)
        manifests = {manifest.sha256: manifest for manifest in (*known, *(each.manifest for each in loaded))}
        own = {each.digest: each.normalisation for each in loaded if each.normalisation is not None}
        tables = {digest: ThresholdTable(each.thresholds, each.tail) for digest, each in manifests.items()}
        return cls(loaded, manifests, tables, {**normalisations, **own}, dict(pairs))

    def with_(self, embedder: Embedder, folders: Iterable[ModelFolder]) -> ModelSet:
        """The set with one more embedder, and with what further folders hold.

        Raises:
            ModelError: a folder cannot be read.
        """
        further = [folder for folder in folders if folder.manifest.sha256 not in self.known]
        known = (*self.known.values(), *(folder.manifest for folder in further))
        embedders = (*(each for each in self.embedders if each.digest != embedder.digest), embedder)
        normalisations = {**self.normalisations, **normalisations_of(further)}
        return ModelSet.of(embedders, known, normalisations, {**self.pairs, **pairs_of(further, known)})

    def without(self, digest: str) -> ModelSet:
        """The set with one embedder fewer; it is still known, as its templates may be enrolled."""
        return replace(self, embedders=tuple(each for each in self.embedders if each.digest != digest))


def pairs_of(folders: Iterable[ModelFolder], known: Iterable[Manifest]) -> Pairs:
    """The pair thresholds of model folders. Raises: ModelInvalid."""
    scores = {manifest.sha256: manifest.computed_score for manifest in known}
    return {
        (folder.manifest.sha256, reference): table
        for folder in folders
        for reference, table in read_pairs(folder.path, scores).items()
    }


def normalisations_of(folders: Iterable[ModelFolder]) -> dict[str, Normalisation]:
    """The normalisations of model folders, by digest. Raises: ModelError."""
    return {
        folder.manifest.sha256: normalisation
        for folder in folders
        if (normalisation := folder.normalisation()) is not None
    }
