"""A function called in a process of its own: bounded in memory and processor time, unable to open files.

    caller: call(module, function, data) --data on stdin--> child: answer = function(data), which confines itself
                                         <--answer on stdout-- once it has imported what it needs

It holds what computes too much or crashes. An attacker who has taken over the child still has its system calls.
"""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
from pathlib import Path

WALL = 60  # seconds a call may take on a busy machine, whatever its processor time


class Died(Exception):
    """The child ended without an answer; the message says how, to be read after the name of what it worked on."""


def call(module: str, function: str, data: bytes) -> str:
    """What `function` of `module` answers to `data`; raises Died where no answer comes."""
    # The child finds modules where this process does, and never in the folder it happens to run in (-P).
    code = f"import sys; sys.path[:] = {sys.path!r}; from denoise_cli import sandbox; sandbox.answer"
    try:
        child = subprocess.run(
            [sys.executable, "-P", "-c", f"{code}({module!r}, {function!r})"],
            input=data, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=WALL, check=False,
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise Died(f"took more than {WALL} s") from None
    if child.returncode == -signal.SIGPROF:
        raise Died("took too much processor time")
    if child.returncode < 0:
        raise Died(f"ended by {signal.Signals(-child.returncode).name}")
    if child.returncode:
        raise Died(f"ended with exit code {child.returncode}")
    return child.stdout.decode("utf-8", "replace")


def answer(module: str, function: str) -> None:
    """In the child: call it, and give the answer."""
    text: str = getattr(importlib.import_module(module), function)(sys.stdin.buffer.read())
    sys.stdout.buffer.write(text.encode("utf-8", "backslashreplace"))


def confine(memory: int, seconds: float) -> None:
    """From here on this process may take so many bytes and seconds of processor time more, and open nothing."""
    import resource

    limits = {"CORE": 0, "NOFILE": 0}
    try:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        limits["AS"] = used + memory
    except OSError:  # macOS has no such file, and does not keep that limit either
        pass
    for name, most in limits.items():
        kind = getattr(resource, f"RLIMIT_{name}")
        allowed = resource.getrlimit(kind)[1]
        most = most if allowed == resource.RLIM_INFINITY else min(most, allowed)
        resource.setrlimit(kind, (most, most))
    signal.setitimer(signal.ITIMER_PROF, seconds)  # its signal ends the process, wherever it is computing
