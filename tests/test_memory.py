"""What has been freed is kept for the next arrays, and given back when it is asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest

KEPT = """
import os
import numpy as np
from denoise_cli import memory

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20

if not memory.keep_freed():
    raise SystemExit(77)
arrays = [np.ones(3 << 20, np.uint8) for _ in range(60)]  # 180 MB, each below what is mapped by itself
full = resident()
fence = np.ones(1000, np.uint8)  # above them in the heap
del arrays
freed = resident()
memory.give_back()
print(full, freed, resident())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_freed_arrays_are_kept_until_they_are_given_back():
    done = subprocess.run([sys.executable, "-c", KEPT], capture_output=True, text=True)
    if done.returncode == 77:
        pytest.skip("another C library than glibc")
    assert done.returncode == 0, done.stderr
    full, freed, left = map(int, done.stdout.split())
    assert full - freed < 20, "kept for the next ones"
    assert full - left > 150
