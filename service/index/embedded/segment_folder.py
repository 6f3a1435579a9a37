"""Segments on disk: a cache of what the database holds, checked before it is used and thrown away when in doubt.

A file is a line of magic, a line of JSON, four sections (rows, groups, float16 vectors, faiss' codes) and the SHA-256
of all before it. There is no list of files that could disagree with them: a directory is read; what is damaged, foreign
or superseded is deleted; and what the database has beyond the files is read from the database.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from service.database.encryption import Keyring
from service.database.errors import StorageError
from service.database.schema import new_id
from service.index.base import Rows, among
from service.index.embedded.segment import CHUNK, Segment
from service.index.vectors import are_units

log = logging.getLogger(__name__)
MAGIC = b"facet segment 2\n"
SUFFIX = ".segment"
DIGEST_SIZE = 32
SLICE = 1 << 22
PRIVATE_FILE, PRIVATE_FOLDER = 0o600, 0o700
"""Templates stand in the files, and not every program that writes them has a mask."""
READERS = 2
"""Files read and checked at once; each takes twice its size in memory meanwhile."""


class SegmentRefused(Exception):
    """A file is not a whole segment of this very index; the message says why."""


@dataclass(frozen=True, slots=True)
class SegmentFolder:
    """The segment files of one collection and model."""

    directory: Path
    store: str
    """Identity of the database they were derived from."""
    digest: str
    """Digest of the model."""
    dim: int
    keyring: Keyring
    """Seals the sections of new files, and opens those of old ones."""

    def write(self, segment: Segment) -> Path | None:
        """Keep a segment under a new name, durably, or not at all (then None: the next start reads the database)."""
        file = self.directory / f"{new_id()}{SUFFIX}"
        part = file.with_suffix(".part")
        try:
            self.directory.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
            sections = [
                np.ascontiguousarray(array).view(np.uint8).data
                for array in (
                    segment.rows,
                    segment.groups,
                    segment.vectors.ravel(),
                    faiss.serialize_index(segment.codes),
                )
            ]
            sizes = [len(section) for section in sections]
            head: dict[str, Any] = {"store": self.store, "model": self.digest, "dim": self.dim, "sections": sizes}
            if self.keyring.sealing is not None:
                sealed, head["key"] = self.keyring.seal(b"".join(sections), self._place(sizes))
                sections = [memoryview(sealed)]
            pieces: tuple[bytes | memoryview, ...] = (MAGIC, json.dumps(head).encode() + b"\n", *sections)
            checksum = hashlib.sha256()
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE), "wb") as out:
                for piece in pieces:
                    for start in range(0, len(piece), SLICE):
                        checksum.update(piece[start : start + SLICE])
                        out.write(piece[start : start + SLICE])
                out.write(checksum.digest())
                out.flush()
                os.fsync(out.fileno())
            part.rename(file)
            _sync(self.directory)
        except OSError as error:
            log.warning("a segment could not be kept (%s): the next start takes longer", error)
            part.unlink(missing_ok=True)
            return None
        return file

    def _place(self, sections: list[int]) -> bytes:
        return json.dumps(["segment", self.store, self.digest, self.dim, sections]).encode()

    def remove(self, file: Path) -> None:
        """Delete a file that was superseded."""
        try:
            file.unlink(missing_ok=True)
        except OSError as error:
            log.warning("a superseded segment could not be deleted (%s)", error)

    def read(self, file: Path) -> Segment:
        """Read a segment as it was written, all alive.

        Raises:
            SegmentRefused: Damaged, or of another store or model.
        """
        try:
            data = np.fromfile(file, np.uint8)
        except OSError as error:
            raise SegmentRefused(f"unreadable ({error.strerror})") from error
        body, checksum = data[:-DIGEST_SIZE], data[-DIGEST_SIZE:].tobytes()
        if bytes(body[: len(MAGIC)]) != MAGIC:
            raise SegmentRefused("not a segment of this version")
        if hashlib.sha256(body.data).digest() != checksum:
            raise SegmentRefused("damaged or cut short")
        line = len(MAGIC) + int(np.argmax(body[len(MAGIC) :] == ord("\n")))
        head = json.loads(bytes(body[len(MAGIC) : line]))
        if (head["store"], head["model"], head["dim"]) != (self.store, self.digest, self.dim):
            raise SegmentRefused("derived from another database")
        if head.get("key") is not None:
            try:
                opened = self.keyring.open(body[line + 1 :].tobytes(), head["key"], self._place(head["sections"]))
            except StorageError as error:
                raise SegmentRefused(str(error)) from error
            body, line = np.frombuffer(opened, np.uint8), -1
        elif self.keyring.sealing is not None:
            raise SegmentRefused("not sealed, and the gallery is")
        ends = line + 1 + np.cumsum(head["sections"])
        rows, groups, vectors = (
            np.frombuffer(body[end - size : end].tobytes(), kind)
            for end, size, kind in zip(ends, head["sections"], (np.int64, np.int64, np.float16), strict=False)
        )
        matrix = vectors.reshape(len(rows), self.dim)
        if not all(are_units(matrix[at : at + CHUNK].astype(np.float32)).all() for at in range(0, len(rows), CHUNK)):
            raise SegmentRefused("a vector is not of unit length")
        codes: Any = faiss.deserialize_index(body[ends[2] : ends[3]])
        return Segment(codes, matrix, rows, groups, np.ones(len(rows), bool), file)

    def load(self, living: Rows, last_given: int) -> tuple[list[Segment], list[str]]:
        """Read the segments that agree with the database, flags set by it; returns also why others were deleted.

        Args:
            living: Rows of the database, ascending.
            last_given: The highest row that the database ever gave. A file that knows a higher one comes from a future
                that a restored backup has undone.
        """
        read: list[Segment] = []
        refused: list[str] = []
        files = self._files()
        with ThreadPoolExecutor(READERS) as pool:
            waiting = [pool.submit(self.read, file) for file in files]
        for file, future in zip(files, waiting, strict=True):
            try:
                segment = future.result()
                if len(segment.rows) and segment.rows[-1] > last_given:
                    raise SegmentRefused("newer than the database")
            except SegmentRefused as reason:
                log.warning("segment %s refused: %s; its templates are read from the database", file.name, reason)
                refused.append(f"{file.name}: {reason}")
                self.remove(file)
            else:
                segment.alive[:] = among(segment.rows, living)
                read.append(segment)
        return self._chosen(read), refused

    def _chosen(self, read: Iterable[Segment]) -> list[Segment]:
        """Without those that a larger one has superseded: a crash may leave both a new file and those it replaces."""
        chosen: list[Segment] = []
        covered = np.empty(0, np.int64)
        for segment in sorted(read, key=lambda segment: -int(np.count_nonzero(segment.alive))):
            living = segment.rows[segment.alive]
            if len(living) == 0 or np.isin(living, covered, assume_unique=True).any():
                if segment.file is not None:
                    self.remove(segment.file)
            else:
                chosen.append(segment)
                covered = np.concatenate([covered, living])
        return sorted(chosen, key=lambda segment: int(segment.rows[0]))

    def _files(self) -> list[Path]:
        if not self.directory.is_dir():
            return []
        for part in self.directory.glob("*.part"):
            self.remove(part)
        return sorted(self.directory.glob(f"*{SUFFIX}"))

    def clear(self) -> bool:
        """Delete all files; returns whether none is left."""
        shutil.rmtree(self.directory, ignore_errors=True)
        return not self.directory.exists()


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
