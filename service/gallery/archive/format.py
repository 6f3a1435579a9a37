"""A gallery as one file: a line of magic, then blocks, each chained to the one before it by SHA-256.

A block is the length of its payload (8 bytes, big-endian), the SHA-256 of the digest before it and the payload, and the
payload: zlib-compressed JSON with a `kind`, in one line, and in a second line its signature where there is one
(`service.gallery.archive.signature`). The first block is the head, the last one the end with counts. A block cannot be
changed, dropped, moved or cut off unnoticed, and a file that was left half-written can be continued after its last
whole block.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from service.gallery.archive.blocks import read_block
from service.gallery.archive.signature import SigningKeys, signer_of
from service.gallery.errors import ArchiveInvalid

MAGIC = b"facet archive 1\n"
FAMILY = b"facet archive "
DIGEST_SIZE = 32
LENGTH_SIZE = 8
PRIVATE = 0o600
"""Mode of a new archive: templates stand in it in the clear."""
LARGEST = 1 << 30
EXPANDED = 1 << 20
RATIO = 20
"""A payload may expand to so many bytes, and to so many times its own size: templates hardly compress."""
Block = dict[str, Any]
NO_KEYS = SigningKeys.none()


def read_blocks(path: Path, keys: SigningKeys = NO_KEYS) -> Iterator[Block]:
    """Yield all blocks of a whole archive, the head first and the end last.

    Raises:
        ArchiveInvalid: Another version, damaged, cut short, or not signed with one of the keys where there are any.
    """
    with _opened(path) as file:
        complete = False
        first = True
        for block, _, _ in _blocks(file, keys):
            if first != (block["kind"] == "head"):
                raise ArchiveInvalid(f"Archive {path.name} does not begin with its head: it is damaged.")
            first = False
            if complete:
                raise ArchiveInvalid(f"Archive {path.name} goes on after its end: it is damaged.")
            complete = block["kind"] == "end"
            yield block
        if not complete or file.read(1):
            raise ArchiveInvalid(f"Archive {path.name} is damaged or cut short: export it again, or copy it again.")


def signer(path: Path) -> str | None:
    """Return the id of the key that an archive says it is signed with, unchecked; None where it is not signed.

    Raises:
        ArchiveInvalid: It cannot be read.
    """
    with _opened(path) as file:
        length = int.from_bytes(file.read(LENGTH_SIZE + DIGEST_SIZE)[:LENGTH_SIZE], "big")
        head = _expand(file.read(min(length, LARGEST)), path.name)
    return signer_of(head.partition(b"\n")[2])


class ArchiveWriter:
    """Writes a new archive, or continues one that was interrupted; nothing bears the final name before it is whole."""

    def __init__(self, path: Path, keys: SigningKeys = NO_KEYS) -> None:
        """Open `path` with `.part` added; `blocks` are those that an interrupted run has left.

        Raises:
            ArchiveInvalid: What it has left is not signed with one of the keys, where there are any.
        """
        self._path, self._keys = path, keys
        self._part = path.with_name(f"{path.name}.part")
        self.blocks: list[Block] = []
        self._digest = bytes(DIGEST_SIZE)
        end = len(MAGIC)
        if self._part.exists():
            with _opened(self._part) as file:
                for block, digest, at in _blocks(file, keys):
                    # Only what tells where to go on: the subjects of a million people are not kept here.
                    self.blocks.append({key: value for key, value in block.items() if key != "subjects"})
                    self._digest, end = digest, at
            self._file: BinaryIO = self._part.open("r+b")
            self._file.truncate(end)
            self._file.seek(end)
        else:
            descriptor = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE)
            self._file = os.fdopen(descriptor, "wb")
            self._file.write(MAGIC)

    def write(self, block: Block) -> None:
        """Append one block."""
        text = json.dumps(block, separators=(",", ":"), ensure_ascii=False).encode()
        if signature := self._keys.sign(self._digest, text):
            text += b"\n" + signature
        payload = zlib.compress(text, 1)
        if len(text) > _most_of(payload):
            payload = zlib.compress(text, 0)  # metadata may repeat itself as nothing else does
        self._digest = hashlib.sha256(self._digest + payload).digest()
        self._file.write(len(payload).to_bytes(LENGTH_SIZE, "big") + self._digest + payload)

    def finish(self) -> None:
        """Make the file durable and give it its name."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._part.rename(self._path)

    def __enter__(self) -> Self:
        """Write on in the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file; unless it was finished, it stays a part to go on with."""
        self._file.close()


def _opened(path: Path) -> BinaryIO:
    try:
        file = path.open("rb")
    except OSError as error:
        raise ArchiveInvalid(f"Archive {path.name} cannot be read ({error.strerror}).") from error
    magic = file.read(len(MAGIC))
    if magic != MAGIC:
        file.close()
        known = "another version of Facet" if magic.startswith(FAMILY) else "something else than Facet"
        raise ArchiveInvalid(f"{path.name} was written by {known}: this version reads '{MAGIC.decode().strip()}'.")
    return file


def _blocks(file: BinaryIO, keys: SigningKeys) -> Iterator[tuple[Block, bytes, int]]:
    """Whole, undamaged blocks from the start, each with the digest and the position after it; stops before the rest."""
    before = bytes(DIGEST_SIZE)
    while True:
        at = file.tell()
        head = file.read(LENGTH_SIZE + DIGEST_SIZE)
        length = int.from_bytes(head[:LENGTH_SIZE], "big")
        payload = file.read(length) if len(head) == LENGTH_SIZE + DIGEST_SIZE and length <= LARGEST else b""
        digest = hashlib.sha256(before + payload).digest()
        if len(payload) != length or not payload or digest != head[LENGTH_SIZE:]:
            file.seek(at)
            return
        source = Path(file.name).name
        text, _, signature = _expand(payload, source).partition(b"\n")
        keys.check(signature, before, text, source)
        before = digest
        yield read_block(text, source), digest, file.tell()


def _expand(payload: bytes, source: str) -> bytes:
    """Raises: ArchiveInvalid when a payload is no zlib stream, or expands beyond what an export writes."""
    stream = zlib.decompressobj()
    try:
        text = stream.decompress(payload, _most_of(payload))
    except zlib.error:
        raise ArchiveInvalid(f"Archive {source} holds a block that is not compressed as it should be.") from None
    if not stream.eof or stream.unused_data:
        raise ArchiveInvalid(f"Archive {source} holds a block that expands beyond measure, or is cut short.")
    return text


def _most_of(payload: bytes) -> int:
    """Bytes that a payload may expand to."""
    return EXPANDED + RATIO * len(payload)
