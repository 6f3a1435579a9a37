"""Choices that commands offer as the routes do."""

from __future__ import annotations

from enum import StrEnum


class FaceChoice(StrEnum):
    """Which face of a photograph counts."""

    SINGLE = "single"
    PROMINENT = "prominent"


class QualityChoice(StrEnum):
    """Whether unfit faces are refused."""

    ENFORCE = "enforce"
    REPORT = "report"


class DuplicateChoice(StrEnum):
    """What to do with a face that belongs to somebody else already."""

    ALLOW = "allow"
    WARN = "warn"
    REJECT = "reject"
