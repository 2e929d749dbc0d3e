"""Treble that a model took goes back where it was a voice's, and stays away where it was noise."""

from __future__ import annotations

import numpy as np
import pytest

from denoise_cli.segments import MARGIN
from denoise_cli.treble import spared
from denoise_cli.upper_band import SPAN

RATE = 16_000
TIME = np.arange(4 * RATE) / RATE
BURSTS = np.sin(2 * np.pi * 1.5 * TIME) > 0.9  # a tenth of a second, one and a half times a second
HISS = 0.002 * np.random.default_rng(0).standard_normal(len(TIME))


def low(seed: int = 1) -> np.ndarray:
    """Noise below 3.5 kHz."""
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(len(TIME)))
    spectrum[np.fft.rfftfreq(len(TIME), 1 / RATE) > 3500] = 0
    return np.fft.irfft(spectrum)


def high(seed: int = 2) -> np.ndarray:
    """Noise between 4.5 and 7.5 kHz."""
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(len(TIME)))
    f = np.fft.rfftfreq(len(TIME), 1 / RATE)
    spectrum[(f < 4500) | (f > 7500)] = 0
    return np.fft.irfft(spectrum)


VOWELS = 0.1 * low()
SIBILANTS = 0.1 * high() * BURSTS


def decibels(x: np.ndarray, y: np.ndarray) -> float:
    return 10 * float(np.log10(np.sum(np.square(x)) / np.sum(np.square(y))))


def back(heard: np.ndarray, said: np.ndarray) -> np.ndarray:
    y = spared(heard[None].astype(np.float32), said[None].astype(np.float32), RATE)[0]
    assert y.shape == said.shape
    assert y.dtype == np.float32
    return y - said


def test_sibilants_of_a_voice_come_back_and_hiss_does_not():
    returned = back(VOWELS + SIBILANTS + HISS, VOWELS)
    assert decibels(returned - SIBILANTS, SIBILANTS) < -8, "most of them"
    calm = ~np.convolve(BURSTS, np.ones(RATE // 10), "same").astype(bool)
    assert decibels(returned[calm], HISS[calm]) < -15


def test_claps_which_are_low_and_high_at_once_stay_away():
    claps = (SIBILANTS + 0.1 * low(3) * BURSTS) * 2
    returned = back(VOWELS + claps + HISS, VOWELS)
    assert decibels(returned, claps) < -25


def test_bursts_without_a_voice_stay_away():
    assert not back(SIBILANTS + HISS, 0 * VOWELS).any()


@pytest.mark.parametrize("taken", [0.0, 1.0])
def test_steady_hiss_and_nothing_taken_change_nothing(taken):
    returned = back(VOWELS + taken * HISS, VOWELS)
    assert np.abs(returned).max() < 2e-4


def test_a_segment_with_its_context_gives_what_the_whole_gives():
    heard, said = (v[None].astype(np.float32) for v in (VOWELS + SIBILANTS + HISS, VOWELS))
    whole = spared(heard, said, RATE)
    context = -(-round((SPAN + MARGIN) * RATE) // 256) * 256
    core = slice(6 * 256 + context, 120 * 256)
    around = slice(core.start - context, core.stop + context)
    part = spared(heard[:, around], said[:, around], RATE)[:, context : context + core.stop - core.start]
    assert np.abs(whole[:, core] - said[:, core]).max() > 0.05
    np.testing.assert_allclose(part, whole[:, core], atol=1e-5)


def test_channels_that_go_together_get_the_same_share():
    both = np.stack([VOWELS + SIBILANTS, 0.5 * VOWELS]).astype(np.float32)
    said = np.stack([VOWELS, 0.5 * VOWELS]).astype(np.float32)
    alone = spared(both[:1], said[:1], RATE)
    together = spared(both, said, RATE)
    np.testing.assert_allclose(together[0], alone[0], atol=0.02)
    np.testing.assert_allclose(together[1], said[1], atol=1e-3)


def test_what_has_no_treble_and_what_is_shorter_than_a_frame_pass():
    x = np.ones((1, 100), np.float32)
    assert np.array_equal(spared(x, 0.5 * x, 8000), 0.5 * x)
    for length in (1, 10, 300):
        short = VOWELS[None, :length].astype(np.float32)
        np.testing.assert_allclose(spared(short, short, RATE), short, atol=1e-6)
    nothing = np.zeros((2, RATE), np.float32)
    assert np.array_equal(spared(nothing, nothing, RATE), nothing)
