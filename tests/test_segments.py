"""Recordings through the engine: seams, rates, channels, and how much is taken away."""

from __future__ import annotations

import numpy as np
import pytest

from denoise_cli import denoise, segments, treble, upper_band
from denoise_cli.card import ModelCard
from denoise_cli.denoise import Options
from denoise_cli.errors import InputError, UsageError
from denoise_cli.gentle import NOISE, Gentle
from denoise_cli.metrics.floor import LevelMeter
from denoise_cli.signal import Header, Signal

RATE = 16_000
HOP = 256


class Fake:
    """A session without a model: `change` of (N, C, T) at 16 kHz; it keeps the shapes of its calls."""

    on_gpu = False

    def __init__(self, change=lambda x: x, halo=0, **card):
        self.card = ModelCard("fake", **{"kind": "audio", "rate": RATE, "multiple": HOP, "halo": halo, **card})
        self.change, self.shapes = change, []

    def __call__(self, x, sigma=None):
        assert x.shape[-1] % HOP == 0
        self.shapes.append(x.shape)
        return self.change(x)


def recording(seconds: float, rate: int = RATE, channels: int = 1, seed: int = 0) -> np.ndarray:
    """Noise with most of its power below 3 kHz, (C, n)."""
    x = np.random.default_rng(seed).standard_normal((channels, round(seconds * rate)))
    spectrum = np.fft.rfft(x)
    spectrum /= 1 + (np.fft.rfftfreq(x.shape[1], 1 / rate) / 1500) ** 4
    y = np.fft.irfft(spectrum, x.shape[1])
    return (0.2 * y / y.std()).astype(np.float32)


def run(x: np.ndarray, session, rate: int = RATE, **options) -> np.ndarray:
    header = Header("audio", len(x), x.shape[1], rate=rate, groups=tuple((c,) for c in range(len(x))))
    y = denoise.signal(Signal(x[:, :, None], header), session, Options(threads=2, **options))
    assert y.shape == (*x.shape, 1)
    assert y.dtype == np.float32
    return y[:, :, 0]


def db(a: np.ndarray, b: np.ndarray) -> float:
    """Power of a against that of b."""
    return 10 * np.log10(np.square(a, dtype=np.float64).sum() / np.square(b, dtype=np.float64).sum())


@pytest.mark.parametrize("length", [1, 255, 256, 257, 16_000, 40_001])
def test_a_model_that_changes_nothing_changes_nothing(length):
    x = recording(3)[:, :length]
    assert np.array_equal(run(x, Fake()), x)


