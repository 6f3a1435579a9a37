"""How the C library's heap behaves in a long-running process that handles photographs of every size."""

from __future__ import annotations

import ctypes

MIB = 1024 * 1024

# Numbers of mallopt(3) in glibc's malloc.h.
TRIM_THRESHOLD, MMAP_THRESHOLD, ARENA_MAX = -1, -3, -8


def bound_heap() -> bool:
    """Make freed photographs and tensors go back to the system; call it before the threads start.

    glibc raises its threshold for mapping with every large block that is freed, up to 32 MiB. From then on
    photographs come from heaps, one for each thread, where a small block behind them keeps them from being given
    back: the process grows for thousands of requests. A fixed threshold keeps every large block a mapping of its
    own, and few arenas keep the rest together. A lower threshold would give back more, but each mapping costs fresh
    pages, and the tensors of a photograph of common size, 4 MiB, come and go with every request. Returns whether
    the C library has these options.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    options = ((MMAP_THRESHOLD, 8 * MIB), (TRIM_THRESHOLD, 64 * MIB), (ARENA_MAX, 2))
    taken = [int(mallopt(option, value)) for option, value in options]
    return taken == [1] * len(options)
