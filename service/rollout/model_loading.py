"""Models that come and go while the service runs, in every process that reads the same database.

Whoever is asked loads or unloads at once and writes the wish down; the others read the wishes every few seconds and
follow. A replica whose folder lacks the model says so in its log, and goes on looking.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa

from service.database.base import Database
from service.errors import FacetError
from service.face.align import CROP
from service.face.embedding.embed import Embedder
from service.face.errors import ModelError, ModelNotFound
from service.face.manifest import Manifest
from service.face.registry import ModelFolder, Registry
from service.face.session import Runtime
from service.models import Models
from service.rollout.backfill.jobs import running_jobs
from service.rollout.errors import ModelInUse, ModelRefused
from service.rollout.roles import Roles
from service.rollout.wishes import Wish, last_wishes, write_wish

log = logging.getLogger("facet")

FOLLOW_SECONDS = 2.0


class ModelLoading:
    """Loads and unloads embedders. Safe to call from many threads at once; one change is made after another."""

    def __init__(
        self,
        models: Models,
        registry: Registry,
        roles: Roles,
        database: Database[Any],
        directories: Callable[[], list[Path]],
        runtime: Callable[[Manifest], Runtime],
        forget: Callable[[], None],
    ) -> None:
        """Take the parts.

        Args:
            models: Changed in place.
            registry: Of folders; read again from `directories` when a model is asked for.
            roles: Say which models may not go.
            database: Holds the wishes.
            directories: Folders of models.
            runtime: What a model runs on.
            forget: Called after a change: what was derived from the models before holds no longer.
        """
        self._models, self._registry, self._roles, self._database = models, registry, roles, database
        self._directories, self._runtime, self._forget = directories, runtime, forget
        self._changing = threading.Lock()
        self._complaints: dict[str, str] = {}
        """By digest: why a wish could not be followed, as the log has it."""

    def load(self, principal: str, name: str) -> Manifest:
        """Load a model from its folder, run it once, and let it answer, here now and elsewhere within seconds.

        Raises:
            ModelNotFound: No folder holds it.
            ModelRefused: It does not pass the checks, is no embedder, or what stands beside a new one cannot be read.
            StorageError: The database cannot be used; nothing has changed.
        """
        with self._changing:
            folder = self._find(name)
            manifest = folder.manifest
            embedder = self._models.by_digest(manifest.sha256) or self._open(folder)
            try:
                self._models.check_addition(embedder, self._registry.folders("embedder"))
            except ModelError as error:  # before it is wished: the others would try in vain
                raise ModelRefused(str(error)) from error
            self._database.write(lambda connection: write_wish(connection, principal, manifest, loaded=True))
            self._add(embedder)
        return manifest

    def unload(self, principal: str, name: str) -> Manifest:
        """Let a model answer no further requests, here from now and elsewhere within seconds. Its templates stay.

        Raises:
            ModelNotFound: Not loaded.
            ModelInUse: It has a role, is the settings' default, or gets templates made.
            StorageError: The database cannot be used; nothing has changed.
        """
        with self._changing:
            manifest = self._models.embedder(name).manifest

            def wish(connection: sa.Connection) -> None:
                self._require_unused(connection, manifest)
                write_wish(connection, principal, manifest, loaded=False)

            self._database.write(wish)
            self._remove(manifest.sha256)
        return manifest

    def follow(self) -> None:
        """Do what is wished and not done yet.

        Raises:
            StorageError: The database cannot be used.
        """
        with self._changing:
            for wish in self._database.read(last_wishes):
                is_loaded = self._models.by_digest(wish.model) is not None
                if wish.loaded and not is_loaded:
                    self._follow_loading(wish)
                elif is_loaded and not wish.loaded and not self._is_used(wish.model):
                    self._remove(wish.model)
                    log.info("the model %s is unloaded", wish.name)

    def _follow_loading(self, wish: Wish) -> None:
        try:
            folder = self._find(wish.name)
            if folder.manifest.sha256 != wish.model:
                raise ModelRefused(f"the folder here holds {folder.manifest.sha256[:12]}..., not {wish.model[:12]}...")
            self._add(self._open(folder))
        except FacetError as error:
            if self._complaints.get(wish.model) != str(error):
                self._complaints[wish.model] = str(error)
                log.error("the model %s is to be loaded and cannot be: %s", wish.name, error)
            return
        self._complaints.pop(wish.model, None)
        log.info("the model %s is loaded", wish.name)

    def _find(self, name: str) -> ModelFolder:
        self._registry.refresh(self._directories())
        try:
            return self._registry.find(name)
        except ModelNotFound as error:
            if not self._registry.faults:
                raise
            faults = "; ".join(map(str, self._registry.faults))
            raise ModelRefused(f"{error}; what cannot be read: {faults}") from error

    def _open(self, folder: ModelFolder) -> Embedder:
        """Load a model with the checks of a start, and run it once: the first run is the slow one."""
        if folder.manifest.task != "embedder":
            raise ModelRefused(f"{folder.manifest.identity} is a {folder.manifest.task}: that takes a restart")
        if any(each.manifest.identity == folder.manifest.identity for each in self._models.embedders):
            advice = "unload it first, or give this one a version of its own"
            raise ModelRefused(f"another model is loaded as {folder.manifest.identity}: {advice}")
        try:
            embedder = folder.embedder(self._runtime(folder.manifest))
            embedder.templates(np.full((1, CROP, CROP, 3), 127, np.uint8))
        except ModelError as error:
            raise ModelRefused(str(error)) from error
        return embedder

    def _add(self, embedder: Embedder) -> None:
        self._models.add(embedder, self._registry.folders("embedder"))
        self._forget()

    def _remove(self, digest: str) -> None:
        self._models.remove(digest)
        self._forget()

    def _is_used(self, digest: str) -> bool:
        roles = self._roles.current()
        return digest in (roles.champion, roles.challenger, self._models.default.digest)

    def _require_unused(self, connection: sa.Connection, manifest: Manifest) -> None:
        """Raises: ModelInUse."""
        roles, digest = self._roles.held(connection), manifest.sha256
        uses = {
            "is the champion": digest == roles.champion,
            "is the challenger": digest == roles.challenger,
            "is the default of the settings": digest == self._models.default.digest,
            "gets templates made": any(job.model == digest for job in running_jobs(connection)),
        }
        if present := [use for use, holds in uses.items() if holds]:
            raise ModelInUse(f"{manifest.identity} {' and '.join(present)}: change that first")
