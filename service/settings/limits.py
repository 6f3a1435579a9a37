"""Settings that bound what one caller, or all of them together, may take."""

from __future__ import annotations

from typing import Self

from limits import RateLimitItem
from limits import parse as parse_rate
from pydantic import Field, field_validator, model_validator

from service.settings.group import Group

MIB = 1024 * 1024


class Limits(Group):
    """Limits: what one request, one key and all of them together may take."""

    queue_limit: int = Field(
        64,
        ge=0,
        description="Requests that may wait for a worker; the next is refused with 503. One key has at most as many as "
        "are still free: half, when it is alone. Lower it to bound the latency under overload, raise it to ride out "
        "bursts.",
    )
    max_connections: int = Field(
        1024,
        ge=16,
        description="Most connections open at once. One address holds at most as many as are still free: half, when it "
        "is alone.",
    )
    max_head_bytes: int = Field(
        32 * 1024,
        ge=1024,
        description="Largest request line and headers together, in bytes; beyond it, or beyond 100 headers, 431.",
    )
    head_seconds: float = Field(
        10.0, gt=0, description="Time a client has to send a request's headers, in seconds; then it is hung up on."
    )
    max_image_bytes: int = Field(10 * MIB, ge=1024, description="Largest encoded image, in bytes.")
    max_image_pixels: int = Field(
        40_000_000,
        ge=4096,
        description="Largest decoded image, in plain pixels of at most 10 bytes on each worker; kinds of images that "
        "take more count as more ([below](#hostile-clients)).",
    )
    max_body_bytes: int = Field(
        64 * MIB,
        ge=4096,
        description="Largest request body, in bytes. Base64 takes 4/3 of an image's size. Each route takes less: its "
        "text and the images it asks for.",
    )
    max_pending_bytes: int = Field(
        512 * MIB,
        ge=4096,
        description="Most bytes of request bodies held at once; beyond it 503. One key has at most as many as are "
        "still free, and a body counts as 1/512 of it at least. Bounds memory under many uploads.",
    )
    body_seconds: float = Field(30.0, gt=0, description="Time a client has to send a request body, in seconds.")
    rate: str = Field(
        "6000/minute",
        description="Requests that one key (or, without keys, one address) may make of one process, as "
        "`<number>/<unit>`; `off` lifts the limit. Beyond it 429. Behind several replicas a key may make as many of "
        "each.",
    )
    metric_collections: int = Field(
        20,
        ge=0,
        description="Collections that have series of their own in `/metrics`; those beyond are counted together as "
        "`(other)`.",
    )

    @field_validator("rate")
    @classmethod
    def _rate_is_readable(cls, value: str) -> str:
        if value != "off":
            parse_rate(value)
        return value

    @model_validator(mode="after")
    def _bodies_fit(self) -> Self:
        if self.max_pending_bytes < self.max_body_bytes:
            raise ValueError(
                "FACET_MAX_PENDING_BYTES must be at least FACET_MAX_BODY_BYTES, or the largest body never fits"
            )
        return self

    @property
    def rate_limit(self) -> RateLimitItem | None:
        """The parsed rate, or None when it is off."""
        return None if self.rate == "off" else parse_rate(self.rate)
