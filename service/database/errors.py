"""What can go wrong in the database.

::

    FacetError
    |-- CursorInvalid, BackupInvalid
    `-- StorageError
        |-- StorageBusy
        |-- StorageFull, StorageReadOnly
        |-- StorageUnavailable
        |   `-- TemplateDamaged
        |-- StorageLocked
        |-- ErasureUnfinished
        `-- KeyMissing
"""

from __future__ import annotations

from typing import ClassVar

from service.errors import FacetError


class CursorInvalid(FacetError):
    """A paging cursor was not made by this list."""

    code = "cursor_invalid"

    def __init__(self) -> None:
        """Say how to begin again."""
        super().__init__("The cursor is not one that this list returned; start again without a cursor.")


class BackupInvalid(FacetError):
    """A file is no backup that can be used, or a folder cannot take one."""

    code = "backup_invalid"


class StorageError(FacetError):
    """The store cannot do its work now; nothing unacknowledged was kept, nothing acknowledged was lost."""

    code: ClassVar[str] = "storage_error"
    retry_after: float = 1.0
    """Seconds after which another try is worth making."""


class StorageBusy(StorageError):
    """More writes wait than the queue admits, or another process holds the store."""

    code = "gallery_busy"

    def __init__(self, retry_after: float = 1.0) -> None:
        """Say when to try again: after `retry_after` seconds."""
        self.retry_after = retry_after
        super().__init__(f"The gallery has more writes waiting than it admits; try again in {retry_after:g} s.")


class StorageFull(StorageError):
    """The disk is full."""

    code = "storage_full"
    retry_after = 30.0

    def __init__(self) -> None:
        """Say what to do."""
        super().__init__("The disk of the gallery is full: nothing was stored. Free space; no restart is needed.")


class StorageReadOnly(StorageError):
    """The data directory cannot be written."""

    code = "storage_read_only"
    retry_after = 30.0

    def __init__(self) -> None:
        """Say what to do."""
        super().__init__("The gallery's directory or file cannot be written: mount it writable and check its owner.")


class StorageUnavailable(StorageError):
    """The store cannot be opened, is damaged, or failed in a way that a restart may cure."""

    code = "storage_unavailable"
    retry_after = 5.0


class StorageLocked(StorageError):
    """Another process has the gallery open."""

    code = "storage_locked"

    def __init__(self, owner: str) -> None:
        """Name the `owner`, a process."""
        super().__init__(f"The gallery is open in another process ({owner}): stop it first, or use its API.")


class ErasureUnfinished(StorageError):
    """Something was erased from tables and searches, and a reader keeps its old pages in the files."""

    code = "erasure_unfinished"
    retry_after = 10.0

    def __init__(self) -> None:
        """Say what is done and what is not."""
        super().__init__(
            "Erased from every list and search, but a reader of the database (an export or a backup) still holds the "
            "old pages: the files follow by themselves when it ends. Nothing needs to be sent again."
        )


class KeyMissing(StorageError):
    """Templates are encrypted with a key that was not given."""

    code = "template_key_missing"

    def __init__(self, key_id: str) -> None:
        """Name the key by its id."""
        super().__init__(
            f"Templates are encrypted with the key '{key_id}', which was not given: add it to the settings."
        )


class TemplateDamaged(StorageUnavailable):
    """A stored template is not what was stored: it is left out of every search and comparison."""

    code = "template_damaged"

    def __init__(self, why: str) -> None:
        """Say what is wrong."""
        super().__init__(f"A stored template is damaged ({why}): `facet gallery verify` lists them; enrol again.")
