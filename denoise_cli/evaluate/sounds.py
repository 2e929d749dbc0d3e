"""Recordings: SI-SDR, SNR, spectral distance, STOI, PESQ, and the real-time factor.

Every file is scored at its own rate and length, and no delay is forgiven; STOI and PESQ resample by themselves.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from denoise_cli import metrics, noising
from denoise_cli.corrupt import Chain
from denoise_cli.errors import BackendError, InputError, UsageError, choice
from denoise_cli.evaluate.matching import Pair
from denoise_cli.evaluate.rows import Denoiser, Scored
from denoise_cli.media import files
from denoise_cli.metrics import NoScore, speech
from denoise_cli.signal import Header, Kind, Signal


@dataclass(frozen=True)
class Metric:
    """How a score is computed and shown."""

    heading: str  # with its unit
    score: Callable[[np.ndarray, np.ndarray, int], float]  # of (C, T), clean (C, T) and rate; may raise NoScore
    digits: int = 2
    package: str = ""  # what it needs beyond our own dependencies
    rising: bool = True  # higher is better


METRICS = {
    "si_sdr": Metric("SI-SDR dB", lambda x, clean, rate: metrics.si_sdr(x, clean)),
    "snr": Metric("SNR dB", lambda x, clean, rate: metrics.snr(x, clean)),
    "seg_snr": Metric("segSNR dB", metrics.segmental_snr),
    "lsd": Metric("LSD dB", metrics.log_spectral_distance, rising=False),
    "stoi": Metric("STOI", metrics.stoi, 3, "pystoi"),
    "estoi": Metric("ESTOI", partial(metrics.stoi, extended=True), 3, "pystoi"),
    "pesq_wb": Metric("PESQ-WB", partial(metrics.pesq, band="wb"), 2, "pesq"),
    "pesq_nb": Metric("PESQ-NB", partial(metrics.pesq, band="nb"), 2, "pesq"),
}


def installed() -> list[str]:
    """Names of the metrics that can be computed here."""
    return [name for name, metric in METRICS.items() if not metric.package or speech.installed(metric.package)]


def spelled(name: str) -> str:
    """A metric's name as the command line has it: ``si-sdr``; in JSON and CSV it is ``si_sdr``."""
    return name.replace("_", "-")


def chosen(text: str) -> list[str]:
    """``si-sdr,stoi`` -> names of METRICS, in that order.

    Raises UsageError for a name that is none, BackendError for one whose package is missing.
    """
    names = list(dict.fromkeys(name.strip().lower().replace("-", "_") for name in text.split(",")))
    for name in names:
        if name not in METRICS:
            raise UsageError(choice("metric", spelled(name), map(spelled, METRICS)))
        if (package := METRICS[name].package) and not speech.installed(package):
            raise BackendError(f"{spelled(name)} needs {package}, which is not installed; {speech.MEND}")
    return names


@dataclass(frozen=True)
class SoundRow:
    """The scores of one recording at one noise, by the names of METRICS; time for the denoiser alone."""

    kind: ClassVar[Kind] = "audio"

    file: str
    noise: str
    noisy: Mapping[str, float | None]  # None: no such score, for want of speech
    denoised: Mapping[str, float | None]
    samples: int  # of one channel
    rate: int
    seconds: float

    @property
    def real_time_factor(self) -> float:
        """Seconds of work for a second of sound."""
        return self.seconds * self.rate / self.samples

    @property
    def headline(self) -> str:
        return caption(self.denoised)

    def scores(self) -> dict[str, float | None]:
        noisy = {f"noisy_{name}": value for name, value in self.noisy.items()}
        return {**noisy, **self.denoised, "real_time_factor": self.real_time_factor}

    def flat(self) -> dict[str, Any]:
        about = {"file": self.file, "kind": self.kind, "noise": self.noise}
        return {**about, **self.scores(), "samples": self.samples, "rate": self.rate, "seconds": self.seconds}


def caption(scores: Mapping[str, float | None]) -> str:
    """The scores that say most, on one line: "SI-SDR 13.5 dB, PESQ-WB 2.10"."""
    best = [name for name in ("si_sdr", "pesq_wb") if scores.get(name) is not None] or list(scores)[:2]
    return ", ".join(_said(METRICS[name], scores[name]) for name in best)


def _said(metric: Metric, value: float | None) -> str:
    name, _, unit = metric.heading.partition(" ")
    return f"{name} -" if value is None else f"{name} {value:.{metric.digits}f} {unit}".rstrip()


def score(
    pair: Pair,
    denoiser: Denoiser | None,
    noise: Chain | None,
    label: str,
    seed: int,
    clip: bool,
    names: Sequence[str] | None = None,
) -> Scored:
    """Score one pair by the metrics that are named, or by all that are installed.

    Raises InputError where the two do not go together.
    """
    if pair.noisy is None:
        if noise is None:
            raise UsageError("give a folder of noisy files, or --noise")
        clean, noisy, header = _spoiled(pair.clean, noise, seed)
        noisy = header.stored(noisy) if clip else noisy
    else:
        from denoise_cli.media import audio

        reference, degraded = audio.read(pair.clean), audio.read(pair.noisy)
        clean, noisy, header = reference.data, degraded.data, degraded.header
        if (a := _size(noisy, header)) != (b := _size(clean, reference.header)):
            raise InputError(f"{pair.name}: noisy has {a}, clean has {b}")
    began = time.perf_counter()
    denoised = noisy if denoiser is None else denoiser(Signal(noisy, header))
    seconds = time.perf_counter() - began
    denoised = header.stored(denoised)

    rate = header.rate or 0
    clean, noisy, denoised = (x[:, :, 0] for x in (clean, noisy, denoised))
    refused: dict[str, list[str]] = {}
    wanted = installed() if names is None else names
    before = _scores(noisy, clean, rate, wanted, refused)
    after = before if np.array_equal(noisy, denoised) else _scores(denoised, clean, rate, wanted, refused)
    named = label or ("" if noise is None else str(noise))
    row = SoundRow(pair.name, named, before, after, clean.shape[1], rate, seconds)
    notes = tuple(f"no {', '.join(dict.fromkeys(which))}: {why}" for why, which in refused.items())
    return Scored(pair, row, clean, noisy, denoised, notes)


def _scores(
    x: np.ndarray, clean: np.ndarray, rate: int, names: Sequence[str], refused: dict[str, list[str]]
) -> dict[str, float | None]:
    """Every named metric; those that have no score are None, and noted in `refused` under the reason."""
    scores: dict[str, float | None] = {}
    for name in names:
        try:
            scores[name] = METRICS[name].score(x, clean, rate)
        except NoScore as error:
            scores[name] = None
            refused.setdefault(str(error), []).append(METRICS[name].heading.removesuffix(" dB"))
    return scores


def _spoiled(clean: Path, noise: Chain, seed: int) -> tuple[np.ndarray, np.ndarray, Header]:
    from denoise_cli.media import audio

    with closing(audio.open_audio(files.open_input(clean), str(clean))) as source:
        both = zip(*noising.blocks(source, noise, seed), strict=True)
        x, y = (np.concatenate(side, axis=1) for side in both)
        return x, y, source.header


def _size(x: np.ndarray, header: Header) -> str:
    return f"{x.shape[1]} samples at {header.rate} Hz in {x.shape[0]} channels"
