"""What can be wrong with photographs to compare models on, and with plots; only a command line sees it."""

from __future__ import annotations

from service.rollout.errors import RolloutError


class PhotographsInvalid(RolloutError):
    """The list of pairs or the folder cannot be read as one, or holds too little to measure anything."""

    code = "photographs_invalid"


class PlotsUnavailable(RolloutError):
    """What draws the plots is not installed."""

    code = "plots_unavailable"
