"""What the tests of the ten promises share: a folder of small files of two kinds, the command in the background."""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, scene, write_png


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree of eight pictures and two recordings, all different."""
    import soundfile

    root = tmp_path_factory.mktemp("good")
    for n in range(8):
        write_png(root / ("a" if n % 2 else ".") / f"p{n}.png", scene(40 + n, 50, seed=n))
    rng = np.random.default_rng(0)
    for n in range(2):
        soundfile.write(root / f"s{n}.wav", 0.1 * rng.standard_normal((4000, 1 + n)), 48_000)
    return root


def contents(folder: Path) -> dict[str, bytes]:
    """Relative path -> bytes of every regular file below a folder, hidden ones too; nothing for no folder.

    A command may be writing there: a file renamed or removed since its folder was listed is left out.
    """
    found = {}
    for top, _, names in os.walk(folder):
        for name in names:
            path = Path(top, name)
            with contextlib.suppress(FileNotFoundError):
                if stat.S_ISREG(path.lstat().st_mode):
                    found[os.path.relpath(path, folder)] = path.read_bytes()
    return found


Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start the command and go on; whatever still runs at the end of the test is killed."""
    started = []

    def call(*arguments: object, **options: object) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", "denoise_cli", *map(str, arguments)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
        )
        started.append(process)
        return process

    yield call
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()
