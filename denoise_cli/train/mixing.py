"""Speech and noise to batches of mixtures, made on the fly.

    speech -> speed -> tone, brightness -> room -> floor, rumble --- gain -- clean
    noise (one or two, or coloured) -> speed -> tone to an SNR - + - noisy

As in data.py a batch is a pure function of (seed, step), so a run that is killed and resumed hears the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from denoise_cli.corrupt.level import BELOW, FRAME
from denoise_cli.errors import DenoiseError, TrainingError
from denoise_cli.train.data import DECODERS
from denoise_cli.train.stream import Pair, Stream

BUDGET = 2 << 30  # bytes of decoded recordings that are kept in memory, as int16


@dataclass(frozen=True)
class Mixing:
    """How a mixture is drawn. Probabilities are per sample, ranges are drawn from uniformly."""

    snr: tuple[float, float] = (-6, 20)  # dB, of the active speech to the noise
    high: float = 0.25  # probability of a better ratio: who never hears one takes every loud sibilant for noise
    high_snr: tuple[float, float] = (20, 45)  # dB
    faint: float = 30.0  # dB; noise further below the speech than this counts as clean, like the floor
    level: tuple[float, float] = (-31, -15)  # dB of full scale, rms of what is active; hearing.py brings it there
    speed: tuple[float, float] = (0.84, 1.18)  # tape speed: tempo and pitch together
    noise_speed: tuple[float, float] = (0.7, 1.4)  # the same of noises
    tone: float = 9.0  # dB, about the standard deviation of a random smooth filter over the spectrum, at its ends
    bright: float = 0.2  # probability of a voice far brighter than most: sibilants louder than vowels, and no noise
    bright_gain: tuple[float, float] = (6, 24)  # dB, from about 4 kHz on
    room: float = 0.3  # probability of a synthetic room
    decay: tuple[float, float] = (0.1, 0.7)  # seconds in which the room falls by 60 dB
    floor: float = 0.3  # probability of a faint hiss or rumble that counts as clean: what a good recording has
    floor_snr: tuple[float, float] = (30, 50)  # dB, of the active speech to it
    rumble: float = 0.12  # probability of a steady rumble that counts as clean: speech of many corpora has it
    rumble_snr: tuple[float, float] = (4, 25)  # dB, of the active speech to it
    rumble_edge: tuple[float, float] = (15, 90)  # Hz, above which it falls away
    second: float = 0.3  # probability of a second noise
    coloured: float = 0.15  # probability of synthetic noise, between white and brown
    clean: float = 0.06  # probability of no noise: clean speech must come back
    empty: float = 0.06  # probability of no speech, and of noise at that level instead


@dataclass(frozen=True)
class Batch:
    noisy: np.ndarray  # (B, 1, T) float32 in [-1, 1]
    clean: np.ndarray  # (B, 1, T)


def load(
    paths: Sequence[Path], rate: int, on_skip: Callable[[Path, str], None], *, budget: int = BUDGET
) -> list[np.ndarray]:
    """Decode recordings to mono (T,) int16 at `rate`, together about `budget` bytes at most.

    Of a recording above its equal share the beginning is kept. Files that cannot be read are reported and
    left out. Raises TrainingError if none is left.
    """
    share = budget // 2 // max(1, len(paths))

    def decode(path: Path) -> np.ndarray | DenoiseError:
        try:
            return _decode(path, rate, share)
        except DenoiseError as error:
            return error

    clips = []
    with ThreadPoolExecutor(DECODERS) as pool:
        for path, decoded in zip(paths, pool.map(decode, paths), strict=True):
            if isinstance(decoded, DenoiseError):
                on_skip(path, str(decoded))
            elif np.abs(decoded).max(initial=0) > 0:
                clips.append(decoded)
            else:
                on_skip(path, "silent")
    if not clips:
        raise TrainingError("no recording to train on")
    return clips


def _decode(path: Path, rate: int, limit: int) -> np.ndarray:
    import soxr

    from denoise_cli.media import audio
    from denoise_cli.media.files import open_input

    with open_input(path) as file:
        source = audio.open_audio(file, str(path))
        assert source.header.rate is not None, "a recording has a rate"
        stream = soxr.ResampleStream(source.header.rate, rate, 1, dtype="float32")
        parts, length = [], 0
        for block in source.blocks():
            parts.append(stream.resample_chunk(np.ascontiguousarray(block[:, :, 0].mean(0))))
            length += len(parts[-1])
            if length >= limit:
                break
        parts.append(stream.resample_chunk(np.empty(0, np.float32), last=True))
        return (np.concatenate(parts)[:limit].clip(-1, 1) * 32767).round().astype(np.int16)


class Mixtures(Stream[Batch]):
    """Batches of (noisy, clean) segments of `length` samples at `rate`.

    A clip is drawn in proportion to its length, so that every second is equally likely.
    """

    def __init__(
        self,
        speech: Sequence[np.ndarray],
        noise: Sequence[np.ndarray],
        rate: int,
        length: int,
        batch_size: int,
        seed: int,
        mixing: Mixing | None = None,
    ):
        self.speech, self.noise = speech, noise
        self.rate, self.length, self.batch_size, self.seed = rate, length, batch_size, seed
        self.mixing = mixing or Mixing()
        self._speech_ends = np.cumsum([len(clip) for clip in speech])
        self._noise_ends = np.cumsum([len(clip) for clip in noise])

    def batch(self, step: int) -> Batch:
        rng = np.random.default_rng([self.seed, step])
        pairs = [self.sample(rng) for _ in range(self.batch_size)]
        noisy, clean = (np.stack(side)[:, None].astype(np.float32) for side in zip(*pairs, strict=True))
        return Batch(noisy, clean)

    def pair(self, batch: Batch, device: torch.device, generator: torch.Generator) -> Pair:
        """(noisy, clean), (B, 1, T) each, on the device; everything was drawn with the batch."""
        return Pair(torch.from_numpy(batch.noisy).to(device), torch.from_numpy(batch.clean).to(device))

    def sample(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """One (noisy, clean), (T,) each."""
        m = self.mixing
        clean = self._voice(rng)
        clean *= 10 ** (rng.uniform(*m.level) / 20) / max(active_rms(clean, self.rate), 1e-5)
        kind = rng.random()
        if kind < m.clean:
            noise = np.zeros_like(clean)
        else:
            noise = self._noise(rng)
            snr = rng.uniform(*(m.high_snr if rng.random() < m.high else m.snr))
            empty = kind < m.clean + m.empty
            below = 10 ** (-(0.0 if empty else snr) / 20)
            noise *= active_rms(clean, self.rate) / max(active_rms(noise, self.rate), 1e-7) * below
            if empty:
                clean = np.zeros_like(clean)
            elif snr > m.faint:
                clean = clean + noise
                noise = np.zeros_like(clean)
        noisy = clean + noise
        loudest = np.abs(noisy).max(initial=0)
        if loudest > 0.99:  # what a recorder would have turned down
            noisy, clean = noisy * (0.99 / loudest), clean * (0.99 / loudest)
        return noisy, clean

    def _voice(self, rng: np.random.Generator) -> np.ndarray:
        m = self.mixing
        x = self._played(rng, self.speech, self._speech_ends, m.speed, loop=False)
        x = _toned(rng, x, m.tone)
        if rng.random() < m.bright:
            x = _brightened(x, self.rate, rng.uniform(*m.bright_gain), rng.uniform(2500, 5000))
        if rng.random() < m.room:
            x = _echoed(rng, x, self.rate, rng.uniform(*m.decay))
        if rng.random() < m.floor:
            x = self._under(rng, x, _coloured(rng, self.length, rng.uniform(0, 2)), m.floor_snr)
        if rng.random() < m.rumble:
            x = self._under(rng, x, _rumble(rng, self.length, self.rate, rng.uniform(*m.rumble_edge)), m.rumble_snr)
        return x

    def _played(
        self, rng: np.random.Generator, clips: Sequence[np.ndarray], ends: np.ndarray,
        speeds: tuple[float, float], *, loop: bool,
    ) -> np.ndarray:  # fmt: skip
        """What `_cut` takes, at a tape speed drawn from `speeds`."""
        import soxr

        speed = rng.uniform(*speeds)
        taken = _cut(rng, clips, ends, math.ceil(self.length * speed) + 16, loop=loop)
        return _fitted(soxr.resample(taken, speed * self.rate, self.rate, quality="HQ"), self.length)

    def _under(
        self, rng: np.random.Generator, x: np.ndarray, other: np.ndarray, snr: tuple[float, float]
    ) -> np.ndarray:
        """A voice with another sound, at a ratio drawn from `snr` below it."""
        under = 10 ** (-rng.uniform(*snr) / 20)
        return x + other * np.float32(under * active_rms(x, self.rate) / active_rms(other, self.rate))

    def _noise(self, rng: np.random.Generator) -> np.ndarray:
        m = self.mixing
        if not self.noise or rng.random() < m.coloured:
            return _coloured(rng, self.length, rng.uniform(0, 2))
        x = _toned(rng, self._played(rng, self.noise, self._noise_ends, m.noise_speed, loop=True), m.tone)
        if rng.random() < m.second:
            other = self._played(rng, self.noise, self._noise_ends, m.noise_speed, loop=True)
            balance = 10 ** (rng.uniform(-10, 10) / 20)
            x = x + other * balance * active_rms(x, self.rate) / max(active_rms(other, self.rate), 1e-7)
        return x


def active_rms(x: np.ndarray, rate: int) -> float:
    """Active level of (n,) as `ActiveLevelMeter` has it, but for steps of its histogram; a batch asks for many."""
    frame = max(1, round(rate * FRAME))
    count = max(1, len(x) // frame)
    power = np.square(x[: count * frame].reshape(count, -1)).mean(1)
    return float(np.sqrt(power[power >= power.max() * 10 ** (-BELOW / 10)].mean()))


def _cut(
    rng: np.random.Generator, clips: Sequence[np.ndarray], ends: np.ndarray, length: int, *, loop: bool
) -> np.ndarray:
    """(length,) float32 from a random place; a shorter clip is looped, or stands somewhere in silence."""
    clip = clips[int(np.searchsorted(ends, rng.integers(ends[-1]), side="right"))]
    if len(clip) >= length:
        start = int(rng.integers(len(clip) - length + 1))
        return clip[start : start + length] / np.float32(32768)
    if loop:
        start = int(rng.integers(len(clip)))
        return np.take(clip, np.arange(start, start + length), mode="wrap") / np.float32(32768)
    x = np.zeros(length, np.float32)
    start = int(rng.integers(length - len(clip) + 1))
    x[start : start + len(clip)] = clip / np.float32(32768)
    return x


def _fitted(x: np.ndarray, length: int) -> np.ndarray:
    return x[:length] if len(x) >= length else np.pad(x, (0, length - len(x)))


def _toned(rng: np.random.Generator, x: np.ndarray, strength: float) -> np.ndarray:
    """Through a random smooth filter without delay: a cosine series of three terms, in dB over the spectrum."""
    place = np.linspace(0, 1, len(x) // 2 + 1, dtype=np.float32)
    terms = rng.standard_normal(3) * strength / np.array([1, 2, 3])
    gain = sum(a * np.cos(np.pi * k * place) for k, a in enumerate(terms, 1))
    return np.fft.irfft(np.fft.rfft(x) * 10 ** (gain / 20), len(x)).astype(np.float32)


def _brightened(x: np.ndarray, rate: int, gain: float, edge: float) -> np.ndarray:
    """With what lies above `edge` Hz louder by `gain` dB: half of that at the edge, none two octaves below."""
    octaves = np.log2(np.maximum(np.fft.rfftfreq(len(x), 1 / rate), 1) / edge)
    return np.fft.irfft(np.fft.rfft(x) * 10 ** (gain / 20 / (1 + np.exp(-4 * octaves))), len(x)).astype(np.float32)


def _echoed(rng: np.random.Generator, x: np.ndarray, rate: int, decay: float) -> np.ndarray:
    """In a room: the direct sound, and noise that falls by 60 dB in `decay` seconds (Polack 1988)."""
    length = int(decay * rate)
    time = np.arange(length) / length
    tail = rng.standard_normal(length) * 10 ** (-3 * time)
    tail *= 10 ** (rng.uniform(-12, 3) / 20) / np.sqrt(np.square(tail).sum())  # reverberant against direct sound
    tail[0] = 1.0
    size = 1 << (len(x) + length).bit_length()
    return np.fft.irfft(np.fft.rfft(x, size) * np.fft.rfft(tail, size), size)[: len(x)].astype(np.float32)


def _coloured(rng: np.random.Generator, length: int, slope: float) -> np.ndarray:
    """Noise whose power falls as 1 / f^slope: 0 white, 1 pink, 2 brown."""
    spectrum = np.fft.rfft(rng.standard_normal(length))
    spectrum[1:] *= np.arange(1, len(spectrum)) ** (-slope / 2)
    spectrum[0] = 0
    return np.fft.irfft(spectrum, length).astype(np.float32)


def _rumble(rng: np.random.Generator, length: int, rate: int, edge: float) -> np.ndarray:
    """Brown noise that falls by 24 dB an octave more above `edge` Hz."""
    spectrum = np.fft.rfft(_coloured(rng, length, 2))
    frequency = np.fft.rfftfreq(length, 1 / rate)
    return np.fft.irfft(spectrum / np.sqrt(1 + (frequency / edge) ** 8), length).astype(np.float32)
