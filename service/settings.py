"""Every setting of the service, read from the environment (or a `.env` file) in this one place."""

from __future__ import annotations

import os
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import sqlalchemy as sa
from limits import RateLimitItem
from limits import parse as parse_rate
from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from service.database.encryption import Keyring
from service.errors import FacetError

MIB = 1024 * 1024
SECRETS = Path("/run/secrets")


class SettingsInvalid(FacetError):
    """A setting cannot be used; the message names its variable."""

    code = "settings_invalid"


class Settings(BaseSettings):
    """The settings; each is the environment variable `FACET_` + its name in capitals."""

    model_config = SettingsConfigDict(
        env_prefix="FACET_",
        env_file=".env",
        # Where containers are given secrets as files: facet_database_password and the like.
        secrets_dir=SECRETS if SECRETS.is_dir() else None,
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,  # it may be a password
    )

    host: str = Field("127.0.0.1", description="Address to listen on. 0.0.0.0 serves every network interface.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on.")
    data: Path = Field(Path("data"), description="Folder of the embedded storage. Back this one up.")
    database: str | None = Field(
        None,
        description="PostgreSQL that holds the record, as `postgresql://user@host:port/name`; several hosts as "
        "`?host=a:5432&host=b:5432&target_session_attrs=read-write`. Unset: a SQLite file in the data folder.",
    )
    database_password: SecretStr = Field(SecretStr(""), description="Password of the database's user.")
    database_sslmode: Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] = Field(
        "prefer", description="TLS towards the database, as libpq names it; `verify-full` checks who answers."
    )
    database_sslrootcert: Path | None = Field(
        None, description="Certificate authorities that the database's certificate is checked against."
    )
    database_connections: int = Field(
        8, ge=2, description="Connections to the database, of each process. All processes' must fit the server's limit."
    )
    database_queue: int = Field(
        64, ge=0, description="Calls that may wait for a connection; the next is refused with 503."
    )
    database_wait_seconds: float = Field(5.0, gt=0, description="Longest wait for a connection, in seconds.")
    database_statement_seconds: float = Field(
        15.0, gt=0, description="Longest run of one statement, waiting for locks included, in seconds."
    )
    index: Literal["embedded", "pgvector", "milvus"] | None = Field(
        None,
        description="What searches: `embedded` (faiss, in this process), `pgvector` or `milvus`. Unset: `pgvector` "
        "with a database, else `embedded`.",
    )
    milvus: str | None = Field(None, description="Address of Milvus, as `http://host:19530`, or https for TLS.")
    milvus_user: str = Field("", description="User of Milvus, where it asks for one.")
    milvus_password: SecretStr = Field(SecretStr(""), description="Password of that user.")
    milvus_sslrootcert: Path | None = Field(
        None, description="Certificate authority that Milvus' certificate is checked against."
    )
    milvus_seconds: float = Field(10.0, gt=0, description="Longest wait for one answer of Milvus, in seconds.")
    template_keys: SecretStr = Field(
        SecretStr(""),
        description="Keys that seal templates and crops at rest: `id:base64` of 32 bytes, separated by commas. The "
        "first seals, the others only open. Unset: stored in the clear.",
    )
    model_dirs: Annotated[tuple[Path, ...], NoDecode] = Field(
        (),
        description="Further folders of models, separated by the system's path separator (`:`). They come before "
        "`<data>/models` and the bundled models, so a model of the same name and version replaces the bundled one.",
    )
    detector: str | None = Field(
        None, description="Name of the face detector. Unset: the first detector found, by folder and then by name."
    )
    models: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Names of the embedders to load, separated by commas. Unset: every embedder found. Each enrolled "
        "face gets a template of each of them, so every model costs time and space.",
    )
    default_model: str | None = Field(
        None, description="Embedder that answers when a request names none. Unset: the first loaded one."
    )
    default_fmr: float = Field(
        1e-3, gt=0, lt=1, description="False match rate of a decision when a request gives neither fmr nor threshold."
    )
    ambiguous_margin: float = Field(
        0.05,
        ge=0,
        le=1,
        description="An identification is ambiguous when ranks 1 and 2 both pass and lie closer than this.",
    )
    workers: int = Field(
        0,
        ge=0,
        description="Threads that decode and run models; 0 is one per core. More than cores only adds waiting.",
    )
    queue_limit: int = Field(
        64,
        ge=0,
        description="Requests that may wait for a worker; the next is refused with 503. One key has at most as many as "
        "are still free. Lower it to bound the latency under overload, raise it to ride out bursts.",
    )
    max_connections: int = Field(
        1024,
        ge=16,
        description="Most connections open at once. One address holds at most as many as are still free.",
    )
    max_head_bytes: int = Field(
        32 * 1024, ge=1024, description="Largest request line and headers together, in bytes; beyond it 431."
    )
    head_seconds: float = Field(
        10.0, gt=0, description="Time a client has to send a request's headers, in seconds; then it is hung up on."
    )
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Addresses or networks of reverse proxies, separated by commas: their X-Forwarded-For is believed, "
        "and they may hold any share of the connections. Unset: nobody's.",
    )
    max_image_bytes: int = Field(10 * MIB, ge=1024, description="Largest encoded image, in bytes.")
    max_image_pixels: int = Field(
        40_000_000,
        ge=4096,
        description="Largest decoded image, in plain pixels of at most 10 bytes on each worker; kinds of images that "
        "take more to decode count as more.",
    )
    max_body_bytes: int = Field(
        64 * MIB, ge=4096, description="Largest request body, in bytes. Base64 takes 4/3 of the image's size."
    )
    max_pending_bytes: int = Field(
        512 * MIB,
        ge=4096,
        description="Most bytes of request bodies held at once; beyond it 503. One key has at most as many as are "
        "still free. Bounds memory under many uploads.",
    )
    body_seconds: float = Field(30.0, gt=0, description="Time a client has to send a request body, in seconds.")
    rate: str = Field(
        "6000/minute",
        description="Requests that one key (or, without keys, one address) may make of one process, as "
        "`<number>/<unit>`; `off` lifts the limit. Beyond it 429.",
    )
    anonymous: bool = Field(
        False, description="Serve requests without a key, with every right. Only for a closed network; warns at start."
    )
    metrics_public: bool = Field(
        True, description="Serve /metrics without a key. When false it needs one with the scope `read`."
    )
    metric_collections: int = Field(
        20,
        ge=0,
        description="Collections that have series of their own in /metrics; those beyond are counted together.",
    )
    shutdown_seconds: float = Field(
        30.0, gt=0, description="Time that admitted requests have to finish when the service is asked to stop."
    )
    shadow_queue: int = Field(
        64, ge=1, description="Sampled decisions that may wait for the challenger; the next is not compared."
    )
    shadow_cpu: float = Field(
        0.25, gt=0, le=1, description="Share of one core that comparing with the challenger may take."
    )
    comparison_rows: int = Field(100_000, ge=1, description="Most sampled decisions kept.")
    comparison_days: float = Field(30.0, gt=0, description="Days for which sampled decisions are kept.")
    reembed_rate: float = Field(
        20.0,
        gt=0,
        description="Faces a second for which templates are made from kept crops, where a job does not say.",
    )
    renew_fmr: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Make templates of loaded models that a person lacks from a photograph that matches the person at "
        "this false match rate or a stricter one. Unset: never.",
    )
    log_format: Literal["text", "json"] = Field("text", description="Log lines for people, or one JSON object each.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least severe level logged.")

    @field_validator("model_dirs", mode="before")
    @classmethod
    def _split_paths(cls, value: object) -> object:
        return tuple(part for part in value.split(os.pathsep) if part) if isinstance(value, str) else value

    @field_validator("models", "trusted_proxies", mode="before")
    @classmethod
    def _split_names(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("trusted_proxies")
    @classmethod
    def _proxies_are_addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for proxy in value:
            ip_network(proxy)
        return value

    @field_validator("template_keys")
    @classmethod
    def _keys_are_readable(cls, value: SecretStr) -> SecretStr:
        Keyring.parse(value.get_secret_value())
        return value

    @field_validator("database")
    @classmethod
    def _database_is_an_address(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                url = sa.make_url(value)
            except sa.exc.ArgumentError:
                raise ValueError("is not of the form postgresql://user@host:port/name") from None
            if not url.drivername.startswith("postgresql") or not url.database:
                raise ValueError("is not of the form postgresql://user@host:port/name")
            if url.password is not None or "password" in url.query:
                raise ValueError("holds a password; that belongs into FACET_DATABASE_PASSWORD")
        return value

    @field_validator("rate")
    @classmethod
    def _rate_is_readable(cls, value: str) -> str:
        if value != "off":
            parse_rate(value)
        return value

    @model_validator(mode="after")
    def _limits_agree(self) -> Self:
        if self.max_pending_bytes < self.max_body_bytes:
            raise ValueError("max_pending_bytes must be at least max_body_bytes, or the largest body never fits")
        return self

    @model_validator(mode="after")
    def _engines_agree(self) -> Self:
        if (self.engine == "embedded") != (self.database is None):
            raise ValueError("index pgvector or milvus needs database, and a database needs one of them as its index")
        if (self.engine == "milvus") != (self.milvus is not None):
            raise ValueError("index=milvus needs milvus, its address; another index needs none")
        if self.engine != "embedded" and self.template_keys.get_secret_value():
            raise ValueError(
                "template_keys works with the embedded index only: pgvector and Milvus compare templates in the clear, "
                "so encrypt their disks instead"
            )
        return self

    @property
    def engine(self) -> Literal["embedded", "pgvector", "milvus"]:
        """The index in force."""
        return self.index or ("embedded" if self.database is None else "pgvector")

    @property
    def keyring(self) -> Keyring:
        """The parsed template keys."""
        return Keyring.parse(self.template_keys.get_secret_value())

    @property
    def rate_limit(self) -> RateLimitItem | None:
        """The parsed rate, or None when it is off."""
        return None if self.rate == "off" else parse_rate(self.rate)

    @property
    def worker_count(self) -> int:
        """Worker threads: as set, or one for each core this process may use."""
        return self.workers or len(os.sched_getaffinity(0))

    def text_of(self, name: str) -> str:
        """A setting as the text that its variable would hold."""
        value = getattr(self, name)
        if name == "model_dirs":
            return os.pathsep.join(map(str, value))
        if isinstance(value, tuple):
            return ",".join(value)
        if isinstance(value, bool):
            return str(value).lower()
        return "" if value is None else str(value)


def read_settings(**given: Any) -> Settings:
    """Read the settings from the environment; those given win. Raises: SettingsInvalid."""
    try:
        return Settings(**given)
    except ValidationError as error:
        faults = "; ".join(
            f"FACET_{'_'.join(map(str, found['loc'])).upper() or '*'}: {found['msg'].removeprefix('Value error, ')}"
            for found in error.errors(include_url=False, include_context=False)
        )
        raise SettingsInvalid(faults) from error
