"""How far two recordings lie apart: SI-SDR, SNR, segmental SNR, log-spectral distance.

Recordings are (C, T), or (T,) for one channel, with full scale at -1 and 1, at any rate and length. Every metric is
the mean over the channels. No delay is forgiven: a result that comes ten samples late is a bad result.

What a metric cannot judge, such as a reference without a sound in it, raises `NoScore`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

SILENT_DB = 40.0  # frames this far below the loudest are silent: the dynamic range of speech in Taal et al. 2011
SEGMENT = 0.030  # seconds, under a Hann window that moves by a quarter of it
SEGMENT_DB = (-10.0, 35.0)  # limits of one frame
SPECTRUM = 0.032  # seconds, under a Hann window that moves by half of it
FLOOR_DB = -100.0  # below a sine of full scale: next to nothing is heard there, and 16 bits hold no more
BATCH = 1024  # frames at a time, so that the working set does not grow with the recording


class NoScore(ValueError):
    """A pair of recordings has no such score; the message says why, in a few words."""


def over_channels(score: Callable[[np.ndarray, np.ndarray], float], x: np.ndarray, reference: np.ndarray) -> float:
    """Mean of ``score(channel, reference channel)``, each (T,) float64, over the channels that have one.

    Raises
    ------
    ValueError
        The shapes differ, are neither (C, T) nor (T,), or hold no samples.
    NoScore
        No channel has a score.
    """
    if x.shape != reference.shape:
        raise ValueError(f"cannot compare shapes {x.shape} and {reference.shape}")
    if x.ndim not in (1, 2) or x.size == 0:
        raise ValueError(f"a recording is (C, T) or (T,) and not empty, not {x.shape}")
    scores: list[float] = []
    refusal = NoScore()
    for channel, clean in zip(np.atleast_2d(x), np.atleast_2d(reference), strict=True):
        try:
            scores.append(score(channel.astype(np.float64), clean.astype(np.float64)))
        except NoScore as error:
            refusal = error
    if not scores:
        raise refusal
    return sum(scores) / len(scores)


def si_sdr(x: np.ndarray, reference: np.ndarray) -> float:
    """Scale-invariant signal-to-distortion ratio in dB; infinite for a scaled copy, minus infinite for silence.

    J. Le Roux, S. Wisdom, H. Erdogan, J. Hershey, "SDR - half-baked or well done?", ICASSP 2019, equations 3 to 5:

        s = (x · r / |r|²) r,   10 log10(|s|² / |s - x|²)

    with the mean of x and of the reference r taken away first, so that an offset costs nothing.
    """

    def score(x: np.ndarray, r: np.ndarray) -> float:
        if np.ptp(r) == 0:
            raise NoScore("the reference is silent")
        if np.ptp(x) == 0:
            return -math.inf
        x, r = x - x.mean(), r - r.mean()
        r *= np.dot(x, r) / np.dot(r, r)
        x -= r
        return _decibels(np.dot(r, r), np.dot(x, x))

    return over_channels(score, x, reference)


def snr(x: np.ndarray, reference: np.ndarray) -> float:
    """Signal-to-noise ratio in dB: 10 log10(|r|² / |r - x|²); here a wrong gain and an offset are noise too."""

    def score(x: np.ndarray, r: np.ndarray) -> float:
        if not r.any():
            raise NoScore("the reference is silent")
        x -= r
        return _decibels(np.dot(r, r), np.dot(x, x))

    return over_channels(score, x, reference)


def segmental_snr(x: np.ndarray, reference: np.ndarray, rate: int) -> float:
    """Mean over short frames of the signal-to-noise ratio in dB, each limited to -10..35 dB.

    J. Hansen, B. Pellom, "An effective quality evaluation protocol for speech enhancement algorithms",
    ICSLP 1998; frames and limits as in P. Loizou, "Speech enhancement: theory and practice", 2nd edition,
    2013, section 11.4.1: 30 ms under a Hann window, moved by a quarter. Frames in which the reference
    lies 40 dB or more below its loudest frame are pauses and are left out, which Loizou's program does not do:
    there a pause counts -10 dB as soon as a trace of noise is left in it.
    """
    length = max(4, round(SEGMENT * rate))

    def score(x: np.ndarray, r: np.ndarray) -> float:
        if not r.any():
            raise NoScore("the reference is silent")
        energies = [
            (np.sum(np.square(b), axis=1), np.sum(np.square(a - b), axis=1))
            for a, b in _frames(x, r, length, length // 4)
        ]
        signal, noise = (np.concatenate(part) for part in zip(*energies, strict=True))
        heard = signal > signal.max() * 10 ** (-SILENT_DB / 10)
        if not heard.any():  # a sample or two, at the end of a window
            raise NoScore("too short")
        with np.errstate(divide="ignore"):  # no noise at all: infinite, and limited
            ratios = 10 * np.log10(signal[heard] / noise[heard])
        return float(np.mean(np.clip(ratios, *SEGMENT_DB)))

    return over_channels(score, x, reference)


def log_spectral_distance(x: np.ndarray, reference: np.ndarray, rate: int) -> float:
    """Root mean square distance of two log spectra in dB, averaged over the frames; 0 for equal recordings.

    A. Gray, J. Markel, "Distance measures for speech processing", IEEE Trans. ASSP 24(5), 1976, for p = 2:

        mean over frames of  sqrt(mean over frequencies of (10 log10 X - 10 log10 R)²)

    where X and R are the powers of 32 ms under a Hann window that moves by half. Powers below -100 dB of a
    sine of full scale count as -100 dB: digital silence lies infinitely far from what nobody hears either.
    """
    length = max(4, round(SPECTRUM * rate))

    def score(x: np.ndarray, r: np.ndarray) -> float:
        total, frames = 0.0, 0
        for a, b in _frames(x, r, length, length // 2):
            distance = _levels(a) - _levels(b)
            total += float(np.sum(np.sqrt(np.mean(np.square(distance), axis=1))))
            frames += len(a)
        return total / frames

    return over_channels(score, x, reference)


def _levels(frames: np.ndarray) -> np.ndarray:
    """(N, L) under a Hann window -> (N, L // 2 + 1) in dB of a sine of full scale, not below the floor."""
    power = np.square(np.abs(np.fft.rfft(frames)))
    power *= (4 / frames.shape[1]) ** 2  # a sine of amplitude 1 has half its amplitude, times L / 2, in its bin
    return 10 * np.log10(np.maximum(power, 10 ** (FLOOR_DB / 10)))


def _frames(x: np.ndarray, r: np.ndarray, length: int, hop: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield batches of frames of two (T,) signals under a Hann window, (N, length) each.

    Samples at the end that fill no frame are left out; a signal shorter than one frame is one, with zeros behind.
    """
    if len(x) < length:
        x, r = (np.pad(signal, (0, length - len(signal))) for signal in (x, r))
    window = np.hanning(length + 1)[:-1]
    a, b = (np.lib.stride_tricks.sliding_window_view(signal, length)[::hop] for signal in (x, r))
    for start in range(0, len(a), BATCH):
        part = slice(start, start + BATCH)
        yield a[part] * window, b[part] * window


def _decibels(signal: float, noise: float) -> float:
    """10 log10(signal / noise); infinite without noise, minus infinite without a signal."""
    if noise == 0:
        return math.inf
    return -math.inf if signal == 0 else 10 * math.log10(signal / noise)
