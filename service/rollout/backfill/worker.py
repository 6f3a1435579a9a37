"""The thread that makes templates from kept crops: one face after another, at the rate of the job, after the requests.

Jobs stand in the database, so every process that reads it can take one up. It claims the job for a few seconds at a
time: the others leave it alone meanwhile, and go on with it when its holder was killed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial

import numpy as np
from numpy.typing import NDArray

from service.database.base import Database
from service.database.encryption import Keyring
from service.database.errors import KeyMissing, StorageUnavailable
from service.database.schema import new_id, now
from service.errors import FacetError
from service.face.align import CROP
from service.face.decoding.image import ImageLimits, decode
from service.face.embedding.embed import Embedder
from service.face.errors import ImageCorrupt, ImageError, InferenceFailed
from service.gallery.changes import template_update
from service.gallery.changes.template_update import KeptCrop
from service.gallery.errors import CollectionNotFound
from service.index.base import Vector
from service.index.changes import IndexChange
from service.models import Models
from service.rollout.backfill.jobs import DONE, Job, advance_job, claim_job, end_job, release_jobs, running_jobs
from service.rollout.backfill.metrics import BackfillMetrics
from service.runtime.thread_priority import give_way, wait_while

log = logging.getLogger("facet")

MOST = 32
"""Faces in one transaction at most: what a kill can lose."""
PARTS = 4
"""Transactions a second at least, where the rate allows several faces a second."""
LOOK_AGAIN_SECONDS = 1.0
CALM_SECONDS = 5.0
LEASE = timedelta(seconds=10)
"""How long a claim holds: no transaction of the worker takes so long, and nobody waits long for a holder that died."""


class Reembedder:
    """Works on the jobs of one database. `busy` says whether every worker has a request. A claim holds for `lease`."""

    def __init__(
        self,
        models: Models,
        database: Database[IndexChange],
        keyring: Keyring,
        metrics: BackfillMetrics,
        busy: Callable[[], bool],
        lease: timedelta = LEASE,
    ) -> None:
        """Start the thread."""
        self._models, self._database, self._keyring = models, database, keyring
        self._metrics, self._busy = metrics, busy
        self._lease, self._name = lease, new_id()
        self._due: dict[str, float] = {}
        """When each job may go on."""
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="facet-reembedding", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Look for jobs now rather than within a second."""
        self._wake.set()

    def close(self) -> None:
        """Stop after the face at hand; what is embedded and not yet written is made again."""
        self._stopping.set()
        self._wake.set()
        self._thread.join()

    def _run(self) -> None:
        give_way()
        while not self._stopping.is_set():
            try:
                self._wake.wait(self._advance())
                self._wake.clear()
            except FacetError as error:
                log.warning("making templates pauses: %s", error)
                self._stopping.wait(CALM_SECONDS)
            except Exception:
                log.exception("making templates failed")
                self._stopping.wait(CALM_SECONDS)
        if self._due:
            with suppress(FacetError):  # then the claims run out by themselves
                self._database.write(lambda connection: release_jobs(connection, self._name))

    def _advance(self) -> float:
        """Advance every job that its rate allows to; returns the seconds until there may be more to do."""
        jobs = self._database.read(running_jobs)
        self._due = {job.id: self._due.get(job.id, 0.0) for job in jobs}
        for candidate in jobs:
            embedder = self._models.by_digest(candidate.model)
            if embedder is None or self._stopping.is_set():
                continue
            job = self._claim(candidate)
            if job is None:  # another's, and as new when it comes back
                self._due[candidate.id] = 0.0
            elif time.monotonic() >= self._due[job.id]:
                begun = time.monotonic()
                self._due[job.id] = begun + self._do_some(job, embedder) / job.rate
        return max(0.0, min([LOOK_AGAIN_SECONDS, *(due - time.monotonic() for due in self._due.values() if due)]))

    def _claim(self, job: Job) -> Job | None:
        """The job as it stands, if it is this process's to work on; claimed again when half of the time is over."""
        if job.holder == self._name and job.held_until and job.held_until > now() + self._lease / 2:
            return job
        claimed = self._database.write(lambda connection: claim_job(connection, job.id, self._name, self._lease))
        if claimed is not None and job.holder not in (None, self._name):
            log.info("job %s goes on here: its holder has not been heard of for %s", job.id, self._lease)
        return claimed

    def _do_some(self, job: Job, embedder: Embedder) -> int:
        """Make some templates, or end the job where there are none left to make. Returns the faces looked at."""
        count = max(1, min(MOST, int(job.rate / PARTS)))
        try:
            kept = self._database.read(
                lambda connection: template_update.crops_without(
                    connection, job.model, job.collection, job.reached, count
                )
            )
        except CollectionNotFound:  # erased meanwhile
            kept = []
        if not kept:
            ended = self._database.write(lambda connection: end_job(connection, job.id, DONE))
            log.info("job %s is done: %d templates made, %d crops unusable", job.id, ended.made, ended.failed)
            return 0
        new_templates, looked_at = self._embed(embedder, kept)
        if looked_at:
            reached, failed = kept[looked_at - 1].face_row, looked_at - len(new_templates)
            advance = partial(
                advance_job,
                keyring=self._keyring,
                job=job,
                new_templates=new_templates,
                reached=reached,
                failed=failed,
                lease=self._lease,
            )
            if (advanced := self._database.change_alone(advance)) is not None:
                self._metrics.count_templates(embedder.manifest.identity, "crop", advanced.made - job.made)
        return looked_at

    def _embed(self, embedder: Embedder, kept: Sequence[KeptCrop]) -> tuple[dict[int, Vector], int]:
        """Templates by the rows of their faces, and how many crops were looked at before the end was asked for."""
        new_templates: dict[int, Vector] = {}
        for number, crop in enumerate(kept):
            wait_while(self._busy, self._stopping)
            if self._stopping.is_set():
                return new_templates, number
            try:
                # One at a time: in a batch of another size the last bits could round otherwise.
                new_templates[crop.face_row] = embedder.embed(self._open(crop)[None])[0]
            except (ImageError, InferenceFailed, StorageUnavailable, KeyMissing) as error:
                log.warning("the crop of face row %d cannot be used: %s", crop.face_row, error)
        return new_templates, len(kept)

    def _open(self, crop: KeptCrop) -> NDArray[np.uint8]:
        """RGB (128, 128, 3).

        Raises:
            ImageError: The crop cannot be decoded.
            StorageUnavailable: The database cannot be opened or is damaged.
            KeyMissing: The key of a value is not known.
        """
        picture = self._keyring.open(crop.data, crop.key_id, crop.place)
        pixels = decode(picture, ImageLimits()).pixels
        if pixels.shape != (CROP, CROP, 3):
            raise ImageCorrupt(f"a crop of shape {pixels.shape}")
        return pixels
