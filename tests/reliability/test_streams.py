"""Standard streams that are closed, full or gone, what C libraries write to them, and signals at any moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import ROOT

from denoise_cli.cli import screen, streams


def shell(line: str, folder: Path) -> subprocess.CompletedProcess[bytes]:
    """Run a line of bash in `folder`, where $denoise is the command."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "denoise": f"{sys.executable} -m denoise_cli"}
    return subprocess.run(["bash", "-c", line], cwd=folder, capture_output=True, timeout=300, check=False, env=env)


def python(code: str, **options: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, timeout=120, check=False, **options
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", ["--version", "corrupt p0.png --std 5 -n", "corrupt --help",
                                       "corrupt p0.png --std 5 -o -"])  # fmt: skip
def test_a_full_stdout_is_one_line(arguments, good):
    done = shell(f"$denoise {arguments} > /dev/full", good)
    assert (done.returncode, done.stderr) == (1, b"denoise: no space left on device: standard output\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_stderr_stops_no_work(good, tmp_path):
    done = shell(f"$denoise corrupt p0.png absent.png --std 5 -o {tmp_path}/ 2> /dev/full", good)
    assert done.returncode == 1  # for the file that is absent
    assert (tmp_path / "p0.png").stat().st_size


def test_the_version_needs_no_stdout(good):
    done = shell("$denoise --version >&-", good)
    assert (done.returncode, done.stderr) == (0, b"")


def test_with_all_streams_closed_an_output_is_whole(good, tmp_path):
    """Else the first file that is opened would be descriptor 2, where C libraries complain."""
    done = shell(f"$denoise corrupt p0.png --std 5 -o {tmp_path}/x.png && "
                 f"$denoise corrupt p0.png --std 5 -o {tmp_path}/y.png <&- >&- 2>&-", good)  # fmt: skip
    assert done.returncode == 0
    assert (tmp_path / "x.png").read_bytes() == (tmp_path / "y.png").read_bytes()


def test_closed_descriptors_are_filled():
    code = ("import os; from denoise_cli.cli import streams; os.close(0); os.close(2)\n"
            "with streams.held(): fd = os.open('/dev/zero', os.O_RDONLY); print(fd)")  # fmt: skip
    assert int(python(code).stdout) > 2


def test_what_c_libraries_write_to_stderr_is_not_seen_and_our_lines_are():
    code = ("import os, sys; from denoise_cli.cli import screen, streams\n"
            "with streams.held(): os.write(2, b'noise\\n'); screen.say('a line'); print('x', file=sys.stderr)\n"
            "os.write(2, b'after\\n')")  # fmt: skip
    assert python(code).stderr == b"denoise: a line\nx\nafter\n"
    assert b"noise" in python(code, env={**os.environ, "DENOISE_DEBUG": "1"}).stderr


def test_a_stream_of_a_test_is_left_alone(capfd):
    with streams.held():
        os.write(2, b"seen\n")
        screen.say("too")
    assert capfd.readouterr().err == "seen\ndenoise: too\n"


# --- Signals ------------------------------------------------------------------------------------------------

SLOW = "import time; time.sleep(30)"


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_while_all_is_imported_is_one_line(sent, code):
    """The import of the command line is held up, so that the signal surely falls into it."""
    script = (
        "import importlib.abc, sys, time\n"
        "class Slow(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'denoise_cli.cli': print('now', flush=True); time.sleep(30)\n"
        "sys.meta_path.insert(0, Slow())\n"
        "from denoise_cli.__main__ import main; main()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.readline()
    process.send_signal(sent)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert err in (b"denoise: interrupted\n", b"denoise: terminated\n")


def test_corrupt_ends_in_the_midst_of_a_long_recording_and_leaves_nothing(tmp_path):
    with soundfile.SoundFile(tmp_path / "long.wav", "w", 16_000, 1, "PCM_16") as file:
        for _ in range(180):
            file.write(np.zeros(60 * 16_000, np.int16))
    line = [sys.executable, "-m", "denoise_cli", "corrupt", str(tmp_path / "long.wav"), "--noise", "pink:std=0.1"]
    process = subprocess.Popen(line, cwd=ROOT, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".denoise-*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    assert process.poll() is None, "three hours take longer"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, b"denoise: interrupted\n")
    assert [path.name for path in tmp_path.iterdir()] == ["long.wav"]


def test_a_second_signal_kills():
    script = (
        "import time; from denoise_cli.cli import streams\n"
        "with streams.held():\n"
        "    try: print('now', flush=True); time.sleep(30)\n"
        "    finally: print('cleaning', flush=True); time.sleep(30)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == b"cleaning\n"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT


def test_an_interrupt_that_is_ignored_stays_so():
    code = ("import signal; from denoise_cli.cli import streams; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
            "with streams.held(): print(signal.getsignal(signal.SIGINT) == signal.SIG_IGN)")  # fmt: skip
    assert python(code).stdout == b"True\n"


def test_a_call_of_a_model_ends_when_it_is_cancelled():
    """A tile may take many seconds; nobody waits for it after Ctrl-C."""
    import threading

    import numpy as np

    from denoise_cli import shipped
    from denoise_cli.errors import ModelError
    from denoise_cli.session import Session

    session = Session(shipped.locate("image"), "cpu")
    ended: list[object] = []

    def call() -> None:
        try:
            ended.append(session(np.zeros((1, 3, 1792, 1792), np.float32)))
        except ModelError as error:
            ended.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    while not session._running:
        time.sleep(0.001)
    while thread.is_alive():
        session.cancel([thread.ident])
        thread.join(0.05)
    assert isinstance(ended[0], ModelError)  # seconds before it would have been done
    assert session(np.zeros((1, 3, 64, 64), np.float32)).shape == (1, 3, 64, 64)  # and others go on
