"""The running service that a command asks, and how it is named on the command line."""

from __future__ import annotations

import os
from typing import Annotated

import typer

LEAST_AT_ONCE = 4


def count_at_once() -> int:
    """Count the requests to have at once where nobody says how many: two for each core of this machine.

    One is worked on and one is on its way; more would only wait, and take turns at the service's interpreter.
    """
    return max(LEAST_AT_ONCE, 2 * len(os.sched_getaffinity(0)))


ServerOption = Annotated[
    str | None,
    typer.Option(
        "--server",
        envvar="FACET_SERVER",
        show_envvar=False,
        help="Address of a running service, as http://127.0.0.1:8000. Default: FACET_SERVER.",
    ),
]
KeyOption = Annotated[
    str | None,
    typer.Option(
        "--key",
        envvar="FACET_KEY",
        show_envvar=False,
        help="Key to ask with. Default: FACET_KEY, which other users of this machine do not see.",
    ),
]
