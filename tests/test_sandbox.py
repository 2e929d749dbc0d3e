"""The sandbox: answers come back; whatever takes too much, crashes or opens a file does not last."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from denoise_cli import sandbox

MEMORY, SECONDS = 256 << 20, 0.3


def length(data: bytes) -> str:
    sandbox.confine(MEMORY, SECONDS)
    return f"{len(data)} bytes – \udcff"


def too_much_memory(data: bytes) -> str:
    sandbox.confine(MEMORY, SECONDS)
    try:
        return str(len(bytearray(2 * MEMORY)))
    except MemoryError:
        return "refused"


def for_ever(data: bytes) -> str:
    sandbox.confine(MEMORY, SECONDS)
    while True:
        pass


def open_a_file(data: bytes) -> str:
    sandbox.confine(MEMORY, SECONDS)
    try:
        return Path(data.decode()).read_text()
    except OSError:
        return "refused"


def crash(data: bytes) -> str:
    sandbox.confine(MEMORY, SECONDS)
    os.abort()


def leave(data: bytes) -> str:
    os._exit(0)


def fail(data: bytes) -> str:
    raise ValueError("some fault")


def call(function, data: bytes = b"") -> str:
    return sandbox.call(__name__, function.__name__, data)


def test_an_answer_comes_back():
    assert call(length, bytes(3_000_000)) == "3000000 bytes – \\udcff"


def test_memory_is_bounded():
    assert call(too_much_memory) == "refused"


def test_processor_time_is_bounded():
    began = time.perf_counter()
    with pytest.raises(sandbox.Died, match="processor time"):
        call(for_ever)
    assert time.perf_counter() - began < 10  # 0.4 s where nothing else runs


def test_no_file_can_be_opened():
    assert call(open_a_file, os.fsencode(__file__)) == "refused"


@pytest.mark.parametrize(("function", "how"), [(crash, "SIGABRT"), (fail, "exit code 1")])
def test_a_child_that_dies_says_how(function, how, capfd):
    with pytest.raises(sandbox.Died, match=how):
        call(function)
    assert capfd.readouterr() == ("", "")


def test_a_child_that_leaves_has_given_no_answer():
    assert call(leave) == ""


def test_a_busy_machine_does_not_wait_for_ever(monkeypatch):
    monkeypatch.setattr(sandbox, "WALL", 0.01)
    with pytest.raises(sandbox.Died, match=r"more than 0\.01 s"):
        call(length)


def test_nothing_is_imported_from_the_folder_one_happens_to_be_in(tmp_path, monkeypatch):
    for name in ("subprocess", "importlib", "numpy", "denoise_cli"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    monkeypatch.chdir(tmp_path)
    call(length)
    assert not (tmp_path / "ran").exists()
