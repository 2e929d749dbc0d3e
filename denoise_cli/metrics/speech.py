"""How well speech is understood and how good it sounds: STOI and PESQ, by the packages that all papers use.

Thin wrappers over the packages pystoi and pesq, which are optional and loaded when they are called. Recordings
are (C, T) or (T,) at any rate and length; every metric is the mean over the channels.

Neither is made for long recordings: pesq overruns its tables, and ends the process, beyond 50 utterances, and
pystoi takes 35 MB a minute several times over. So a recording longer than `PESQ_SECONDS` or `STOI_SECONDS` is
scored in pieces, as few as will do and equally long, and the mean is that of the pieces in which
somebody speaks. Shorter ones, such as all the test sets hold, are scored whole, just as the papers do.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from denoise_cli.errors import BackendError, choice
from denoise_cli.metrics.sound import NoScore, over_channels

PESQ_SECONDS = 20.0  # P.862.3 recommends 8 to 30; shorter than it takes to speak 50 utterances
STOI_SECONDS = 60.0
MEND = 'run: pip install "denoise-cli[speech]"'


def installed(package: str) -> bool:
    """Whether a package could be loaded; loads nothing."""
    return find_spec(package) is not None


def stoi(x: np.ndarray, reference: np.ndarray, rate: int, *, extended: bool = False) -> float:
    """Short-time objective intelligibility, about 0 to 1, or the extended measure; both judge up to 5 kHz.

    C. Taal, R. Hendriks, R. Heusdens, J. Jensen, "An algorithm for intelligibility prediction of time-frequency
    weighted noisy speech", IEEE Trans. ASLP 19(7), 2011; extended: J. Jensen, C. Taal, "An algorithm for
    predicting the intelligibility of speech masked by modulated noise maskers", IEEE/ACM Trans. ASLP 24(11),
    2016. pystoi resamples to 10 kHz.

    Raises
    ------
    BackendError
        pystoi is not installed.
    NoScore
        Less than 0.4 seconds of speech.
    """
    package = _load("pystoi")

    def score(x: np.ndarray, r: np.ndarray) -> float:
        if not r.any():
            raise NoScore("the reference is silent")
        if len(r) < 0.4 * rate:  # 30 frames of 12.8 ms; pystoi fails in ways of its own on a few samples
            raise NoScore("shorter than 0.4 seconds")
        with warnings.catch_warnings():
            warnings.filterwarnings("error", "Not enough STFT frames")  # it would return 1e-5
            try:
                return float(package.stoi(r, x, rate, extended))
            except RuntimeWarning:
                raise NoScore("less than 0.4 seconds of speech") from None

    return over_channels(_in_pieces(score, STOI_SECONDS, rate), x, reference)


def pesq(x: np.ndarray, reference: np.ndarray, rate: int, *, band: Literal["wb", "nb"] = "wb") -> float:
    """Perceptual evaluation of speech quality, a mean opinion score from 1 to about 4.6.

    ITU-T P.862.2 for the wide band (50 to 7000 Hz), P.862 with the mapping of P.862.1 for the narrow band (to
    3400 Hz). Runs at 16 kHz, to which other rates are resampled, the narrow band also at 8 kHz. Unlike the other
    metrics, PESQ aligns the recordings itself, so a delay goes unseen.

    Raises
    ------
    BackendError
        pesq is not installed.
    NoScore
        PESQ finds no speech, or less than a quarter of a second.
    ValueError
        No such band.
    """
    if band not in ("wb", "nb"):
        raise ValueError(choice("band", band, ("wb", "nb")))
    package = _load("pesq")
    own = 8000 if band == "nb" and rate == 8000 else 16000

    def score(x: np.ndarray, r: np.ndarray) -> float:
        if not x.any():
            raise NoScore("nothing is heard")  # it would divide by the level
        if len(r) < 0.25 * rate:
            raise NoScore("shorter than a quarter of a second")  # than a resampled sample, at worst
        try:
            return float(package.pesq(own, _resampled(r, rate, own), _resampled(x, rate, own), band))
        except package.PesqError as error:
            raise NoScore(_reason(error)) from None

    return over_channels(_in_pieces(score, PESQ_SECONDS, rate), x, reference)


def _in_pieces(
    score: Callable[[np.ndarray, np.ndarray], float], longest: float, rate: int
) -> Callable[[np.ndarray, np.ndarray], float]:
    """The mean of a score over equal pieces of at most `longest` seconds; those without speech do not count."""

    def mean(x: np.ndarray, r: np.ndarray) -> float:
        count = max(1, -(-len(r) // int(longest * rate)))
        scores: list[float] = []
        refusal = NoScore()
        for start, stop in pairwise(len(r) * i // count for i in range(count + 1)):
            try:
                scores.append(score(x[start:stop], r[start:stop]))
            except NoScore as error:
                refusal = error
        if not scores:
            raise refusal
        return sum(scores) / len(scores)

    return mean


def _resampled(x: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    if rate != wanted:
        import soxr

        x = soxr.resample(x, rate, wanted, "HQ")
    return x.astype(np.float32)


def _load(package: str) -> Any:
    """Import a package; raises BackendError, with the command that mends it, where it is missing."""
    if not installed(package):
        raise BackendError(f"{package} is not installed; {MEND}")
    return importlib.import_module(package)


def _reason(error: Exception) -> str:
    """The message of pesq's errors, which are bytes: b'No utterances detected'."""
    text = error.args[0] if error.args else "refused by PESQ"
    text = text.decode() if isinstance(text, bytes) else str(text)
    return text[:1].lower() + text[1:]
