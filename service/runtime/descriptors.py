"""Open files: enough for every connection, and some that no connection can take."""

from __future__ import annotations

import sys

from service.settings import SettingsInvalid

if sys.platform != "win32":
    import resource

KEPT = 128
"""Descriptors for the database, the index, models, logs and the connections to other servers."""


def allow_connections(connections: int) -> None:
    """Let this process open as many files as `connections` need besides its own.

    Raises: SettingsInvalid when the system does not allow that many.
    """
    if sys.platform == "win32":
        return
    needed = connections + KEPT
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard not in (resource.RLIM_INFINITY, -1) and hard < needed:
        raise SettingsInvalid(
            f"FACET_MAX_CONNECTIONS: {connections} connections need {needed} open files, and the system allows {hard}; "
            f"raise that limit (ulimit -n), or allow at most {hard - KEPT} connections"
        )
    if soft not in (resource.RLIM_INFINITY, -1) and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
