"""How much memory there is, and how the C library hands it out to a process that works on large arrays all day.

By default glibc gives every array above some megabytes back to the kernel when it is freed, and asks for
zeroed pages for the next one. On a folder of photographs that was a tenth of all processor time. Arrays above
32 MiB, the windows of huge pictures, still go back: holes of that size would be felt.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from pathlib import Path

# malloc.h of glibc
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8


def keep_freed() -> bool:
    """Keep freed arrays for the next ones, in one heap that all threads share; False where that is not to be had.

    For a whole process: a library should leave the choice to its caller.
    """
    if (libc := _libc()) is None:
        return False
    limits = {_M_MMAP_THRESHOLD: 1 << 25, _M_TRIM_THRESHOLD: 1 << 30, _M_ARENA_MAX: 1}
    return all([libc.mallopt(ctypes.c_int(name), ctypes.c_int(value)) for name, value in limits.items()])


def give_back() -> None:
    """Give what has been freed and kept back to the kernel: before something that needs much, and after it."""
    if (libc := _libc()) is not None:
        libc.malloc_trim(0)


def used() -> int:
    """Bytes of memory this process has now; 0 where nobody says."""
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


@functools.cache
def _libc() -> ctypes.CDLL | None:
    """The C library, where it is one that is told so."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim") else None


def total() -> int:
    """Bytes of memory this process could at most have: the machine's, or its control group's where that is less."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limits = [machine]
    for name in ("memory.max", "memory/memory.limit_in_bytes"):  # versions 2 and 1
        try:
            limits.append(int(Path("/sys/fs/cgroup", name).read_text()))
        except (OSError, ValueError):  # not there, or "max"
            continue
    return min(limits)
