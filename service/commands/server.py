"""The running service that a command asks, and how it is named on the command line."""

from __future__ import annotations

from typing import Annotated

import typer

AT_ONCE = 8
"""Requests at once where nobody says how many."""

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
