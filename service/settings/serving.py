"""Settings of the process: where it listens, who may ask, what it logs."""

from __future__ import annotations

import re
from ipaddress import ip_network
from typing import Annotated, Literal

from pydantic import Field, field_validator
from pydantic_settings import SettingsConfigDict

from service.settings.group import AnyCase, CollectionName, Group, Names

PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)+")
ORIGIN = re.compile(r"https?://[^/?#\s@]+")


class Server(Group):
    """Server: where the service listens and how it stops."""

    host: str = Field("127.0.0.1", description="Address to listen on. `0.0.0.0` serves every network interface.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    shutdown_seconds: float = Field(
        30.0, gt=0, description="Time that admitted requests have to finish when the service is asked to stop."
    )
    trusted_proxies: Names = Field(
        (),
        description="Addresses or networks of reverse proxies, separated by commas: their `X-Forwarded-For` is "
        "believed, and they may hold any share of the connections. Unset: nobody's.",
    )

    path_prefix: str = Field(
        "",
        description="Path below which a reverse proxy publishes the service, as `/faces`: page, documentation and API "
        "are at `/faces/`, whether the proxy passes the prefix on or takes it away. Unset: the root.",
    )
    cors_origins: Names = Field(
        (),
        description="Origins whose pages may ask from a browser, as `https://desk.example.org`, separated by commas; "
        "`*` is every one. Unset: none but the service's own.",
    )

    @field_validator("path_prefix")
    @classmethod
    def _prefix_is_a_path(cls, value: str) -> str:
        if value and not PREFIX.fullmatch(value):
            raise ValueError("must be a path as /faces: it begins with a slash, and does not end with one")
        return value

    @field_validator("cors_origins")
    @classmethod
    def _origins_are_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if origin != "*" and not ORIGIN.fullmatch(origin):
                raise ValueError(f"{origin!r} is no origin: give scheme, host and, where it is unusual, port, no path")
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _proxies_are_addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for proxy in value:
            ip_network(proxy)
        return value


class Access(Group):
    """Access: what is served without a key."""

    anonymous: bool = Field(
        False, description="Serve requests without a key, with every right. Only for a closed network; warns at start."
    )
    metrics_public: bool = Field(
        True, description="Serve `/metrics` without a key. When false it needs one with the scope `read`."
    )
    metrics_collections: bool = Field(
        False,
        description="Name collections in `/metrics` also to who sends no key. When false their series are summed as "
        "`(other)`; a key sees those that it may touch.",
    )


class CompreFace(Group):
    """CompreFace: the API at `/api/v1` for clients of CompreFace ([moving from it](compreface.md))."""

    model_config = SettingsConfigDict(env_prefix="FACET_COMPREFACE_")

    collection: CollectionName = Field(
        "default",
        min_length=1,
        max_length=200,
        description="Collection of keys that are not limited to one; a key that is serves its own.",
    )
    quality: Annotated[Literal["enforce", "report"], AnyCase] = Field(
        "report",
        description="`enforce` refuses to add a face that is unfit for comparison; `report` adds it, as CompreFace "
        "does.",
    )


class Logs(Group):
    """Logs: the lines on standard error."""

    model_config = SettingsConfigDict(env_prefix="FACET_LOG_")

    format: Annotated[Literal["text", "json"], AnyCase] = Field(
        "text", description="`text` for people, or `json`: one object a line."
    )
    level: Annotated[Literal["debug", "info", "warning", "error"], AnyCase] = Field(
        "info", description="Least severe level logged: `debug`, `info`, `warning` or `error`."
    )
    clients: bool = Field(
        False, description="Log the address of the client of each request. It is personal data in many places."
    )
