"""Threads that give way to the requests."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable

log = logging.getLogger("facet")

NICE = 10
LOOK_AGAIN_SECONDS = 0.02
"""Not oftener: every look takes the interpreter's lock, and takes it while requests want it most."""


def give_way() -> None:
    """Run the calling thread at a low priority from now on, where priorities belong to threads: on Linux.

    Not at the lowest: a thread that holds the interpreter's lock and is never scheduled would hold up the others.
    """
    if sys.platform == "linux":
        try:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        except OSError as error:
            log.warning("a background thread keeps the normal priority: %s", error)


def wait_while(busy: Callable[[], bool], stopping: threading.Event) -> None:
    """Wait for room beside the requests, or until the thread is to stop."""
    while busy() and not stopping.wait(LOOK_AGAIN_SECONDS):
        pass
