"""Replies about keys."""

from __future__ import annotations

from datetime import datetime
from typing import Self

from pydantic import Field

from service.api.schemas.reply import Reply
from service.keys import Key, Scope


class CallingKey(Reply):
    """The key that a request came with, without its secret."""

    id: str | None = Field(description="Null where no key is asked for (`FACET_ANONYMOUS`) and none was sent.")
    name: str = Field(description="What the key was made for.", examples=["turnstile 3"])
    scopes: list[Scope] = Field(description="What it may do; `admin` includes all others.")
    collections: list[str] | None = Field(description="Collections it is limited to; null: all.")
    expires_at: datetime | None = Field(description="Null: never.")

    @classmethod
    def of(cls, key: Key | None) -> Self:
        """Render a key, or the rights of a caller who needs none."""
        if key is None:
            return cls(id=None, name="anonymous", scopes=[Scope.ADMIN], collections=None, expires_at=None)
        return cls(
            id=key.id,
            name=key.name,
            scopes=sorted(key.scopes),
            collections=None if key.collections is None else sorted(key.collections),
            expires_at=key.expires_at,
        )
