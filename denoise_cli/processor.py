"""What the processor can do that decides which form of a model is the fastest."""

from __future__ import annotations

import functools
import platform
from pathlib import Path

# Sums of four products of bytes in one instruction: Intel since Ice Lake, AMD since Zen 4, ARM since 8.2.
DOT_PRODUCTS = {"avx512_vnni", "avx_vnni", "asimddp"}


@functools.cache
def multiplies_bytes(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether 8-bit models are exact and fast here; False where nothing says so.

    Without these instructions x86 adds pairs of products in 16 bits, where they overflow.
    """
    if platform.system() == "Darwin":
        return platform.machine() == "arm64"
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return False
    for line in lines:
        name, _, flags = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return not DOT_PRODUCTS.isdisjoint(flags.split())
    return False
