"""Keys: who may ask for what.

A key reads `facet_<id>_<secret>`. The id finds the row; of the 192-bit secret only an Argon2id hash is kept.
Hashing every request would cost more than the face work, so a key that has once been verified is remembered by a
digest under a key of this process. Each request still reads the row: a revoked or expired key ends at once.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from argon2 import PasswordHasher
from argon2.exceptions import VerificationError
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter
from sqlalchemy import Connection, Engine, Row, bindparam, func, insert, select, update

from service.database.schema import keys as table
from service.database.transaction import serialise, storage_errors
from service.errors import FacetError

SHAPE = re.compile(r"facet_([0-9a-f]{10})_([0-9a-f]{48})")
MASK = re.compile(r"(facet_[0-9a-f]{10})_[0-9a-f]+")
GUESSES = RateLimitItemPerMinute(10)


class KeyInvalid(FacetError):
    """The key is malformed, unknown, revoked or expired, or its secret is wrong; which of these is not told."""

    code = "key_invalid"


class KeyNotFound(FacetError):
    """No live key has this id."""

    code = "key_not_found"


class TooManyGuesses(FacetError):
    """Too many wrong secrets for one key id; `retry_after` is in whole seconds."""

    code = "too_many_guesses"
    retry_after = 60


class Scope(StrEnum):
    """What a key may do. `admin` includes all others."""

    ENROL = "enrol"
    VERIFY = "verify"
    IDENTIFY = "identify"
    READ = "read"
    DELETE = "delete"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Key:
    """A key without its secret. `collections` None means every collection."""

    id: str
    name: str
    scopes: frozenset[Scope]
    collections: frozenset[str] | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None

    def may(self, scope: Scope) -> bool:
        """Whether the key holds `scope`."""
        return scope in self.scopes or Scope.ADMIN in self.scopes

    def reaches(self, collection: str) -> bool:
        """Whether the key may touch `collection`."""
        return self.collections is None or collection in self.collections


@dataclass(frozen=True, slots=True)
class _Shown:
    """A live key as a caller shows it: the secret given, the Argon2id hash kept, and the digest to remember it by."""

    key: Key
    secret: str
    hash: str
    digest: bytes


class Keys:
    """The keys of one store. Thread-safe; other processes may change the same store at any time."""

    def __init__(self, engine: Engine, now: Callable[[], datetime] | None = None) -> None:
        """Read and write the keys behind `engine`; `now` is the clock."""
        self._engine = engine
        self._writing = engine.execution_options(immediate=True)
        self._finding = engine.execution_options(single=True)
        self._now = now or (lambda: datetime.now(UTC))
        # The secret is random, so the hash only has to make a stolen file useless: OWASP's lightest Argon2id.
        self._hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
        self._hashing = threading.Lock()  # one hash at a time bounds the CPU and memory that guessing can take
        self._guesses = FixedWindowRateLimiter(MemoryStorage())
        self._pepper = secrets.token_bytes(32)
        self._verified: dict[str, tuple[bytes, str]] = {}
        self._find = select(table).where(table.c.id == bindparam("key_id"))
        self.quick = engine.dialect.name == "sqlite"
        """Whether the database is a local file, where reading a key takes less than handing it to another thread."""

    def create(
        self,
        name: str,
        scopes: Sequence[Scope],
        collections: Sequence[str] | None = None,
        lifetime: timedelta | None = None,
    ) -> tuple[Key, str]:
        """Make a key; returns it and the only copy of its text."""
        with storage_errors(), self._writing.begin() as connection:
            return self._insert(connection, name, scopes, collections, lifetime)

    def create_first(self) -> str | None:
        """Make the first admin key and return its text, or None when the store has ever had a key."""
        with storage_errors(), self._writing.begin() as connection:
            serialise(connection, "first key")  # processes that start together make one
            if connection.scalar(select(func.count()).select_from(table)):
                return None
            return self._insert(connection, "first admin", [Scope.ADMIN], None, None)[1]

    def list(self) -> list[Key]:
        """All keys, revoked ones too, oldest first."""
        with storage_errors(), self._engine.connect() as connection:
            return [_key(row) for row in connection.execute(select(table).order_by(table.c.created_at, table.c.id))]

    def revoke(self, key_id: str) -> None:
        """End a key, at once and for good.

        Raises:
            KeyNotFound: No live key has that id.
        """
        live = update(table).where(table.c.id == key_id, table.c.revoked_at.is_(None))
        with storage_errors(), self._writing.begin() as connection:
            if connection.execute(live.values(revoked_at=self._now())).rowcount == 0:
                raise KeyNotFound(f"no live key {key_id!r}; see `facet keys list`")

    def verify(self, text: str) -> Key:
        """Find the key that `text` is.

        An unknown id costs one indexed read and no hash; wrong secrets for a known id are limited per minute.

        Raises:
            KeyInvalid: The key is malformed, unknown, revoked or expired, or its secret is wrong.
            TooManyGuesses: Too many wrong secrets came within a minute.
            StorageError: The database cannot be used.
        """
        shown = self._look_up(text)
        if not self._is_remembered(shown):
            self._check_secret(shown)
            self._verified[shown.key.id] = (shown.digest, shown.hash)
        return shown.key

    def recall(self, text: str) -> Key | None:
        """The key that `text` is, when it was verified before and costs no hash now; else None.

        Raises:
            KeyInvalid: The key is malformed, unknown, revoked or expired, or its secret is wrong.
            StorageError: The database cannot be used.
        """
        shown = self._look_up(text)
        return shown.key if self._is_remembered(shown) else None

    def _look_up(self, text: str) -> _Shown:
        shape = SHAPE.fullmatch(text)
        if shape is None:
            raise KeyInvalid("this is not a key of this service: keys read facet_<id>_<secret>")
        key_id, secret = shape.groups()
        with storage_errors(), self._finding.connect() as connection:
            row = connection.execute(self._find, {"key_id": key_id}).one_or_none()
        if row is None:
            raise KeyInvalid("the key is unknown or no longer valid")
        key = _key(row)
        if key.revoked_at is not None or (key.expires_at is not None and key.expires_at <= self._now()):
            self._verified.pop(key_id, None)
            raise KeyInvalid("the key is unknown or no longer valid")
        return _Shown(key, secret, row.hash, hmac.digest(self._pepper, secret.encode(), hashlib.sha256))

    def _is_remembered(self, shown: _Shown) -> bool:
        digest, hashed = self._verified.get(shown.key.id, (b"", ""))
        return hmac.compare_digest(digest, shown.digest) and hashed == shown.hash

    def _check_secret(self, shown: _Shown) -> None:
        if not self._guesses.test(GUESSES, shown.key.id):
            raise TooManyGuesses("too many wrong secrets for this key; wait a minute")
        try:
            with self._hashing:
                self._hasher.verify(shown.hash, shown.secret)
        except VerificationError as error:
            self._guesses.hit(GUESSES, shown.key.id)
            raise KeyInvalid("the key is unknown or no longer valid") from error

    def _insert(
        self,
        connection: Connection,
        name: str,
        scopes: Sequence[Scope],
        collections: Sequence[str] | None,
        lifetime: timedelta | None,
    ) -> tuple[Key, str]:
        key_id, secret, now = secrets.token_hex(5), secrets.token_hex(24), self._now()
        key = Key(
            id=key_id,
            name=name,
            scopes=frozenset(scopes),
            collections=None if collections is None else frozenset(collections),
            created_at=now,
            expires_at=None if lifetime is None else now + lifetime,
            revoked_at=None,
        )
        connection.execute(
            insert(table).values(
                id=key_id,
                name=name,
                hash=self._hasher.hash(secret),
                scopes=sorted(key.scopes),
                collections=None if collections is None else sorted(set(collections)),
                created_at=key.created_at,
                expires_at=key.expires_at,
                revoked_at=None,
            )
        )
        return key, f"facet_{key_id}_{secret}"


def mask(text: str) -> str:
    """`text` with the secret of every key in it replaced, for logs and messages."""
    return MASK.sub(r"\1_***", text)


def _key(row: Row[tuple[object, ...]]) -> Key:
    return Key(
        id=row.id,
        name=row.name,
        scopes=frozenset(Scope(word) for word in row.scopes),
        collections=None if row.collections is None else frozenset(row.collections),
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
    )
