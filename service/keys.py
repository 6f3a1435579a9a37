"""Keys: who may ask for what.

A key reads `facet_<id>_<secret>`. The id finds the row; of the 192-bit secret only an Argon2id hash is kept.
Hashing every request would cost more than the face work, so a key that has once been verified is remembered by a
digest under a key of this process. Each request still reads the row: a revoked or expired key ends at once.

The id is made of the secret, 40 bits of its digest. So a secret that does not belong to an id is known for wrong
before anything is hashed: who knows an id and guesses takes neither time from others nor the key from its holder.
Older keys have ids that say nothing; for them, wrong secrets are counted by id and address.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from argon2 import PasswordHasher, extract_parameters
from argon2.exceptions import VerificationError
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter
from sqlalchemy import Connection, Engine, Row, bindparam, func, insert, select, update
from sqlalchemy.pool import QueuePool

from service.database.schema import keys as table
from service.database.transaction import serialise, storage_errors
from service.errors import FacetError

SHAPE = re.compile(r"facet_([0-9a-f]{10})_([0-9a-f]{48})")
MASK = re.compile(r"(facet_[0-9a-f]{10})_[0-9a-f]+")
UNKNOWN = "the key is unknown or no longer valid"
GUESSES = RateLimitItemPerMinute(10)
GUESSES_AT_ONCE = 2
SPARE_CONNECTIONS = 4
"""Left free for others where a key is read at once: who takes the last one meanwhile must not be waited for."""
SALT_BYTES = 24
"""Of the hash of a key whose id is made of its secret; the hashes of older keys have salts of 16 bytes."""


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
    """A live key as a caller shows it.

    With the secret given, the Argon2id hash kept, the digest to remember it by, and the caller's address.
    """

    key: Key
    secret: str
    hash: str
    digest: bytes
    address: str

    @property
    def fits(self) -> bool:
        """Whether the id is made of the secret given, so that it is the right one."""
        return hmac.compare_digest(self.key.id, id_of(self.secret))

    @property
    def is_older(self) -> bool:
        """Whether the id is not made of any secret."""
        return extract_parameters(self.hash).salt_len != SALT_BYTES


@dataclass(frozen=True, slots=True)
class _Verified:
    """A key whose secret was shown and found right: the digest to know it by, and its hash.

    With the row as the driver gave it: as long as the database holds the same, the key is the same.
    """

    digest: bytes
    hash: str
    key: Key
    row: tuple[object, ...] | None = None


class Keys:
    """The keys of one store. Thread-safe; other processes may change the same store at any time."""

    def __init__(self, engine: Engine, now: Callable[[], datetime] | None = None) -> None:
        """Read and write the keys behind `engine`; `now` is the clock."""
        self._engine = engine
        self._writing = engine.execution_options(immediate=True)
        self._finding = engine.execution_options(single=True)
        self._now = now or (lambda: datetime.now(UTC))
        # The secret is random, so the hash only has to make a stolen file useless: OWASP's lightest Argon2id.
        self._hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1, salt_len=SALT_BYTES)
        self._hashing = threading.Lock()  # one hash at a time bounds the CPU and memory that new keys can take
        self._guessing = threading.BoundedSemaphore(GUESSES_AT_ONCE)
        self._guesses = FixedWindowRateLimiter(MemoryStorage())
        self._pepper = secrets.token_bytes(32)
        self._verified: dict[str, _Verified] = {}
        self._find = select(table).where(table.c.id == bindparam("key_id"))
        self._find_text = str(self._find.compile(dialect=engine.dialect))
        self._is_local = engine.dialect.name == "sqlite"

    @property
    def quick(self) -> bool:
        """Whether reading a key takes less than handing it to another thread.

        So it does where the database is a local file, and connections are free: nobody has to wait for one.
        """
        pool = self._engine.pool
        if not self._is_local or not isinstance(pool, QueuePool):
            return False
        return pool.checkedout() + SPARE_CONNECTIONS <= pool.size() + max(0, pool._max_overflow)

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

    def verify(self, text: str, address: str = "") -> Key:
        """Find the key that `text` is, which somebody at `address` shows.

        An unknown id and a wrong secret cost one indexed read and no hash. Wrong secrets are limited per minute, for
        each id and address; the right one always passes.

        Raises:
            KeyInvalid: The key is malformed, unknown, revoked or expired, or its secret is wrong.
            TooManyGuesses: Too many wrong secrets came within a minute.
            StorageError: The database cannot be used.
        """
        shown = self._look_up(text, address)
        if not self._is_remembered(shown):
            self._check_secret(shown)
        return shown.key

    def recall(self, text: str) -> Key | None:
        """The key that `text` is, when it was verified before and costs no hash now; else None.

        Raises:
            KeyInvalid: The key is malformed, unknown, revoked or expired, or its secret is wrong.
            StorageError: The database cannot be used.
        """
        row = None
        if self._is_local and (shape := SHAPE.fullmatch(text)) is not None:
            row = self._read_row(shape.group(1))
            if (key := self._known(shape.group(1), shape.group(2), row)) is not None:
                return key
        shown = self._look_up(text)
        if not self._is_remembered(shown):
            return None
        self._verified[shown.key.id] = _Verified(shown.digest, shown.hash, shown.key, row)
        return shown.key

    def _known(self, key_id: str, secret: str, row: tuple[object, ...] | None) -> Key | None:
        """The live key with this id and secret, if it was verified and its row is still the same."""
        verified = self._verified.get(key_id)
        if verified is None or row is None or verified.row != row or not self._is_live(verified.key):
            return None
        return verified.key if hmac.compare_digest(verified.digest, self._digest_of(secret)) else None

    def _is_live(self, key: Key) -> bool:
        return key.revoked_at is None and (key.expires_at is None or key.expires_at > self._now())

    def _read_row(self, key_id: str) -> tuple[object, ...] | None:
        """The row of a key as the driver gives it: a tenth of the work of a statement, and done for each request."""
        with storage_errors(), closing(self._engine.raw_connection()) as connection:
            rows: list[tuple[object, ...]] = connection.cursor().execute(self._find_text, (key_id,)).fetchall()
        return rows[0] if rows else None

    def _look_up(self, text: str, address: str = "") -> _Shown:
        shape = SHAPE.fullmatch(text)
        if shape is None:
            raise KeyInvalid("this is not a key of this service: keys read facet_<id>_<secret>")
        key_id, secret = shape.groups()
        with storage_errors(), self._finding.connect() as connection:
            row = connection.execute(self._find, {"key_id": key_id}).one_or_none()
        if row is None:
            raise KeyInvalid(UNKNOWN)
        key = _key(row)
        if not self._is_live(key):
            self._verified.pop(key_id, None)
            raise KeyInvalid(UNKNOWN)
        return _Shown(key, secret, row.hash, self._digest_of(secret), address)

    def _digest_of(self, secret: str) -> bytes:
        return hmac.digest(self._pepper, secret.encode(), "sha256")

    def _is_remembered(self, shown: _Shown) -> bool:
        verified = self._verified.get(shown.key.id)
        if verified is None or verified.hash != shown.hash:
            return False
        return hmac.compare_digest(verified.digest, shown.digest)

    def _remember(self, shown: _Shown) -> None:
        self._verified[shown.key.id] = _Verified(shown.digest, shown.hash, shown.key)

    def _check_secret(self, shown: _Shown) -> None:
        if shown.fits:
            with self._hashing:
                if not self._is_remembered(shown):  # by who came at the same moment
                    self._check_hash(shown)
                    self._remember(shown)
            return
        # Counted before it is checked: guesses at one moment would otherwise all be within the limit.
        if not self._guesses.hit(GUESSES, shown.key.id, shown.address):
            raise TooManyGuesses("too many wrong secrets for this key; wait a minute")
        if not shown.is_older:
            raise KeyInvalid(UNKNOWN)
        if not self._guessing.acquire(blocking=False):
            raise TooManyGuesses("too many secrets are being checked; wait a minute")
        try:
            self._check_hash(shown)
            self._remember(shown)
        finally:
            self._guessing.release()

    def _check_hash(self, shown: _Shown) -> None:
        try:
            self._hasher.verify(shown.hash, shown.secret)
        except VerificationError as error:
            raise KeyInvalid(UNKNOWN) from error

    def _insert(
        self,
        connection: Connection,
        name: str,
        scopes: Sequence[Scope],
        collections: Sequence[str] | None,
        lifetime: timedelta | None,
    ) -> tuple[Key, str]:
        secret, now = secrets.token_hex(24), self._now()
        key_id = id_of(secret)
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


def id_of(secret: str) -> str:
    """The id of the key with this secret: ten hexadecimal digits of its SHA-256."""
    return hashlib.sha256(b"facet key id:" + secret.encode()).hexdigest()[:10]


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
