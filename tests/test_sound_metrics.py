"""Metrics of recordings against closed forms, their invariances, and the packages that they wrap."""

from __future__ import annotations

import contextlib
import math
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT

from denoise_cli.errors import BackendError
from denoise_cli.metrics import (
    LevelMeter,
    NoScore,
    log_spectral_distance,
    noise_level,
    pesq,
    segmental_snr,
    si_sdr,
    snr,
    speech,
    stoi,
)  # fmt: skip

RATE = 16000


def hiss(seconds: float, *, channels: int = 1, level: float = 0.1, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (level * rng.standard_normal((channels, int(seconds * RATE)))).astype(np.float32)


def voice(seconds: float, rate: int = RATE, seed: int = 0) -> np.ndarray:
    """A hummed melody with pauses: harmonics of a gliding tone, four syllables a second. (T,) float32."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * rate)) / rate
    pitch = 2 * np.pi * np.cumsum(140 + 40 * np.sin(2 * np.pi * 0.7 * t + rng.uniform(0, 6))) / rate
    hum = sum(np.sin(k * pitch) / k for k in range(1, 12))
    syllables = np.clip(np.sin(2 * np.pi * 2 * t), 0, None) * (np.sin(2 * np.pi * 0.4 * t) > -0.6)
    return (0.2 * hum * syllables).astype(np.float32)


def spoiled(x: np.ndarray, level: float = 0.02, seed: int = 1) -> np.ndarray:
    return (x + level * np.random.default_rng(seed).standard_normal(x.shape)).astype(np.float32)


METRICS = {
    "si_sdr": lambda x, r, rate: si_sdr(x, r),
    "snr": lambda x, r, rate: snr(x, r),
    "segmental_snr": segmental_snr,
    "log_spectral_distance": log_spectral_distance,
}


# --- Closed forms -----------------------------------------------------------------------------------------


def test_si_sdr_by_hand():
    r = np.array([1.0, -1, 1, -1])
    n = np.array([1.0, 1, -1, -1])  # no mean, at right angles to r, as long as it
    assert si_sdr(r + 0.1 * n, r) == pytest.approx(20)
    assert si_sdr(3 * (r + 0.1 * n), r) == pytest.approx(20)
    assert si_sdr(-7 * r + 0.7 * n + 5, r - 3) == pytest.approx(20)  # neither sign nor offset counts
    assert si_sdr(n, r) == -math.inf


def test_si_sdr_of_a_scaled_copy_has_no_limit():
    r = np.array([1.0, -1, 1, -1])
    assert si_sdr(2 * r, r) == math.inf
    assert si_sdr(voice(1) * 0.3, voice(1)) > 100  # up to rounding


def test_si_sdr_and_snr_of_silence():
    x = voice(1)
    assert si_sdr(0 * x, x) == -math.inf
    assert snr(0 * x, x) == 0  # all of the signal is missing: an error as large as itself


def test_snr_by_hand():
    r = np.array([3.0, 4.0])
    assert snr(np.array([3.4, 3.7]), r) == pytest.approx(20)
    assert snr(1.1 * r, r) == pytest.approx(20)  # unlike SI-SDR
    assert snr(r, r) == math.inf


@pytest.mark.parametrize("decibels", [-5, 0, 12.5, 30])
def test_a_constant_snr_is_that_of_every_segment(decibels):
    x = voice(2)
    gain = 1 + 10 ** (-decibels / 20)
    assert segmental_snr(gain * x.astype(float), x.astype(float), RATE) == pytest.approx(decibels, abs=1e-6)


@pytest.mark.parametrize(("gain", "limit"), [(1, 35), (1.001, 35), (11, -10)])
def test_segments_are_limited(gain, limit):
    assert segmental_snr(gain * voice(2), voice(2), RATE) == pytest.approx(limit)


def test_pauses_are_no_segments():
    r = np.concatenate([hiss(1)[0], np.zeros(RATE, np.float32)])
    x = r.copy()
    x[: RATE + 480] *= 1.1  # 20 dB
    x[RATE + 480 :] += 0.01  # noise where nobody speaks
    assert segmental_snr(x, r, RATE) == pytest.approx(20, abs=0.1)


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000])
def test_the_log_spectral_distance_of_a_gain_is_the_gain(rate):
    x = hiss(1)
    assert log_spectral_distance(2 * x, x, rate) == pytest.approx(20 * math.log10(2), abs=1e-3)
    assert log_spectral_distance(x / 2, x, rate) == pytest.approx(20 * math.log10(2), abs=1e-3)
    assert log_spectral_distance(x, x, rate) == 0


def test_a_sine_of_full_scale_stands_at_0_db_and_the_floor_100_below():
    sine = np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE)  # in the middle of a bin of 512
    silence = np.zeros_like(sine)
    bins = 257
    # Its Hann window has three bins, at 0, -6.02 and -6.02 dB; in every other both are at the floor.
    expected = math.sqrt((100**2 + 2 * (100 - 6.0206) ** 2) / bins)
    assert log_spectral_distance(sine, silence, RATE) == pytest.approx(expected, abs=0.01)


def test_below_the_floor_nothing_differs():
    x = hiss(0.5, level=1e-6)
    assert log_spectral_distance(x, 0 * x, RATE) == 0


# --- Invariances ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", METRICS)
def test_channels_are_averaged(metric):
    r = np.stack([voice(1), voice(1, seed=5)])
    x = np.stack([spoiled(r[0], 0.01), spoiled(r[1], 0.1)])
    each = [METRICS[metric](a, b, RATE) for a, b in zip(x, r, strict=True)]
    assert METRICS[metric](x, r, RATE) == pytest.approx(np.mean(each))
    assert METRICS[metric](x[:1], r[:1], RATE) == each[0]


@pytest.mark.parametrize("metric", METRICS)
def test_more_noise_is_worse_and_arguments_stay_as_they_are(metric):
    r = voice(1)
    x, y = spoiled(r, 0.01), spoiled(r, 0.05)
    before = [a.copy() for a in (r, x, y)]
    better, worse = METRICS[metric](x, r, RATE), METRICS[metric](y, r, RATE)
    assert (better > worse) != (metric == "log_spectral_distance")
    assert all(np.array_equal(a, b) for a, b in zip((r, x, y), before, strict=True))


@pytest.mark.parametrize("metric", ["si_sdr", "snr", "segmental_snr"])
def test_a_common_gain_does_not_matter(metric):
    r = voice(1).astype(np.float64)
    x = spoiled(r).astype(np.float64)
    assert METRICS[metric](x / 4, r / 4, RATE) == pytest.approx(METRICS[metric](x, r, RATE), abs=1e-6)


@pytest.mark.parametrize("metric", ["si_sdr", "snr", "segmental_snr"])
def test_no_delay_is_forgiven(metric):
    r = hiss(1)[0]
    assert METRICS[metric](np.roll(r, 10), r, RATE) < 0


def test_a_silent_channel_is_left_out_and_silence_alone_has_no_score():
    r = np.stack([voice(1), np.zeros(RATE, np.float32)])
    x = spoiled(r)
    assert si_sdr(x, r) == si_sdr(x[0], r[0])
    for name in ("si_sdr", "snr", "segmental_snr"):
        with pytest.raises(NoScore, match="reference is silent"):
            METRICS[name](x[1], r[1], RATE)


@pytest.mark.parametrize("metric", METRICS)
def test_different_lengths_and_nothing_are_refused(metric):
    with pytest.raises(ValueError, match=r"\(10,\) and \(11,\)"):
        METRICS[metric](np.ones(10), np.ones(11), RATE)
    with pytest.raises(ValueError, match="not empty"):
        METRICS[metric](np.ones((1, 0)), np.ones((1, 0)), RATE)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("samples", [3, 100, 479, 481, 513])
def test_any_length_has_a_score(metric, samples):
    r = np.sin(np.arange(samples))
    assert math.isfinite(METRICS[metric](r + 0.1 * np.cos(3 * np.arange(samples)), r, RATE))


# --- STOI and PESQ ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("extended", [False, True])
def test_stoi_is_that_of_pystoi(extended):
    pystoi = pytest.importorskip("pystoi")
    r = voice(3)
    x = spoiled(r)
    assert stoi(x, r, RATE, extended=extended) == pytest.approx(pystoi.stoi(r, x, RATE, extended), abs=1e-6)
    assert stoi(r, r, RATE, extended=extended) == pytest.approx(1, abs=1e-3)


def test_stoi_needs_some_speech():
    pytest.importorskip("pystoi")
    burst = np.concatenate([voice(0.3), np.zeros(RATE, np.float32)])
    for r, reason in ((voice(0.1), "shorter than 0.4"), (burst, "less than 0.4"), (0 * voice(1), "silent")):
        with pytest.raises(NoScore, match=reason):
            stoi(spoiled(r), r, RATE)


needs_pesq = pytest.mark.skipif(
    not speech.installed("pesq"), reason="pesq is not installed: it is compiled on the spot and needs a compiler"
)


@needs_pesq
@pytest.mark.parametrize(("band", "rate"), [("wb", 16000), ("nb", 16000), ("nb", 8000)])
def test_pesq_is_that_of_the_package(band, rate):
    package = pytest.importorskip("pesq")
    r = voice(3, rate)
    x = spoiled(r)
    assert pesq(x, r, rate, band=band) == package.pesq(rate, r, x, band)


@needs_pesq
def test_other_rates_are_resampled_for_pesq():
    soxr = pytest.importorskip("soxr")
    r = voice(3, 44100)
    x = spoiled(r)
    at16 = [soxr.resample(signal, 44100, RATE) for signal in (x, r)]
    assert pesq(x, r, 44100) == pytest.approx(pesq(*at16, RATE), abs=0.01)


@needs_pesq
def test_pesq_refuses_without_a_crash():
    r = voice(1)
    for x, reference, reason in (
        (spoiled(r), 0 * r, "no utterances"),
        (0 * r, r, "nothing is heard"),
        (spoiled(r)[:1000], r[:1000], "shorter than a quarter of a second"),
    ):
        with pytest.raises(NoScore, match=reason):
            pesq(x, reference, RATE)
    with pytest.raises(ValueError, match="choose from wb, nb"):
        pesq(r, r, RATE, band="uwb")


@needs_pesq
def test_long_recordings_are_scored_in_equal_pieces():
    r = np.tile(voice(5), 5)  # 25 seconds: two pieces of 12.5
    x = spoiled(r)
    half = len(r) // 2
    pieces = [pesq(x[part], r[part], RATE) for part in (slice(half), slice(half, None))]
    assert pesq(x, r, RATE) == pytest.approx(np.mean(pieces))
    r[half:] = 0  # nobody speaks in the second
    assert pesq(x, r, RATE) == pieces[0]


@needs_pesq
def test_utterances_beyond_its_tables_do_not_end_the_process():
    r = hiss(40)[0] * (np.arange(40 * RATE) % 7360 < 3680)  # 87 bursts; pesq alone dies of them
    assert 1 <= pesq(spoiled(r, 0.01), r, RATE) < 5


@pytest.mark.parametrize(("metric", "package"), [(stoi, "pystoi"), (pesq, "pesq")])
def test_a_missing_package_is_named_with_what_mends_it(monkeypatch, metric, package):
    monkeypatch.setattr(speech, "find_spec", lambda name: None)
    with pytest.raises(BackendError, match=rf'{package} .* run: pip install "denoise-cli\[speech\]"'):
        metric(voice(1), voice(1), RATE)


def test_loading_the_metrics_loads_no_package_of_theirs():
    code = "import denoise_cli.metrics, sys; print(*{'pystoi', 'pesq', 'soxr', 'scipy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, cwd=ROOT, timeout=60)
    assert done.stdout.split() == []


# --- The noise floor --------------------------------------------------------------------------------------


@pytest.mark.parametrize("decibels", [-80, -50, -20])
def test_the_level_of_hiss_is_found(decibels):
    assert noise_level(hiss(5, level=10 ** (decibels / 20)), RATE) == pytest.approx(decibels, abs=0.7)


@pytest.mark.parametrize("decibels", [-60, -40])
def test_speech_with_pauses_does_not_hide_it(decibels):
    assert noise_level(spoiled(voice(10), 10 ** (decibels / 20))[None], RATE) == pytest.approx(decibels, abs=1)


def test_full_scale_is_a_square_wave():
    square = np.where(np.arange(RATE) % 16 < 8, 1.0, -1.0)[None]
    assert noise_level(square, RATE) == pytest.approx(0, abs=0.05)
    assert noise_level(0.5 * square + 0.3, RATE) == pytest.approx(-6.0, abs=0.1)  # an offset makes no noise


@pytest.mark.parametrize("block", [1, 7, 799, 800, 801, 5000])
def test_blocks_of_any_size_say_the_same(block):
    x = spoiled(voice(2), 0.01)[None].repeat(2, axis=0)
    meter = LevelMeter(RATE)
    for start in range(0, x.shape[1], block):
        meter.add(x[:, start : start + block, None])
    assert meter.floor() == noise_level(x, RATE)


def test_silence_around_a_recording_is_not_its_noise_but_a_gate_is():
    x = spoiled(voice(10), 0.001)[None]
    quiet = np.zeros((1, 2 * RATE), np.float32)
    assert noise_level(np.concatenate([quiet, x], axis=1), RATE) == pytest.approx(-60, abs=1)
    assert noise_level(voice(10)[None], RATE) == -120
    for nothing in (quiet, quiet[:, :10], quiet[:, :0]):
        assert noise_level(nothing, RATE) == -120


def test_the_level_meter_does_not_grow_and_keeps_no_view():
    meter, block = LevelMeter(RATE), hiss(1.01)[:, :, None]
    meter.add(block)
    size = sum(v.nbytes for v in vars(meter).values() if isinstance(v, np.ndarray))
    expected = meter.floor()
    block[:] = 0
    assert meter.floor() == expected
    for seed in range(5):
        meter.add(hiss(1, seed=seed)[:, :, None])
    assert sum(v.nbytes for v in vars(meter).values() if isinstance(v, np.ndarray)) == size


def test_a_picture_is_no_recording():
    with pytest.raises(ValueError, match=r"\(C, n, 1\)"):
        LevelMeter(RATE).add(np.zeros((1, 8, 8), np.float32))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("metric", METRICS)
def test_a_single_sample_has_a_score_or_the_reason_why_not(metric):
    x, r = np.full((2, 1), 0.6, np.float32), np.full((2, 1), 0.5, np.float32)
    with contextlib.suppress(NoScore):
        assert np.isfinite(METRICS[metric](x, r, 48_000))
