"""What a denoising autoencoder makes of a noisy series, against a moving average and a Savitzky-Golay filter.

python benchmarks/series.py [--steps 600]

The series is made here, three channels at 100 samples a second that share a rhythm of 8 to 12 per second whose
loudness comes and goes, as in an EEG, each with a drift of its own and short transients of a fixed shape. The first
half trains the net and tunes the filters (the window, and the order, with the best SNR at that noise); the second
half is scored: mean SNR over the channels in dB, before and after, at three levels of white noise. The net is one
for all levels and is not told which; the filters are tuned anew for each. It is trained by the library call behind
``denoise train --kind series`` and run as ``denoise run`` does.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import uniform_filter1d
from scipy.signal import savgol_filter

from denoise_cli import denoise
from denoise_cli.session import Session
from denoise_cli.signal import Header, Signal
from denoise_cli.train import fit, loop, tables

RATE = 100  # samples a second
SECONDS = 600
LEVELS = (0.25, 0.5, 1.0)  # of the noise, in standard deviations of a channel


def sensor(seed: int = 0) -> np.ndarray:
    """(3, T) float64, each channel of mean 0 and standard deviation 1."""
    rng = np.random.default_rng(seed)
    n = RATE * SECONDS
    slow = lambda width: uniform_filter1d(rng.standard_normal(n), width) * width**0.5  # noqa: E731 - about unit variance
    rhythm = np.sin(np.cumsum(2 * np.pi * (10 + 0.7 * slow(300)).clip(8, 12) / RATE))
    loud = np.clip(0.6 + 0.6 * slow(200), 0, None)
    shape = np.diff(np.hanning(26))  # a transient of a quarter of a second, up and down
    shape /= np.abs(shape).max()
    channels = []
    for share in (1.0, 0.7, -0.5):
        drift = uniform_filter1d(np.cumsum(rng.standard_normal(n)), 150) / 30
        drift -= uniform_filter1d(drift, 3000)
        spikes = np.convolve((rng.random(n) < 0.5 / RATE) * rng.uniform(2, 4, n), shape, "same")
        x = share * rhythm * loud + drift + spikes
        channels.append((x - x.mean()) / x.std())
    return np.stack(channels)


def snr(x: np.ndarray, clean: np.ndarray) -> float:
    """Mean over the channels, dB."""
    return float(np.mean(10 * np.log10(np.square(clean).sum(1) / np.square(x - clean).sum(1))))


def moving_average(noisy: np.ndarray, clean: np.ndarray, half: int) -> tuple[np.ndarray, str]:
    """Tuned on the first half."""
    best = max(range(1, 40, 2), key=lambda w: snr(uniform_filter1d(noisy[:, :half], w), clean[:, :half]))
    return uniform_filter1d(noisy, best), f"{best}"


def savitzky_golay(noisy: np.ndarray, clean: np.ndarray, half: int) -> tuple[np.ndarray, str]:
    """Tuned on the first half."""
    choices = [(w, order) for order in (2, 3, 4, 5) for w in range(order + 2 - order % 2 + 1, 60, 2) if w % 2]
    best = max(choices, key=lambda c: snr(savgol_filter(noisy[:, :half], *c), clean[:, :half]))
    return savgol_filter(noisy, *best), "{}, order {}".format(*best)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=600)
    options = parser.parse_args()
    torch.set_num_threads(1)
    began = time.process_time()
    clean = sensor()
    half = clean.shape[1] // 2
    with tempfile.TemporaryDirectory() as folder:
        data, model = Path(folder, "clean.npy"), Path(folder, "model.onnx")
        np.save(data, clean[:, :half].astype(np.float32))
        settings = loop.Options(
            arch="series", noise="gaussian:std=0-1.2", loss="mse", optimiser=tables.OPTIMISER, lr=3e-3,
            batch_size=tables.BATCH["series"], patch=tables.SEGMENT, steps=options.steps, ema=0.99,
        )  # fmt: skip
        fit.fit(tables.Tables(data, settings, kind="series"), model, device="cpu")
        session = Session(model, "cpu")
    print(
        "| noise | noisy | moving average (window) | Savitzky-Golay (window) | autoencoder |\n|---|---|---|---|---|"
    )
    for level in LEVELS:
        noisy = clean + level * np.random.default_rng(7).standard_normal(clean.shape)
        signal = Signal(noisy.astype(np.float32)[:, half:, None], Header("series", 3, half))
        ours = denoise.signal(signal, session, denoise.Options(threads=1))[:, :, 0]
        cells = [f"{snr(noisy[:, half:], clean[:, half:]):.1f}"]
        for tuned in (moving_average, savitzky_golay):
            y, how = tuned(noisy, clean, half)
            cells.append(f"{snr(y[:, half:], clean[:, half:]):.1f} ({how})")
        cells.append(f"{snr(ours, clean[:, half:]):.1f}")
        print(f"| {level:g} | " + " | ".join(cells) + " |", flush=True)
    print(f"\n{options.steps} steps; {time.process_time() - began:.0f} s of one core")


if __name__ == "__main__":
    main()
