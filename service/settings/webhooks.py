"""Settings of webhooks: who is told of which events, and how often a delivery is tried."""

from __future__ import annotations

import base64
import binascii
import re
from fnmatch import fnmatchcase

from pydantic import (
    AnyHttpUrl,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    TypeAdapter,
    ValidationError,
    field_validator,
)
from pydantic_settings import SettingsConfigDict

from service.settings.group import CollectionName, Group

EVENTS = (
    "verification.match",
    "verification.no_match",
    "identification.match",
    "identification.ambiguous",
    "identification.no_match",
    "enrolment.done",
    "erasure.done",
)
"""Every event that an endpoint can be told of."""
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
PREFIX = "whsec_"
SECRET_BYTES = range(24, 65)


class Endpoint(BaseModel):
    """A receiver: where it is, what signs its messages, and which events it is told of."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: str
    url: AnyHttpUrl
    secret: SecretStr
    events: tuple[str, ...] = ("*",)
    collections: tuple[CollectionName, ...] | None = None

    @field_validator("name")
    @classmethod
    def _name_is_a_label(cls, value: str) -> str:
        if not NAME.fullmatch(value):
            raise ValueError("must be small letters, digits, - and _, at most 63")
        return value

    @field_validator("secret")
    @classmethod
    def _secrets_sign(cls, value: SecretStr) -> SecretStr:
        for secret in _split(value):
            if not _signs(secret):
                raise ValueError(f"must be {PREFIX} and the base64 of 24 to 64 bytes; several are separated by commas")
        return value

    @field_validator("events")
    @classmethod
    def _events_are_known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in value:
            if not any(fnmatchcase(event, pattern) for event in EVENTS):
                raise ValueError(f"{pattern!r} is no event; there are {', '.join(EVENTS)}, and * for any part of them")
        return value

    @property
    def secrets(self) -> tuple[str, ...]:
        """Each secret in force: all of them sign."""
        return _split(self.secret)

    def wants(self, event: str, collection: str | None) -> bool:
        """Whether it is told of an event, in a collection where there is one."""
        reached = self.collections is None or collection in self.collections
        return reached and any(fnmatchcase(event, pattern) for pattern in self.events)


class Webhooks(Group):
    """Webhooks: signed messages about decisions to receivers of yours ([webhooks](webhooks.md))."""

    model_config = SettingsConfigDict(env_prefix="FACET_WEBHOOK_")

    receivers: SecretStr = Field(
        SecretStr(""),
        validation_alias="FACET_WEBHOOKS",
        description="Who is told, as a JSON list of objects with `name`, `url`, `secret` and, where not all is told, "
        "`events` and `collections`. Unset: nobody.",
    )
    seconds: float = Field(10.0, gt=0, description="Longest wait for a receiver's answer, in seconds.")
    tries: int = Field(15, ge=1, description="Tries of a delivery; after the last a message is given up.")
    retry_seconds: float = Field(
        5.0, gt=0, description="Wait after the first failed try, in seconds; it doubles with each, up to an hour."
    )
    most: int = Field(
        10_000, ge=1, description="Messages to one receiver that may wait; the next is dropped, and counted."
    )

    @field_validator("receivers")
    @classmethod
    def _receivers_are_readable(cls, value: SecretStr) -> SecretStr:
        endpoints = _parse(value)
        names = [endpoint.name for endpoint in endpoints]
        if len(set(names)) < len(names):
            raise ValueError("two receivers have the same name")
        return value

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """The parsed receivers."""
        return _parse(self.receivers)


_ENDPOINTS = TypeAdapter(tuple[Endpoint, ...], config=ConfigDict(hide_input_in_errors=True))


def _parse(value: SecretStr) -> tuple[Endpoint, ...]:
    """Read the JSON list; a fault is told without what was given, which holds secrets."""
    try:
        return _ENDPOINTS.validate_json(value.get_secret_value() or "[]")
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        message = "; ".join(
            f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}".removeprefix(": ") for fault in faults
        )
    raise ValueError(message)


def _split(value: SecretStr) -> tuple[str, ...]:
    return tuple(part.strip() for part in value.get_secret_value().split(","))


def _signs(secret: str) -> bool:
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        return False
    return secret.startswith(PREFIX) and len(key) in SECRET_BYTES
