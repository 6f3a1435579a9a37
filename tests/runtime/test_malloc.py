"""Memory of large buffers goes back to the system once they are freed."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

# Buffers of many sizes live and die on several threads, small ones outlive them: what requests do to a heap.
CHURN = """
import random, sys
from concurrent.futures import ThreadPoolExecutor
import numpy as np
from service.runtime.malloc import bound_heap

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

if sys.argv[1] == "bounded":
    assert bound_heap()

kept = []

def churn(seed):
    draw = random.Random(seed)
    for _ in range(8):
        large = [np.ones(draw.randrange(1_100_000, 2_500_000)) for _ in range(4)]
        kept.append(np.ones(draw.randrange(1000, 8000)))
        del large

before = resident()
with ThreadPoolExecutor(8) as pool:
    list(pool.map(churn, range(8)))
print(resident() - before - sum(block.nbytes for block in kept))
"""


def left_over(mode: str) -> int:
    done = subprocess.run([sys.executable, "-c", CHURN, mode], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has these options")
def test_freed_buffers_go_back_to_the_system() -> None:
    assert left_over("bounded") < 30 * 1024 * 1024
