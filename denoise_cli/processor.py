"""What there is to compute on: how a device is named, and which arithmetic the processor is fastest with."""

from __future__ import annotations

import functools
import platform
import re
from pathlib import Path
from typing import Any

from denoise_cli.errors import UsageError

# Sums of four products of bytes in one instruction: Intel since Ice Lake, AMD since Zen 4, ARM since 8.2.
DOT_PRODUCTS = {"avx512_vnni", "avx_vnni", "asimddp"}
HALVES = {"avx512_bf16", "amx_bf16", "bf16"}  # products of bfloat16: Intel since Cooper Lake, AMD since Zen 4
_CPUINFO = Path("/proc/cpuinfo")


def parse_device(device: str) -> tuple[str, int]:
    """``auto``, ``cpu``, ``cuda`` or ``cuda:1`` -> (name, index); raises UsageError for anything else."""
    name, colon, index = device.partition(":")
    if name not in ("auto", "cpu", "cuda") or (colon and (name != "cuda" or not re.fullmatch("[0-9]{1,4}", index))):
        raise UsageError(f'unknown device "{device}"; choose from auto, cpu, cuda, cuda:N')
    return name, int(index or 0)


@functools.cache
def multiplies_bytes(cpuinfo: Path = _CPUINFO) -> bool:
    """Whether 8-bit models are exact and fast here; False where nothing says so.

    Without these instructions x86 adds pairs of products in 16 bits, where they overflow; exact, they are slower.
    """
    if platform.system() == "Darwin":
        return platform.machine() == "arm64"
    return not DOT_PRODUCTS.isdisjoint(_flags(cpuinfo))


def add_bytes_exactly(options: Any) -> None:
    """Let a session with these onnxruntime.SessionOptions not overflow where `multiplies_bytes` says no."""
    if not multiplies_bytes():
        options.add_session_config_entry("session.x64quantprecision", "1")


@functools.cache
def multiplies_halves(cpuinfo: Path = _CPUINFO) -> bool:
    """Whether bfloat16 is faster than float here; False where nothing says so. Imitated, it is far slower."""
    return not HALVES.isdisjoint(_flags(cpuinfo))


def _flags(cpuinfo: Path) -> list[str]:
    """What the kernel says the processor can do; empty where it says nothing."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return []
    for line in lines:
        name, _, flags = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return flags.split()
    return []
