"""A moment in a query, in UTC."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, TypeAdapter, ValidationError

NUMBER = re.compile(r"[-+]?[0-9.]+")
_TEXT = TypeAdapter(datetime)


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("must lie within the years 1 to 9999 in UTC") from None


def _read(value: object) -> object:
    """Read text here, for strict JSON has no moments, and refuse what would be taken for seconds since 1970.

    As a date of expiry, 2030 or 20300131 would erase at once.
    """
    if isinstance(value, int | float) or (isinstance(value, str) and NUMBER.fullmatch(value)):
        raise ValueError("must be a date and a time with their zone, as 2030-01-31T12:00:00Z, and no number")
    if isinstance(value, str):
        with suppress(ValidationError):  # what is no moment is told by whoever validates the value as it is
            return _TEXT.validate_python(value)
    return value


Moment = Annotated[AwareDatetime, BeforeValidator(_read), AfterValidator(_in_utc)]
