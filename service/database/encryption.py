"""Templates and crops encrypted at rest: AES-256-GCM (NIST SP 800-38D), the key outside the store.

Every value carries the id of its key, a random 96-bit nonce and a tag over itself and the place it belongs to, so that
a value can be neither read without the key, nor changed, nor moved to another face.
`service.database.template_seal` binds templates to their person too.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from service.database.errors import KeyMissing, StorageUnavailable
from service.database.key_text import read_keys, split_keys

NONCE_SIZE = 12


@dataclass(frozen=True, slots=True)
class Keyring:
    """The keys known, and the id of the one that seals; None seals nothing."""

    sealing: str | None
    keys: Mapping[str, AESGCM]

    @staticmethod
    def empty() -> Keyring:
        """Make a ring of no keys: values are stored as they are."""
        return Keyring(None, {})

    @staticmethod
    def parse(text: str) -> Keyring:
        """Read keys from `id:base64,id:base64`: 32 bytes each, the first one seals, the others only open.

        The id `none` in the first place (with no key) stores values as they are: the way out of encryption.

        Raises:
            ValueError: The text does not read so. The message does not repeat it.
        """
        entries = split_keys(text)
        plain = entries[:1] == ["none"]
        keys = {name: AESGCM(key) for name, key in read_keys(entries[plain:], "template").items()}
        return Keyring(None if plain or not keys else next(iter(keys)), keys)

    def seal(self, value: bytes, place: bytes) -> tuple[bytes, str | None]:
        """Return the value as it is stored, and the id of the key that sealed it, if any."""
        if self.sealing is None:
            return value, None
        nonce = os.urandom(NONCE_SIZE)
        return nonce + self.keys[self.sealing].encrypt(nonce, value, place), self.sealing

    def open(self, stored: bytes, key_id: str | None, place: bytes) -> bytes:
        """Open a sealed value.

        Raises:
            KeyMissing: Its key is not known.
            StorageUnavailable: It was changed or moved.
        """
        if key_id is None:
            return stored
        if key_id not in self.keys:
            raise KeyMissing(key_id)
        try:
            return self.keys[key_id].decrypt(stored[:NONCE_SIZE], stored[NONCE_SIZE:], place)
        except InvalidTag:
            raise StorageUnavailable(
                f"A value sealed with the key '{key_id}' does not open: another key has its id, or it is damaged."
            ) from None


def legacy_template_place(face_row: int, model_row: int) -> bytes:
    """Return where versions up to 0.1 said that a template belongs."""
    return struct.pack(">8sqq", b"template", face_row, model_row)


def crop_place(face_row: int) -> bytes:
    """Return where a crop belongs."""
    return struct.pack(">8sq", b"crop", face_row)