@pytest.mark.parametrize("rate", [8000, 11_025, 22_050, 44_100, 48_000, 96_000])
def test_other_rates_come_back_as_they_came(rate):
    x = recording(2.03, rate)
    y = run(x, Fake(), rate)
    inner = slice(rate // 20, -rate // 20)  # the filters of resampling meet the ends of the file
    assert db(y[:, inner] - x[:, inner], x) < -60


@pytest.mark.parametrize("rate", [RATE, 48_000])
@pytest.mark.parametrize("seconds", [5.5, 12, 13.3])
def test_no_seam_is_heard(monkeypatch, rate, seconds):
    taps = np.random.default_rng(1).standard_normal(2 * 3000 + 1).astype(np.float32) / 80

    def blur(x):  # reaches 3000 samples to either side
        return np.stack([[np.convolve(c, taps, "same") for c in sample] for sample in x]).astype(np.float32)

    x = recording(seconds, rate)
    whole = run(x, Fake(blur, halo=3072), rate)
    monkeypatch.setattr(segments, "CORE", 4)
    session = Fake(blur, halo=3072)
    cut = run(x, session, rate)
    assert len(session.shapes) > 1
    assert np.abs(cut - whole).max() < 1e-5  # 80 dB below the signal


@pytest.mark.parametrize("rate", [RATE, 48_000])
def test_no_seam_is_heard_where_the_gentle_way_looks_beyond_what_is_kept(monkeypatch, rate):
    """What it looks at must be whole: the model needs its halo there, too."""
    monkeypatch.setattr(LevelMeter, "level", lambda self, share: -20.0)  # or longer segments hear another voice

    def wary(x):  # it takes noise where there is sound 14,000 samples later
        later = np.zeros_like(x)
        later[..., :-14_000] = x[..., 14_000:]
        return np.where(later == 0, x, np.float32(0.1) * x)

    x = recording(12, rate) * np.repeat(np.random.default_rng(2).uniform(0.02, 1, 24), rate // 2).astype(np.float32)
    whole = run(x, Fake(wary, halo=14_080), rate, gentle=True)
    monkeypatch.setattr(segments, "CORE", 4)
    session = Fake(wary, halo=14_080)
    cut = run(x, session, rate, gentle=True)
    assert len(session.shapes) > 1
    inner = slice(0, -2 * rate)  # at the end there is nothing later
    assert db((cut - whole)[:, inner], x[:, inner]) < -70


def test_without_its_halo_a_seam_would_be_heard(monkeypatch):
    def blur(x):
        return np.stack([[np.convolve(c, np.ones(601, np.float32) / 25, "same") for c in s] for s in x])

    monkeypatch.setattr(segments, "CORE", 4)
    monkeypatch.setattr(segments, "MARGIN", 0)
    x = recording(9)
    assert db(run(x, Fake(blur, halo=0)) - run(x, Fake(blur, halo=512)), x) > -60


def test_neither_blocks_nor_threads_change_the_answer(monkeypatch):
    monkeypatch.setattr(segments, "CORE", 4)
    x = recording(11, channels=2)
    header = Header("audio", 2, None, rate=RATE, groups=((0,), (1,)))
    answers = []
    for threads, size in ((1, 999), (2, 65_536), (3, 10**6)):
        from denoise_cli.workers import Workers

        workers = Workers(Fake(lambda x: x * 0.5 + 0.1 * np.roll(x, 7, -1)), Options(threads=threads))
        blocks = (x[:, i : i + size, None] for i in range(0, x.shape[1], size))
        answers.append(np.concatenate([y for _, y in segments.segments(blocks, header, workers, Options())], 1))
        workers.stop()
    assert np.array_equal(answers[0], answers[1])
    assert np.array_equal(answers[0], answers[2])


def test_the_upper_band_follows_the_gain_of_the_model():
    rate = 48_000
    t = np.arange(2 * rate) / rate
    low, high = 0.2 * np.sin(2 * np.pi * 7000 * t), 0.1 * np.sin(2 * np.pi * 15_000 * t)
    x = (low + high).astype(np.float32)[None]
    y = run(x, Fake(lambda x: x * 0.25), rate)
    inner = slice(rate // 10, -rate // 10)
    spectrum = np.abs(np.fft.rfft(y[0, inner] * np.hanning(y[0, inner].size))) ** 2
    before = np.abs(np.fft.rfft(x[0, inner] * np.hanning(x[0, inner].size))) ** 2
    frequency = np.fft.rfftfreq(x[0, inner].size, 1 / rate)
    for band in (frequency < 8000, frequency > 8000):
        assert 10 * np.log10(spectrum[band].sum() / before[band].sum()) == pytest.approx(-12.04, abs=0.1)


def test_the_upper_band_stays_where_the_model_lets_speech_through():
    rate = 48_000
    x = recording(2, rate) + 0.05 * np.random.default_rng(3).standard_normal((1, 2 * rate)).astype(np.float32)
    y = run(x, Fake(), rate)
    high = np.fft.rfftfreq(x.shape[1], 1 / rate) > 8000
    assert abs(db(np.fft.rfft(y)[:, high].view(float), np.fft.rfft(x)[:, high].view(float))) < 0.1


def test_what_stands_out_of_the_upper_band_is_kept_and_its_floor_goes():
    rate = 48_000
    hiss = 0.003 * np.random.default_rng(4).standard_normal(4 * rate)
    high = np.fft.irfft(np.fft.rfft(hiss) * (np.fft.rfftfreq(4 * rate, 1 / rate) > 8500), 4 * rate)
    spoken, pause = slice(2 * rate, 2 * rate + rate // 10), slice(rate, rate + rate // 2)
    x = hiss.copy()
    x[spoken] += 30 * high[spoken]
    y = run(x.astype(np.float32)[None], Fake(lambda x: x * 0), rate)[0]
    inner = slice(2 * rate + 1000, 2 * rate + rate // 10 - 1000)
    assert abs(db(y[inner], 31 * high[inner])) < 0.2
    assert db(y[pause], x[pause]) < -40


def test_linked_channels_meet_the_model_together_and_others_alone():
    x, linked, apart = recording(1, channels=2), Fake(), Fake()
    run(x, linked)
    run(x, apart, link=False)
    assert [shape[:2] for shape in linked.shapes] == [(1, 2)]
    assert [shape[:2] for shape in apart.shapes] == [(1, 1), (1, 1)]


def test_a_limit_of_attenuation_leaves_that_much_of_the_noise():
    x = recording(1)
    y = run(x, Fake(lambda x: x * 0), atten_lim=12)
    assert db(y, x) == pytest.approx(-12, abs=0.01)
    assert np.array_equal(run(x, Fake(lambda x: x * 0), atten_lim=0), x)
    assert db(run(x, Fake(lambda x: x * 0), strength=0.5), x) == pytest.approx(-6.02, abs=0.01)
    with pytest.raises(UsageError, match="at least 0 dB"):
        Options(atten_lim=-1)


def speaking(seconds: float, level: float = 0.2) -> np.ndarray:
    """A tone that pauses every other 300 ms, as speech does, (1, n)."""
    time = np.arange(round(seconds * RATE)) / RATE
    return (level * np.sin(2000 * time) * (time % 0.6 < 0.3))[None].astype(np.float32)


def knows(voice: np.ndarray) -> Fake:
    """A model that takes all noise away and nothing else, of recordings of one segment."""
    return Fake(lambda x: np.pad(voice, ((0, 0), (0, x.shape[-1] - voice.shape[1])))[None])


@pytest.mark.parametrize(("below", "lowered"), [(-6, 52), (0, 52), (18, 38), (26, 30), (46, 10), (60, 8)])
def test_the_gentle_way_lowers_noise_to_fifty_six_decibels_below_the_voice(below, lowered):
    voice = speaking(6)
    noise = np.float32(0.2 / 2**0.5 * 10 ** (-below / 20)) * np.random.default_rng(0).standard_normal(
        voice.shape, dtype=np.float32
    )
    y = run(voice + noise, knows(voice), gentle=True)
    assert db(noise, y - voice) == pytest.approx(lowered, abs=0.7)
    weaker = run(voice + noise, knows(voice), gentle=True, strength=0.3)
    assert db(weaker - (voice + noise), y - (voice + noise)) == pytest.approx(20 * np.log10(0.3), abs=0.01)


def test_a_bark_in_a_good_recording_goes_down_as_far_as_on_a_street():
    voice = speaking(6)
    noise = 1e-4 * np.random.default_rng(0).standard_normal(voice.shape).astype(np.float32)
    bark = slice(3 * RATE, 4 * RATE)
    noise[:, bark] *= 2000
    left = run(voice + noise, knows(voice), gentle=True) - voice
    inner, away = slice(round(3.2 * RATE), round(3.8 * RATE)), slice(0, 2 * RATE)
    assert db(noise[:, inner], left[:, inner]) == pytest.approx(52, abs=0.1)
    assert db(noise[:, away], left[:, away]) == pytest.approx(8, abs=0.1)


def test_noise_alone_is_not_spared():
    x = recording(3)
    assert db(x, run(x, Fake(lambda x: x * 1e-5), gentle=True)) == pytest.approx(52, abs=0.2)


def test_an_offset_is_not_noise_and_silence_before_the_first_word_no_voice():
    voice = speaking(6)
    noise = 1e-4 * np.random.default_rng(0).standard_normal(voice.shape).astype(np.float32)
    left = run(voice + noise + np.float32(0.05), knows(voice), gentle=True) - voice
    assert db(noise, left - left.mean()) == pytest.approx(8, abs=0.1)
    gentle, whole = Gentle(RATE), slice(0, voice.shape[1])
    nothing = np.zeros_like(voice)
    assert len(gentle.left(nothing, nothing, whole)) == voice.shape[1]
    assert gentle.left(voice + noise, voice, whole) == pytest.approx(10 ** (-8 / 20), abs=1e-3), "from the start"


def test_a_voice_after_a_long_quiet_is_spared_from_its_first_segment():
    voice = speaking(6)
    noise = 1e-4 * np.random.default_rng(0).standard_normal((1, 120 * RATE)).astype(np.float32)
    gentle = Gentle(RATE)
    gentle.left(noise, 1e-3 * noise, slice(0, noise.shape[1]))
    noise, whole = noise[:, : voice.shape[1]], slice(0, voice.shape[1])
    assert gentle.left(voice + noise, voice, whole)[-1] == pytest.approx(10 ** (-8 / 20), abs=1e-3)


def test_channels_that_are_not_linked_are_each_spared_for_themselves():
    voice = np.repeat(speaking(6), 2, axis=0)
    noise = np.random.default_rng(0).standard_normal(voice.shape).astype(np.float32) * np.float32([[1e-4], [0.3]])

    def model(x):
        clean = np.pad(voice, ((0, 0), (0, x.shape[-1] - voice.shape[1])))
        return clean[None] if x.shape[1] == 2 else clean[:1][None]

    for link, first in ((True, 52), (False, 8)):
        left = run(voice + noise, Fake(model), gentle=True, link=link) - voice
        assert db(noise[:1], left[:1]) == pytest.approx(first, abs=0.5)
        assert db(noise[1:], left[1:]) == pytest.approx(52, abs=0.5)


def test_the_gentle_way_glides_from_segment_to_segment_and_hangs_on_no_thread(monkeypatch):
    monkeypatch.setattr(treble, "spared", lambda heard, said, rate: said)  # no gain for all frequencies
    x = recording(65)
    x[:, : 30 * RATE] *= 0.01
    model = Fake(lambda x: 0.9 * x)
    y = run(x, model, gentle=True)
    header = Header("audio", 1, x.shape[1], rate=RATE)
    assert np.array_equal(
        denoise.signal(Signal(x[:, :, None], header), model, Options(threads=1, gentle=True))[:, :, 0], y
    )
    took = (x - y)[:, x[0] != 0] / x[:, x[0] != 0] / 0.1  # 1 - left
    assert took.min() == pytest.approx(1 - 10 ** (-8 / 20), abs=0.01)
    assert np.abs(np.diff(took[0])).max() < 0.01, "no step at the ends of segments"


def test_a_model_for_pictures_is_refused_for_recordings():
    with pytest.raises(InputError, match='"fake" is for pictures, not for recordings'):
        run(recording(1), Fake(kind="image", rate=None))


def test_silence_stays_silent():
    assert not run(np.zeros((2, 50_000), np.float32), Fake(lambda x: x * 0.7), 44_100).any()


@pytest.mark.parametrize("rate", [8000, 11_025, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("length", [1, 2, 500, 100_003])
def test_values_of_frames_glide_from_one_middle_to_the_next(rate, length):
    values = np.random.default_rng(0).random(upper_band.frame_count(length, rate))
    wanted = np.interp(np.arange(length), upper_band.frame_centres(len(values), rate), values)
    assert upper_band.glided(values, rate, length) == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("percent", [upper_band.FLOOR, upper_band.LOWERED, NOISE])
@pytest.mark.parametrize("frames", [1, 40, 41, 300])
def test_a_running_quantile_is_numpys(percent, frames):
    values = np.random.default_rng(1).random((2, frames))
    found = upper_band.running_quantile(values, percent)
    assert found.shape == values.shape
    around = np.pad(values, ((0, 0), (40, 40)), mode="reflect" if frames > 40 else "edge")
    wanted = [np.percentile(around[:, n : n + 81], percent, axis=1) for n in range(frames)]
    assert np.array_equal(found, np.stack(wanted, axis=1))
