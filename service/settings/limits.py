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
        description="Requests that may wait for a worker; the next is refused with 503. Lower it to bound the "
        "latency under overload, raise it to ride out bursts.",
    )
    max_image_bytes: int = Field(10 * MIB, ge=1024, description="Largest encoded image, in bytes.")
    max_image_pixels: int = Field(
        40_000_000,
        ge=4096,
        description="Largest decoded image, in pixels; a decoded pixel takes 3 bytes on each worker.",
    )
    max_body_bytes: int = Field(
        64 * MIB, ge=4096, description="Largest request body, in bytes. Base64 takes 4/3 of the image's size."
    )
    max_pending_bytes: int = Field(
        512 * MIB,
        ge=4096,
        description="Most bytes of request bodies held at once; beyond it 503. Bounds memory under many uploads.",
    )
    body_seconds: float = Field(30.0, gt=0, description="Time a client has to send a request body, in seconds.")
    rate: str = Field(
        "6000/minute",
        description="Requests that one key (or, without keys, one address) may make, as `<number>/<unit>`; "
        "`off` lifts the limit. Beyond it 429.",
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
