"""Threads that give way to the requests."""

from __future__ import annotations

import logging
import os
import sys
import threading

log = logging.getLogger("facet")

NICE = 10


def give_way() -> None:
    """Run the calling thread at a low priority from now on, where priorities belong to threads: on Linux.

    Not at the lowest: a thread that holds the interpreter's lock and is never scheduled would hold up the others.
    """
    if sys.platform == "linux":
        try:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        except OSError as error:
            log.warning("a background thread keeps the normal priority: %s", error)
