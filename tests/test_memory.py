"""What has been freed is kept for the next arrays, and given back when it is asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest
from conftest import ROOT

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


SIZES = """
import sys
from pathlib import Path
import numpy as np
from denoise_cli import memory, session

session.HELD = int(sys.argv[2])
model = session.Session(Path(sys.argv[1]), "cpu")
for side in (512, 256, 64):
    y = model(np.full((1, 3, side, side), 0.5, np.float32))
print(memory.used() >> 20, y.tobytes().hex()[:1000])
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_what_the_runtime_kept_for_calls_of_other_sizes_goes_back_where_it_is_much():
    def run(held: int) -> tuple[int, str]:
        model = ROOT / "models" / "image.onnx"
        done = subprocess.run([sys.executable, "-c", SIZES, model, str(held)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        left, result = done.stdout.split()
        return int(left), result

    (kept, one), (given, other) = run(1 << 40), run(-(1 << 40))
    assert kept - given > 20
    assert one == other
