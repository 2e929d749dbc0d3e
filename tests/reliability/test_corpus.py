"""A folder of valid and damaged files of every kind, judged as ../shared/tools/torture.py judges it.

The corpus is `scripts/make_corpus.py`'s; a larger one, and the runs that are killed, are for the tool itself.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, denoise

from .conftest import contents

sys.path.insert(0, str(ROOT / "scripts"))
import make_corpus

TORTURE = ROOT.parent / "shared" / "tools" / "torture.py"


def judged(folder: Path, out: Path, expected: dict[str, str], *command: str) -> None:
    """Run the folder once; every file has a whole output or one line, and none both."""
    before = {name: hashlib.sha256(data).digest() for name, data in contents(folder).items()}
    done = denoise(*command, folder, "-o", out)
    lines, written = done.stderr.decode().splitlines(), contents(out)
    assert done.returncode == 1
    assert not [line for line in lines if not line.startswith("denoise: ")]
    assert "Traceback" not in done.stderr.decode()
    for name, what in expected.items():
        named = sum(line.startswith(f"denoise: {folder / name}: ") for line in lines)
        assert named + (name in written) == 1, name
        assert what == "either" or (what == "ok") == (name in written), name
        assert written.get(name) != b""
    assert set(written) <= set(expected)
    assert len(lines) == len(expected) - len(written) + 2  # the table that says what is expected, and the summary
    assert {name: hashlib.sha256(data).digest() for name, data in contents(folder).items()} == before


def test_every_file_of_a_corpus_is_done_or_named(tmp_path):
    expected = make_corpus.make(tmp_path / "in", 130, seed=1)
    assert set(expected.values()) == {"ok", "clear error", "either"}
    judged(tmp_path / "in", tmp_path / "out", expected, "corrupt", "--noise", "salt-pepper:amount=0.1")


@pytest.mark.slow
def test_every_file_of_a_larger_corpus_is_denoised_or_named(tmp_path):
    expected = make_corpus.make(tmp_path / "in", 400, seed=2)
    judged(tmp_path / "in", tmp_path / "out", expected, "run")


def test_a_corpus_is_a_function_of_its_seed(tmp_path):
    made = [make_corpus.make(tmp_path / name, 95, seed=3) for name in ("a", "b")]
    assert made[0] == made[1]
    first, second = (contents(tmp_path / name) for name in ("a", "b"))
    # Ogg takes its serial number from the clock.
    assert {n: d for n, d in first.items() if d[:4] != b"OggS"} == {
        n: d for n, d in second.items() if d[:4] != b"OggS"
    }


@pytest.mark.slow
@pytest.mark.skipif(not TORTURE.exists(), reason="needs ../shared/tools")
@pytest.mark.parametrize(("mode", "files"), [("folder", 200), ("kill9", 30), ("file", 20)])
def test_the_torture_tool_finds_nothing(mode, files, tmp_path):
    make_corpus.make(tmp_path, 400, seed=4)
    command = f"{sys.executable} -m denoise_cli run {{in}} -o {{out}}"
    done = subprocess.run(
        [sys.executable, TORTURE, "--cmd", command, "--corpus", tmp_path, "--mode", mode, "--sample", str(files),
         "--mem-mb", "1000", "--kills", "5"],
        capture_output=True, text=True, check=False, timeout=3000, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_memory_stays_flat_over_many_files_and_the_counts_are_exact(model):
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "soak.py", "--files", "1500", "--model", model],
        capture_output=True, text=True, check=False, timeout=3000, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
