"""A command ends soon after a signal, also where a codec or a pipe cannot be interrupted, and leaves no part."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

from denoise_cli import noising
from denoise_cli.corrupt import parse
from denoise_cli.errors import OutputError
from denoise_cli.media import beside, image_sink
from denoise_cli.media import image as images
from denoise_cli.media.beside import Replacing
from denoise_cli.media.files import Job

SCRIPT = """
import ctypes, sys
from denoise_cli.media import beside, image_sink
{}
def told(*arguments):
    print("now", flush=True)
    return real(*arguments)
{} = told
from denoise_cli.__main__ import main
main()
"""
# In C, without the interpreter's lock: nothing ends it.
STUCK = SCRIPT.format("real = lambda *_: ctypes.CDLL(None).sleep(60)", "image_sink.ImageSink._save")
SAVING = SCRIPT.format("real = image_sink.ImageSink._save", "image_sink.ImageSink._save")
READING = SCRIPT.format("real = beside.spool", "beside.spool")
NOISE = ["corrupt", "--std", "20", "-q"]
LINES = {signal.SIGINT: b"denoise: interrupted\n", signal.SIGTERM: b"denoise: terminated\n"}
SOON = 15.0  # seconds, where it is about 1: the machine may be busy


def ended(script: str, arguments: list[str], sent: signal.Signals) -> float:
    """Seconds that a command takes to end once it has said where it is; its line and its exit code are checked."""
    process = subprocess.Popen(
        [sys.executable, "-c", script, *arguments], env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    with process:
        assert process.stdout.readline() == b"now\n"
        time.sleep(0.3)
        began = time.monotonic()
        process.send_signal(sent)
        code = process.wait(timeout=60)
        took = time.monotonic() - began
        assert (code, process.stdout.read(), process.stderr.read()) == (128 + sent, b"", LINES[sent])
    return took


@pytest.mark.parametrize("sent", LINES)
@pytest.mark.parametrize("command", [NOISE, ["run", "-q", "--threads", "1"]], ids=["corrupt", "run"])
def test_a_codec_that_cannot_be_stopped_is_not_waited_for(good: Path, tmp_path: Path, command, sent) -> None:
    assert ended(STUCK, [*command, str(good / "p0.png"), "-o", f"{tmp_path}/out/"], sent) < SOON
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(("name", "frames"), [("x.avif", 1), ("x.gif", 20)])
def test_real_encoders_are_left_in_the_midst(tmp_path: Path, name: str, frames: int) -> None:
    rng = np.random.default_rng(0)
    if frames > 1:  # seconds, also on a machine that has nothing else to do
        drawn = [Image.fromarray(rng.integers(0, 256, (240, 320), dtype=np.uint8)) for _ in range(frames)]
        options = {"save_all": True, "append_images": drawn[1:]}
    else:
        drawn = [Image.fromarray(rng.integers(0, 256, (1_200, 1_600, 3), dtype=np.uint8))]
        options = {"speed": 10}
    path = tmp_path / name
    drawn[0].save(path, **options)
    assert ended(SAVING, [*NOISE, str(path), "-o", str(tmp_path / f"out.{name}")], signal.SIGINT) < SOON
    assert [each.name for each in tmp_path.iterdir()] == [name]


def test_a_pipe_that_gives_nothing_is_not_waited_for(tmp_path: Path) -> None:
    assert ended(READING, [*NOISE, "-", "-o", str(tmp_path / "x.png")], signal.SIGTERM) < SOON
    assert list(tmp_path.iterdir()) == []


def test_a_closed_generator_waits_for_its_threads(good: Path, tmp_path: Path, monkeypatch) -> None:
    """However long that takes: a program goes on afterwards."""
    slow, real, before = threading.Event(), image_sink.ImageSink._save, threading.active_count()

    def save(self, image) -> None:
        if self._target.name.endswith("p2.png"):
            slow.set()
            time.sleep(1.5)
        real(self, image)

    monkeypatch.setattr(image_sink.ImageSink, "_save", save)
    jobs = [Job(good / name, tmp_path / name, Path(name)) for name in ("p0.png", "p2.png", "p4.png")]
    stream = noising.run(jobs, parse("gaussian:std=5"), hands=2)
    assert next(stream).error is None
    assert slow.wait(60)
    stream.close()
    assert threading.active_count() == before
    assert not beside._open
    assert not [each.name for each in tmp_path.iterdir() if each.suffix == beside.PART_SUFFIX]
    assert not (tmp_path / "p2.png").exists()


@pytest.mark.parametrize("suffix", [".png", ".tif", ".gif", ".webp"])
def test_an_encoder_that_asks_for_rows_is_stopped(tmp_path: Path, monkeypatch, suffix: str) -> None:
    path, real = tmp_path / f"x{suffix}", image_sink.ImageSink._save
    Image.fromarray(np.zeros((40, 50, 3), np.uint8)).save(path)

    def save(self, image) -> None:
        self.cancel()
        real(self, image)

    monkeypatch.setattr(image_sink.ImageSink, "_save", save)
    with path.open("rb") as file, Replacing(tmp_path / "out") as target:
        source = images.open_image(file, path.name)
        sink = source.save_to(target)
        sink.cancel()  # nothing is being encoded yet
        for block in source.blocks():
            sink.write(block)
        with pytest.raises(OutputError, match="killed"):
            sink.commit()
        sink.discard()
        sink.cancel()  # nor any more
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_parts_that_are_abandoned_go_and_what_is_no_longer_ours_stays(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from denoise_cli.media import beside\n"
        "there = Path(sys.argv[1]); parts = [beside.Replacing(there / name) for name in 'abc']\n"
        "parts[0].file.write(b'whole'); parts[0].commit(); parts[1]._part.rename(there / 'other')\n"
        "beside.abandon(); print(*sorted(each.name for each in there.iterdir()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, capture_output=True, timeout=60, check=True
    )
    assert done.stdout == b"a other\n"
