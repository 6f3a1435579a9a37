"""Settings of what is stored: the data folder, the database and the index."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import sqlalchemy as sa
from pydantic import Field, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict

from service.database.encryption import Keyring
from service.gallery.archive.signature import SigningKeys
from service.settings.group import AnyCase, Group

Index = Literal["embedded", "pgvector", "milvus"]
DATABASE_FORM = "is not of the form postgresql://user@host:port/name"


class Storage(Group):
    """Storage: where the gallery lives."""

    data: Path = Field(
        Path("data"),
        description="Folder of the embedded storage, and of models that were taken in. `facet backup` copies the "
        "database, also while the service runs; `<data>/models` is copied by hand.",
    )
    index: Annotated[Index, AnyCase] | None = Field(
        None,
        description="What searches: `embedded` (faiss, in this process), `pgvector` or `milvus`. Unset: `pgvector` "
        "with a database, else `embedded`.",
    )
    template_keys: SecretStr = Field(
        SecretStr(""),
        description="Keys that encrypt templates and crops at rest: `id:base64` of 32 bytes, separated by commas. The "
        "first encrypts, the others only decrypt. Unset: stored in the clear.",
    )

    archive_keys: SecretStr = Field(
        SecretStr(""),
        description="Keys that sign archives (`facet gallery export`), in the same form. The first signs, all are "
        "accepted, and with any set an archive that none of them signed is not imported. Unset: not signed.",
    )
    audit_days: float = Field(
        365.0, ge=0, description="Days for which entries of the audit log are kept; 0 keeps them for ever."
    )
    audit_durable: bool = Field(
        True,
        description="Write the audit entry of a decision to the disk before the answer is sent. When false a crash may "
        "lose the entries of the last quarter of a second.",
    )

    @field_validator("template_keys")
    @classmethod
    def _keys_are_readable(cls, value: SecretStr) -> SecretStr:
        Keyring.parse(value.get_secret_value())
        return value

    @field_validator("archive_keys")
    @classmethod
    def _archive_keys_are_readable(cls, value: SecretStr) -> SecretStr:
        SigningKeys.parse(value.get_secret_value())
        return value

    @property
    def signing_keys(self) -> SigningKeys:
        """The parsed archive keys."""
        return SigningKeys.parse(self.archive_keys.get_secret_value())

    @property
    def keyring(self) -> Keyring:
        """The parsed template keys."""
        return Keyring.parse(self.template_keys.get_secret_value())


class Database(Group):
    """Database: a PostgreSQL server in place of the SQLite file, for several replicas ([scaling](scaling.md))."""

    model_config = SettingsConfigDict(env_prefix="FACET_DATABASE_")

    url: str | None = Field(
        None,
        validation_alias="FACET_DATABASE",
        description="PostgreSQL server that holds the gallery, as `postgresql://user@host:port/name`; several hosts as "
        "`?host=a:5432&host=b:5432&target_session_attrs=read-write`. Unset: a SQLite file in the data folder.",
    )
    password: SecretStr = Field(SecretStr(""), description="Password of the database's user.")
    sslmode: Annotated[Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"], AnyCase] = Field(
        "prefer", description="TLS towards the database, as libpq names it; `verify-full` checks who answers."
    )
    sslrootcert: Path | None = Field(
        None, description="Certificate authorities that the database's certificate is checked against."
    )
    connections: int = Field(
        8, ge=2, description="Connections to the database, of each process. All processes' must fit the server's limit."
    )
    queue: int = Field(64, ge=0, description="Calls that may wait for a connection; the next is refused with 503.")
    wait_seconds: float = Field(5.0, gt=0, description="Longest wait for a connection, in seconds.")
    statement_seconds: float = Field(
        15.0, gt=0, description="Longest run of one statement, waiting for locks included, in seconds."
    )

    @field_validator("url")
    @classmethod
    def _url_is_a_database(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                url = sa.make_url(value)
            except sa.exc.ArgumentError:
                raise ValueError(DATABASE_FORM) from None
            if not url.drivername.startswith("postgresql") or not url.database:
                raise ValueError(DATABASE_FORM)
            if url.password is not None or "password" in url.query:
                raise ValueError("holds a password; that belongs into FACET_DATABASE_PASSWORD")
        return value


class Milvus(Group):
    """Milvus: a vector database that searches beside the database ([scaling](scaling.md))."""

    model_config = SettingsConfigDict(env_prefix="FACET_MILVUS_")

    url: str | None = Field(
        None,
        validation_alias="FACET_MILVUS",
        description="Address of Milvus, as `http://host:19530`, or https for TLS.",
    )
    user: str = Field("", description="User of Milvus, where it asks for one.")
    password: SecretStr = Field(SecretStr(""), description="Password of that user.")
    sslrootcert: Path | None = Field(
        None, description="Certificate authority that Milvus' certificate is checked against."
    )
    seconds: float = Field(10.0, gt=0, description="Longest wait for one answer of Milvus, in seconds.")
