"""Whole commands on recordings: real-time factor, memory, clean speech, and the band above the model's.

    python benchmarks/recordings.py DATA [--model speech] [--hours 10] [--only speed|memory|large|clean|band]

DATA holds audio/train and audio/test/mixed60.
speed   `denoise run` on ten minutes of 16 kHz mono, a whole process, on one core and on two; and what a DnCNN
        17 x 64 takes for a megapixel, so that machines can be compared (needs torch, to make it)
memory  the peak of `denoise run` for a WAV of 48 kHz mono
large   an output of more than 4 GB: 384 kHz, 16 bits in, 32 out; its length and its end
clean   clean speech through the model against itself, and silence
band    of the 48 kHz pairs, how much of the clean part above 8 kHz is left: the projection of the output on the
        clean speech there, over the louder half of each file
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

from denoise_cli import denoise, shipped
from denoise_cli.media import audio
from denoise_cli.metrics import NoScore, pesq, stoi
from denoise_cli.session import Session
from denoise_cli.signal import Signal

DENOISE = str(Path(sys.executable).with_name("denoise"))

AS_RUN = denoise.Options(gentle=True)  # what the command does by itself


def measured(source: Path, model: str, cores: int, *options: str) -> tuple[float, float, float]:
    """Processor seconds, wall seconds and peak megabytes of one command that may use so many cores."""
    target = source.with_name("out.wav")
    places = [str(source), "-o", str(target)]
    command = [DENOISE, "run", "-q", "-m", model, *options, *places, "--on-exists", "overwrite"]
    allowed = os.sched_getaffinity(0)
    began = time.perf_counter()
    try:  # the command inherits it, and starts a thread for each core
        os.sched_setaffinity(0, sorted(allowed)[:cores])
        process = subprocess.Popen(command)
    finally:
        os.sched_setaffinity(0, allowed)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, "the command failed"
    assert soundfile.info(target).frames == soundfile.info(source).frames, "the length changed"
    return usage.ru_utime + usage.ru_stime, time.perf_counter() - began, usage.ru_maxrss / 1024


def talk(data: Path, seconds: float, rate: int = 16_000) -> np.ndarray:
    """Training speech end to end, with hiss, (n,)."""
    clips, length = [], 0
    for path in sorted((data / "audio/train/speech/libri16").iterdir()):
        clips.append(audio.read(path).data[0, :, 0])
        length += len(clips[-1])
        if length >= seconds * rate:
            break
    x = np.resize(np.concatenate(clips), int(seconds * rate))
    return x + 0.01 * np.random.default_rng(0).standard_normal(len(x), dtype=np.float32)


def speed(data: Path, model: str, folder: Path) -> None:
    from speed import dncnn, seconds

    path = folder / "talk.wav"
    soundfile.write(path, talk(data, 600), 16_000, subtype="PCM_16")
    one, two = (min(measured(path, model, cores)[1] for _ in range(3)) for cores in (1, 2))
    net = Session(dncnn(folder), "cpu")
    quarter = np.random.default_rng(0).random((1, 1, 512, 512), dtype=np.float32)
    picture = min(seconds(lambda: net(quarter)) for _ in range(3)) / quarter.size * 1e6
    print(f"ten minutes of 16 kHz mono, whole command: real-time factor {one / 600:.4f} on one core")
    print(f"two cores: {one / two:.2f} times as fast")
    print(f"a DnCNN 17 x 64 takes {picture:.2f} s per megapixel: {picture / one * 600:.0f} s of sound", flush=True)


def memory(data: Path, model: str, folder: Path, hours: float) -> None:
    path, minute = folder / "long.wav", np.repeat(talk(data, 60), 3)
    with soundfile.SoundFile(path, "w", 48_000, 1, "PCM_16") as file:
        for _ in range(round(hours * 60)):
            file.write(minute)
    _, wall, peak = measured(path, model, 2)
    print(f"{hours:g} hours of 48 kHz mono: peak {peak:.0f} MB, {wall:.0f} s", flush=True)


def large(data: Path, model: str, folder: Path) -> None:
    path, piece = folder / "large.wav", np.repeat(talk(data, 60), 24)
    with soundfile.SoundFile(path, "w", 384_000, 1, "PCM_16") as file:
        for _ in range(47):
            file.write(piece)
    _, seconds, peak = measured(path, model, 2, "--bit-depth", "32")
    made = folder / "out.wav"
    with soundfile.SoundFile(made) as y, soundfile.SoundFile(path) as x:
        for file in (x, y):
            file.seek(-384_000, soundfile.SEEK_END)
        a, b = x.read(), y.read()
        gain = float((a * b).sum() / np.square(a).sum())
        gigabytes = made.stat().st_size / 1e9
        print(
            f"output of {gigabytes:.2f} GB: {y.format} {y.subtype}, {y.frames} of {x.frames} frames, "
            f"gain in the last second {gain:.2f}, peak {peak:.0f} MB, {seconds:.0f} s",
            flush=True,
        )


def clean(data: Path, model: str) -> None:
    session = Session(shipped.locate(model), "cpu")
    scores = []
    for path in sorted((data / "audio/test/mixed60/clean").iterdir()):
        speech = audio.read(path)
        y = denoise.signal(speech, session, AS_RUN)[:, :, 0]
        x, rate = speech.data[:, :, 0], speech.header.rate
        try:
            scores.append((pesq(y, x, rate), stoi(y, x, rate)))
        except NoScore as reason:
            print(f"{path.name}: {reason}")
    heard, understood = np.mean(scores, axis=0)
    print(f"clean speech in: PESQ-WB {heard:.3f}, STOI {understood:.4f} ({len(scores)} files)")
    silence = np.zeros((1, 48_000, 1), np.float32)
    loudest = np.abs(denoise.signal(Signal(silence, speech.header), session, AS_RUN)).max()
    print(f"silence in: loudest sample {loudest:.1e}", flush=True)


def band(data: Path, model: str) -> None:
    session, kept = Session(shipped.locate(model), "cpu"), []
    for path in sorted((data / "audio/test/mixed60/clean").iterdir()):
        speech, noisy = audio.read(path), audio.read(path.parents[1] / "noisy" / path.name)
        rate = speech.header.rate
        if rate != 48_000:
            continue
        y = denoise.signal(noisy, session, AS_RUN)
        high = [above(x[0, :, 0], rate, 8000) for x in (speech.data, y)]
        count = len(high[0]) // 960
        s, y = (x[: count * 960].reshape(count, 960) for x in high)
        loud = np.square(s).sum(1) >= np.median(np.square(s).sum(1))
        kept.append(20 * np.log10((s[loud] * y[loud]).sum() / np.square(s[loud]).sum()))
    mean, worst = np.mean(kept), np.min(kept)
    print(f"above 8 kHz at 48 kHz: {mean:.2f} dB of the clean part, worst {worst:.2f} ({len(kept)} files)")


def above(x: np.ndarray, rate: int, limit: float) -> np.ndarray:
    spectrum = np.fft.rfft(x)
    spectrum[np.fft.rfftfreq(len(x), 1 / rate) < limit] = 0
    return np.fft.irfft(spectrum, len(x))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="speech")
    parser.add_argument("--hours", type=float, default=10)
    parser.add_argument("--only", choices=("speed", "memory", "large", "clean", "band"))
    arguments = parser.parse_args()
    data, model = arguments.data, arguments.model
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parts = {
            "speed": lambda: speed(data, model, folder),
            "memory": lambda: memory(data, model, folder, arguments.hours),
            "large": lambda: large(data, model, folder),
            "clean": lambda: clean(data, model),
            "band": lambda: band(data, model),
        }
        for part, measure in parts.items():
            if arguments.only in (None, part):
                measure()


if __name__ == "__main__":
    main()
