"""Speech quality beside noisereduce, ffmpeg's afftdn and log-MMSE, on the same files in the same run.

    pip install "denoise-cli[speech]" noisereduce logmmse        (and ffmpeg, from the system)
    python benchmarks/speech.py DATA [--model speech] [--stamp]

DATA holds audio/test/mixed60/{clean,noisy}. Every file is scored at its own rate and length, and no delay is
forgiven (but by PESQ, which aligns by itself): afftdn answers late, so its output is moved to where it fits its
input best before it is scored. A system that is not installed is left out, and says so.
``--stamp`` writes our row into the model's card. The real-time factor is processor time, of the call alone.
"""

from __future__ import annotations

import argparse
import importlib.util
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from denoise_cli import denoise, shipped
from denoise_cli.media import audio
from denoise_cli.metrics import NoScore, pesq, si_sdr, stoi
from denoise_cli.session import Session
from denoise_cli.signal import Signal

System = Callable[[Signal], np.ndarray]  # (C, T, 1) at the header's rate -> (C, T, 1)
COLUMNS = ("PESQ-WB", "STOI", "ESTOI", "SI-SDR")


def ours(model: str) -> System:
    session = Session(shipped.locate(model), "cpu")
    return lambda noisy: denoise.signal(noisy, session, denoise.Options(threads=1, gentle=True))


def noisereduce(noisy: Signal) -> np.ndarray:
    import noisereduce

    return noisereduce.reduce_noise(y=noisy.data[:, :, 0], sr=noisy.header.rate)[:, :, None]


def logmmse(noisy: Signal) -> np.ndarray:
    import logmmse

    y = np.zeros_like(noisy.data)
    for channel, x in enumerate(noisy.data[:, :, 0]):
        clean = np.asarray(logmmse.logmmse(x, noisy.header.rate))[: len(x)]
        y[channel, : len(clean), 0] = clean
    return y


def afftdn(noisy: Signal) -> np.ndarray:
    channels, rate = len(noisy.data), str(noisy.header.rate)
    form = ["-f", "f32le", "-ar", rate, "-ac", str(channels)]
    command = ["ffmpeg", "-v", "error", *form, "-i", "-", "-af", "afftdn", *form, "-"]
    coded = subprocess.run(
        command, input=noisy.data[:, :, 0].T.tobytes(), stdout=subprocess.PIPE, check=True
    ).stdout
    return aligned(np.frombuffer(coded, np.float32).reshape(-1, channels).T, noisy.data[:, :, 0])[:, :, None]


def aligned(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Move y (C, m) to where it correlates best with x (C, n), and cut or fill it with zeros to (C, n)."""
    size = 1 << (x.shape[1] + y.shape[1]).bit_length()
    match = (np.fft.rfft(y, size) * np.fft.rfft(x, size).conj()).sum(0)
    lag = int(np.argmax(np.fft.irfft(match, size)))
    moved = np.roll(np.pad(y, ((0, 0), (0, size - y.shape[1]))), -lag, axis=1)
    return moved[:, : x.shape[1]]


def systems(model: str) -> dict[str, System]:
    found: dict[str, System] = {"noisy": lambda noisy: noisy.data}
    for name, system in (("noisereduce", noisereduce), ("logmmse", logmmse)):
        if importlib.util.find_spec(name):
            found[name] = system
        else:
            print(f"{name} is not installed: left out")
    if shutil.which("ffmpeg"):
        found["ffmpeg afftdn"] = afftdn
    else:
        print("ffmpeg is not installed: left out")
    return found | {model: ours(model)}


def scores(y: np.ndarray, clean: np.ndarray, rate: int) -> list[float]:
    try:
        heard = pesq(y, clean, rate)
    except NoScore:
        heard = np.nan
    return [heard, stoi(y, clean, rate), stoi(y, clean, rate, extended=True), si_sdr(y, clean)]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="speech")
    parser.add_argument("--only", action="store_true", help="the model alone, without the others")
    parser.add_argument("--stamp", action="store_true", help="write the figures into the model's card")
    arguments = parser.parse_args()
    folder = arguments.data / "audio/test/mixed60"
    names = sorted(path.name for path in (folder / "noisy").iterdir())
    tried = {arguments.model: ours(arguments.model)} if arguments.only else systems(arguments.model)
    print(f"{'system':16}" + "".join(f"{column:>9}" for column in COLUMNS) + f"{'RTF':>9}   ({len(names)} files)")
    for name, system in tried.items():
        rows, seconds, length = [], 0.0, 0.0
        for file in names:
            clean, noisy = (audio.read(folder / side / file) for side in ("clean", "noisy"))
            began = time.process_time()
            y = system(noisy)
            seconds += time.process_time() - began
            length += noisy.data.shape[1] / noisy.header.rate
            rows.append(scores(y[:, :, 0], clean.data[:, :, 0], noisy.header.rate))
        means = np.nanmean(rows, axis=0)
        print(f"{name:16}" + "".join(f"{value:9.3f}" for value in means) + f"{seconds / length:9.4f}", flush=True)
    if arguments.stamp:
        from quality import stamp

        figures = {
            f"mixed60 {column}": round(float(value), 3) for column, value in zip(COLUMNS, means, strict=True)
        }
        stamp(shipped.locate(arguments.model), figures)


if __name__ == "__main__":
    main()
