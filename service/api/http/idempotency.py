"""The header by which a change is asked for once, however often it is sent."""

from __future__ import annotations

from typing import Annotated

from fastapi import Header

IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=200,
        pattern=r"^[\x21-\x7e]+$",
        description="Names this request, a UUID say. A repetition within a day gets the first answer and changes "
        "nothing; the same key with another request is refused.",
    ),
]
