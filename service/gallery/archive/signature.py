"""Who wrote an archive: every block signed with a key that only the operator holds.

A signature is HMAC-SHA-256 (RFC 2104) over the digest of all that comes before the block and over its text. So a block
cannot be changed, nor taken from another archive, by anybody without the key, however well he chains the rest again.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass

from service.database.key_text import read_keys, split_keys
from service.gallery.errors import ArchiveInvalid

PURPOSE = b"facet archive block\n"
LINE = re.compile(rb"([A-Za-z0-9._-]{1,64}):([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class SigningKeys:
    """Keys by their ids: the first signs, all are accepted; without any, archives are neither signed nor refused."""

    keys: Mapping[str, bytes]

    @staticmethod
    def none() -> SigningKeys:
        """Make no keys."""
        return SigningKeys({})

    @staticmethod
    def parse(text: str) -> SigningKeys:
        """Read keys from `id:base64,id:base64`, of 32 bytes each.

        Raises:
            ValueError: The text does not read so. The message does not repeat it.
        """
        return SigningKeys(read_keys(split_keys(text), "archive"))

    def sign(self, before: bytes, text: bytes) -> bytes:
        """Return the line that signs a block after what has the digest `before`; empty without a key."""
        if not self.keys:
            return b""
        name, key = next(iter(self.keys.items()))
        return f"{name}:{_hmac(key, before, text)}".encode()

    def check(self, line: bytes, before: bytes, text: bytes, source: str) -> None:
        """Check the line that signs a block; without a key any signature passes, and none.

        Raises:
            ArchiveInvalid: The block is not signed with one of the keys.
        """
        signed = LINE.fullmatch(line)
        if line and signed is None:
            raise ArchiveInvalid(f"Archive {source} holds a block with more than its JSON and its signature.")
        if not self.keys:
            return
        if signed is None:
            raise ArchiveInvalid(
                f"Archive {source} is not signed, and with FACET_ARCHIVE_KEYS only signed ones are taken: "
                "who changed it cannot be known. Export it again with the key."
            )
        name, signature = signed.group(1).decode(), signed.group(2).decode()
        if name not in self.keys:
            raise ArchiveInvalid(f"Archive {source} is signed with the key '{name}', which FACET_ARCHIVE_KEYS lacks.")
        if not hmac.compare_digest(_hmac(self.keys[name], before, text), signature):
            raise ArchiveInvalid(f"Archive {source} was changed by somebody without the key '{name}', or is damaged.")


def signer_of(line: bytes) -> str | None:
    """Return the id of the key that a line names; None where nothing is signed."""
    signed = LINE.fullmatch(line)
    return None if signed is None else signed.group(1).decode()


def _hmac(key: bytes, before: bytes, text: bytes) -> str:
    return hmac.digest(key, PURPOSE + before + text, "sha256").hex()
