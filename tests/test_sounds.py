"""Noise of recordings: what physics says of each, at any rate, and the same to the bit however a file is cut."""

from __future__ import annotations

import io
import math
import tempfile
from pathlib import Path

import numpy as np
import pytest

from denoise_cli import media, noise_file, noising
from denoise_cli.corrupt import PICTURES, Chain, parse
from denoise_cli.corrupt.level import ActiveLevelMeter, active_level
from denoise_cli.corrupt.sounds import SOUNDS
from denoise_cli.errors import InputError, UsageError
from denoise_cli.noise_file import NoiseFile
from denoise_cli.signal import Header

RATE = 16_000
HEARD = [kind.name for kind in (*PICTURES, *SOUNDS) if "audio" in kind.kinds]


def header(channels: int = 1, rate: int = RATE) -> Header:
    return Header(kind="audio", channels=channels, length=None, rate=rate)


def through(spec, x: np.ndarray, rate: int = RATE, *, seed: int = 0, cut: int = 10_007, level=None) -> np.ndarray:
    """(C, n) through a corruption, in blocks of `cut` samples."""
    noise = parse(spec) if isinstance(spec, str) else Chain((spec,))
    hit = noise.stream(header(len(x), rate), np.random.default_rng(seed), level)
    return np.concatenate([hit(x[:, i : i + cut, None]) for i in range(0, x.shape[1], cut)], axis=1)[:, :, 0]


def silence(seconds: float, channels: int = 1, rate: int = RATE) -> np.ndarray:
    return np.zeros((channels, round(seconds * rate)), np.float32)


def tone(seconds: float, frequency: float = 440.0, peak: float = 0.5, rate: int = RATE) -> np.ndarray:
    return (peak * np.sin(2 * np.pi * frequency / rate * np.arange(round(seconds * rate)))[None]).astype(np.float32)


def rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.square(x, dtype=np.float64).mean()))


def spectrum(x: np.ndarray, rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies and power density of (n,), from Hann windows of a second."""
    window = np.hanning(rate)
    frames = x[: len(x) // rate * rate].reshape(-1, rate) * window
    return np.fft.rfftfreq(rate, 1 / rate), np.square(np.abs(np.fft.rfft(frames))).mean(0)


class FakeSource:
    """A recording in memory, cut into blocks; its file holds the samples, to be told by."""

    def __init__(self, x: np.ndarray, rate: int = RATE, cut: int = 5000):
        self.header, self.x, self.cut = header(len(x), rate), x, cut
        self.opened = 0

    def blocks(self):
        for i in range(0, self.x.shape[1], self.cut):
            yield self.x[:, i : i + self.cut, None]

    def again(self):
        self.opened += 1
        return self

    def close(self):
        pass


def corrupted(source: FakeSource, noise, seed: int = 0) -> np.ndarray:
    chain = parse(noise) if isinstance(noise, str) else Chain((noise,))
    with tempfile.TemporaryFile() as source.file:
        source.file.write(source.x.tobytes())
        source.file.flush()
        noisy = [y for _, y in noising.blocks(source, chain, seed, again=source.again)]
    return np.concatenate(noisy, axis=1)[:, :, 0]


# --- every kind -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", HEARD)
def test_no_cut_of_the_stream_changes_a_bit_and_blocks_are_left_alone(name):
    x = np.random.default_rng(1).uniform(-0.9, 0.9, (2, 70_000)).astype(np.float32)
    before = x.copy()
    whole = through(name if name not in ("gaussian", "uniform") else f"{name}:snr=10", x, cut=70_000, level=0.1)
    for cut in (1013, 16_384, 40_000):
        spec = name if name not in ("gaussian", "uniform") else f"{name}:snr=10"
        assert np.array_equal(through(spec, x, cut=cut, level=0.1), whole)
    assert np.array_equal(x, before)
    assert (whole.dtype, whole.shape) == (np.float32, x.shape)
    assert not np.array_equal(whole, x)


@pytest.mark.parametrize("name", [name for name in HEARD if name not in ("quantise", "clipping")])
def test_seeds_give_other_noise(name):
    x = np.full((1, 40_000), 0.9, np.float32)
    spec = f"{name}:snr=10" if name in ("gaussian", "uniform") else name
    one, other = (through(spec, x, seed=seed, level=0.5) for seed in (0, 1))
    assert not np.array_equal(one, other)
    assert np.array_equal(one, through(spec, x, level=0.5))


def test_the_parts_of_a_chain_have_noise_of_their_own():
    noise = through("pink+pink", silence(1)) / 0.05
    assert rms(noise) == pytest.approx(math.sqrt(2), rel=0.1)
    x = silence(2)
    chain = parse("clicks+gaussian:std=0.1+dropouts")
    cut = [through("clicks+gaussian:std=0.1+dropouts", x, cut=cut) for cut in (777, 32_000)]
    assert np.array_equal(*cut), chain


def test_a_range_and_a_probability_are_drawn_once_for_a_file():
    levels = [rms(through("pink:std=0.01-0.1", silence(1), seed=seed)) for seed in range(20)]
    assert 0.008 < min(levels) < 0.03 < 0.07 < max(levels) < 0.12
    hit = [through("pink:p=0.5", silence(0.1), seed=seed).any() for seed in range(60)]
    assert 15 < sum(hit) < 45


@pytest.mark.parametrize("kind", [kind for kind in PICTURES if "audio" not in kind.kinds])
def test_what_only_pictures_have_is_refused(kind):
    fit = "pictures and tables" if "table" in kind.kinds else "pictures"
    with pytest.raises(InputError, match=f"^{kind.name} is for {fit}, and this is a recording$"):
        parse(kind.name).stream(header(), np.random.default_rng(0))


@pytest.mark.parametrize("kind", SOUNDS)
def test_what_only_recordings_have_is_refused_for_pictures(kind):
    with pytest.raises(InputError, match=f"^{kind.name} is for recordings, and this is a picture$"):
        parse(kind.name).stream(Header(kind="image", channels=3, length=9), np.random.default_rng(0))


@pytest.mark.parametrize("spec", ["gaussian:std=25", "gaussian:std=0-2", "gaussian:std=0,mean=-3", "uniform"])
def test_steps_of_eight_bits_are_refused_for_recordings(spec):
    with pytest.raises(InputError, match="beyond 1, the full scale of recordings"):
        parse(spec).stream(header(), np.random.default_rng(0))


# --- noise that is added ----------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [16_000, 48_000])
@pytest.mark.parametrize(("name", "slope"), [("gaussian:std=0.05", 0), ("pink", -3.01), ("brown", -6.02)])
def test_the_power_density_falls_by_so_many_decibels_an_octave(name, slope, rate):
    noise = through(name, silence(40, rate=rate), rate)[0]
    frequency, power = spectrum(noise, rate)
    centres = 50 * 2 ** np.arange(0, math.log2(0.4 * rate / 50))
    third = [(frequency > c * 2 ** (-1 / 6)) & (frequency < c * 2 ** (1 / 6)) for c in centres]
    level = np.array([10 * np.log10(power[band].mean()) for band in third])
    expected = slope * np.log2([frequency[band].mean() for band in third] / centres[0])
    assert np.ptp(level - expected) < 1.0  # so within half a decibel of one line
    assert np.polyfit(np.log2(centres), level, 1)[0] == pytest.approx(slope, abs=0.15)


@pytest.mark.parametrize("name", ["gaussian:std=0.05", "uniform:width=0.0866025", "pink", "brown", "hum"])
def test_the_deviation_is_that_asked_for_and_nothing_drifts(name):
    noise = through(name, silence(60, 2))
    assert rms(noise) == pytest.approx(0.05, rel=0.015)
    seconds = noise.reshape(2, 60, -1).mean(2)
    assert np.abs(seconds).max() < 0.002
    same = np.corrcoef(noise)[0, 1]
    assert same == pytest.approx(1 if name == "hum" else 0, abs=0.03)  # hum comes through one cable


def test_white_noise_has_a_mean_if_told_so():
    assert through("gaussian:std=0.01,mean=-0.2", silence(5)).mean() == pytest.approx(-0.2, abs=1e-3)


def test_chunks_join_without_a_seam():
    """Nothing at the seams of the chunks in which coloured noise is made: they are no louder than other places."""
    noise = through("brown:std=0.1", silence(200))[0]
    steps = np.square(np.diff(noise))
    size = 4096  # of a chunk of coloured noise at 16 kHz
    assert steps[size - 1 :: size].mean() == pytest.approx(steps.mean(), rel=0.15)
    neighbours = np.abs(np.diff(through("hum:std=0.1", silence(20))[0]))
    assert neighbours.max() < 0.1 * 2**0.5 * 8 * 2 * np.pi * 50 / RATE  # the steepest that 8 harmonics can be


@pytest.mark.parametrize("frequency", [50, 60])
def test_hum_has_lines_at_its_harmonics_and_nowhere_else(frequency):
    noise = through(f"hum:frequency={frequency},std=0.1,harmonics=5", silence(20))[0]
    size = np.abs(np.fft.rfft(noise)) / len(noise) * 2
    lines = size[20 * frequency * np.arange(1, 6)]
    assert lines / lines[0] == pytest.approx(1 / np.arange(1, 6), rel=1e-3)
    assert np.square(lines).sum() / 2 == pytest.approx(0.01, rel=1e-3)
    size[20 * frequency * np.arange(1, 6)] = 0
    assert size.max() < 1e-4 * lines[0]


def test_hum_above_half_the_rate_is_left_out_and_not_folded():
    noise = through("hum:frequency=3000,harmonics=4,std=0.1", silence(2))[0]
    size = np.abs(np.fft.rfft(noise))
    assert set(np.flatnonzero(size > size.max() / 100) // 2) == {3000, 6000}


def test_clicks_come_as_often_and_are_as_high_and_as_wide_as_told():
    noise = through("clicks:rate=20,level=0.5,width=1", silence(100))[0]
    (places,) = np.nonzero(noise)
    assert len(places) == pytest.approx(2000, abs=4 * 2000**0.5)
    assert np.abs(noise).max() == pytest.approx(0.5, abs=0.01)
    assert np.diff(places).std() == pytest.approx(np.diff(places).mean(), rel=0.1)  # as a Poisson process has it
    wide = through("clicks:rate=1,width=3", silence(400), cut=501)[0] != 0
    runs = np.diff(np.flatnonzero(np.diff(wide.astype(int))))[::2]
    assert set(runs) == {1, 2, 3}


# --- what takes the place of the signal -------------------------------------------------------------------


def test_dropouts_are_as_many_and_as_long_as_told():
    gone = through("dropouts:rate=2,length=20", np.ones((2, 100 * RATE), np.float32)) == 0
    assert np.array_equal(gone[0], gone[1])
    assert gone[0].mean() == pytest.approx(1 - math.exp(-2 * 0.02), rel=0.25)  # of Poisson arrivals that overlap
    edges = np.flatnonzero(np.diff(gone[0].astype(int)))
    lengths = np.diff(edges)[::2]
    assert lengths.min() == 0.02 * RATE
    assert np.median(lengths) == 0.02 * RATE


def test_a_dropout_longer_than_a_chunk_lasts():
    gone = through("dropouts:rate=0.02,length=3000", np.ones((1, 300 * RATE), np.float32), seed=3)[0] == 0
    lengths = np.diff(np.flatnonzero(np.diff(gone.astype(int))))[::2]
    assert len(lengths) > 1
    assert lengths.min() == 3 * RATE


def test_masking_takes_a_share_of_the_time_in_pieces():
    gone = through("masking:amount=0.3,size=10,value=-0.5", np.ones((2, 60 * RATE), np.float32)) == -0.5
    assert np.array_equal(gone[0], gone[1])
    pieces = gone[0].reshape(-1, RATE // 100)
    assert np.all(pieces.min(1) == pieces.max(1))
    assert pieces[:, 0].mean() == pytest.approx(0.3, abs=0.03)


def test_salt_and_pepper_reach_full_scale_and_leave_the_rest_alone():
    noisy = through("salt-pepper:amount=0.1,salt=0.25", np.full((2, 50_000), 0.5, np.float32))
    shares = {value: float((noisy == value).mean()) for value in (1.0, -1.0, 0.5)}
    assert shares == pytest.approx({1.0: 0.025, -1.0: 0.075, 0.5: 0.9}, abs=0.005)


def test_clipping_cuts_at_the_threshold_or_at_a_crest_over_the_level():
    x = tone(1)
    assert np.array_equal(through("clipping:threshold=0.3", x), x.clip(-0.3, 0.3))
    assert np.abs(through("clipping:crest=-6", x, level=0.2)).max() == pytest.approx(0.2 * 10**-0.3)


@pytest.mark.parametrize("bits", [1, 4, 8, 16])
def test_quantise_has_the_levels_of_pcm(bits):
    x = np.linspace(-1.2, 1.2, 200_001, dtype=np.float32)[None]
    y = through(f"quantise:bits={bits}", x)
    assert (y.min(), y.max()) == (-1, 1 - 2.0 ** (1 - bits))
    assert len(np.unique(y)) == 2**bits
    inside = np.abs(x) < 1 - 2.0 ** (1 - bits)
    assert np.abs(y - x)[inside].max(initial=0) <= 2.0**-bits + 1e-7


# --- SNR --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gaussian", "uniform", "pink", "brown", "hum"])
@pytest.mark.parametrize("snr", [-5, 10])
def test_the_snr_is_that_asked_for(name, snr):
    x = np.concatenate([tone(60), 0.5 * tone(60, 1000.0)])
    noise = corrupted(FakeSource(x), f"{name}:snr={snr}") - x
    reached = 20 * math.log10(rms(x) / rms(noise))
    assert reached == pytest.approx(snr, abs=0.1)


@pytest.mark.parametrize("pause", [0.5, 60])
def test_silence_does_not_change_the_level(pause):
    x = tone(3)
    spoken = active_level([x], RATE)
    assert spoken == pytest.approx(rms(x), rel=0.01)
    padded = np.concatenate([silence(pause), x, silence(pause), x, silence(pause)], axis=1)
    assert 20 * math.log10(active_level([padded], RATE) / spoken) == pytest.approx(0, abs=0.1)
    hiss = padded + 1e-4 * np.random.default_rng(0).standard_normal(padded.shape, dtype=np.float32)
    assert 20 * math.log10(active_level([hiss], RATE) / spoken) == pytest.approx(0, abs=0.1)


def test_the_level_is_the_same_however_the_stream_is_cut():
    x = np.random.default_rng(0).standard_normal((2, 50_000), dtype=np.float32) * np.linspace(
        0, 1, 50_000, dtype="f4"
    )
    whole = active_level([x], RATE)
    for cut in (1, 511, 512, 7000):
        assert active_level((x[:, i : i + cut, None] for i in range(0, 50_000, cut)), RATE) == whole
    meter = ActiveLevelMeter(RATE)
    meter.add(x)
    assert meter.length == 50_000


def test_levels_of_nothing_of_little_and_of_much():
    assert active_level([], RATE) == 0
    assert active_level([silence(1)], RATE) == 0
    assert active_level([np.full((1, 3), 0.5, np.float32)], RATE) == pytest.approx(0.5, rel=1e-3)
    assert active_level([np.full((1, 999), 1e6, np.float32)], RATE) == pytest.approx(1e6, rel=1e-3)
    assert active_level([np.full((1, 9), 0.25, np.float32)], 1) == pytest.approx(0.25, rel=1e-3)


def test_a_silent_recording_has_no_snr():
    with pytest.raises(InputError, match="the recording is silent"):
        corrupted(FakeSource(silence(1)), "pink:snr=10")


def test_the_first_pass_is_made_only_for_an_snr_and_not_before_a_refusal():
    source = FakeSource(tone(1))
    corrupted(source, "pink+clicks")
    assert source.opened == 0
    with pytest.raises(InputError, match="jpeg is for pictures"):
        corrupted(source, "pink:snr=10+jpeg")
    assert source.opened == 0
    corrupted(source, "pink:snr=10+gaussian:snr=3")
    assert source.opened == 1


def test_the_noise_of_a_file_hangs_on_the_seed_and_the_bytes_not_on_the_blocks():
    x = tone(3)
    one, other = (corrupted(FakeSource(x, cut=cut), "pink:snr=0-20+hum:snr=5") for cut in (999, 48_000))
    assert np.array_equal(one, other)
    assert not np.array_equal(one, corrupted(FakeSource(x), "pink:snr=0-20+hum:snr=5", seed=1))


# --- a noise file -----------------------------------------------------------------------------------------


@pytest.fixture
def noises(tmp_path, monkeypatch):
    """A folder of noise files: name -> ((C, n), rate), held in memory and opened by name."""
    sounds: dict[str, tuple[np.ndarray, int]] = {}
    folder = tmp_path / "noises"
    folder.mkdir()

    def plant(name: str, x: np.ndarray, rate: int = RATE) -> Path:
        sounds[name] = (x, rate)
        (folder / name).write_bytes(name.encode())
        return folder / name

    monkeypatch.setattr(media, "AUDIO_SUFFIXES", frozenset({".wav"}), raising=False)
    monkeypatch.setattr(noise_file, "open_noise", lambda path: FakeSource(*sounds[path.name], cut=1234))
    noise_file._measured.cache_clear()
    return plant


@pytest.mark.parametrize("rate", [16_000, 44_100])
@pytest.mark.parametrize("keep", [0, 1 << 22])
def test_a_noise_file_is_mixed_at_the_snr_of_active_levels(noises, monkeypatch, rate, keep):
    monkeypatch.setattr(noise_file, "KEEP", keep)
    hiss = np.random.default_rng(0).standard_normal((1, rate), dtype=np.float32) * 0.03
    path = noises("n.wav", hiss, rate)
    x = np.concatenate([tone(4), tone(4)])
    noise = corrupted(FakeSource(x), NoiseFile.of(path, 7)) - x
    assert 20 * math.log10(rms(x) / rms(noise)) == pytest.approx(7, abs=0.1)
    assert np.array_equal(noise[0], noise[1])  # one noise, all channels
    other = corrupted(FakeSource(x, cut=777), NoiseFile.of(path, 7)) - x
    assert np.array_equal(noise, other)


def test_a_noise_file_is_looped_from_a_random_place_on(noises):
    ramp = np.linspace(0.1, 1, 5000, dtype=np.float32)[None]
    path = noises("ramp.wav", ramp)
    starts = []
    for seed in range(5):
        x = tone(1)
        noise = (corrupted(FakeSource(x), NoiseFile.of(path, 0), seed) - x)[0]
        noise = noise / noise.max()
        starts.append(int(np.argmin(np.abs(ramp[0] - noise[0]))))
        assert noise == pytest.approx(
            np.take(ramp[0], np.arange(starts[-1], starts[-1] + RATE), mode="wrap"), abs=1e-3
        )
    assert len(set(starts)) == 5


def test_the_pauses_of_a_noise_do_not_make_it_louder(noises):
    hiss = np.random.default_rng(0).standard_normal((1, RATE), dtype=np.float32) * 0.1
    path = noises("gaps.wav", np.concatenate([hiss, 0 * hiss, 0 * hiss], axis=1))
    x = tone(3)
    noise = corrupted(FakeSource(x), NoiseFile.of(path, 10)) - x
    assert 20 * math.log10(rms(x) / rms(noise)) == pytest.approx(10 + 10 * math.log10(3), abs=0.2)


def test_stereo_noise_stays_stereo_in_stereo_and_is_mixed_down_in_mono(noises):
    both = np.random.default_rng(0).standard_normal((2, RATE), dtype=np.float32) * 0.1
    path = noises("two.wav", both)
    x = np.concatenate([tone(1), tone(1)])
    noise = corrupted(FakeSource(x), NoiseFile.of(path, 10)) - x
    assert abs(np.corrcoef(noise)[0, 1]) < 0.05
    assert corrupted(FakeSource(x[:1]), NoiseFile.of(path, 10)).shape == (1, RATE)


def test_of_a_folder_each_file_gets_one_by_its_content_and_the_seed(tmp_path, noises):
    for n in range(4):
        noises(f"{n}.wav", tone(1, 500.0 * (n + 1)))
    part = NoiseFile.of(tmp_path / "noises", "0")
    assert [path.name for path in part.paths] == ["0.wav", "1.wav", "2.wav", "3.wav"]
    x = np.full((1, RATE), 0.1, np.float32)
    drawn = set()
    for seed in range(20):
        noise = corrupted(FakeSource(x), part, seed) - x
        drawn.add(int(np.argmax(np.abs(np.fft.rfft(noise[0])))))
    assert drawn == {500, 1000, 1500, 2000}


def test_noise_files_that_cannot_serve_are_named(tmp_path, noises):
    with pytest.raises(UsageError, match="no such file or folder"):
        NoiseFile.of(tmp_path / "absent.wav", 3)
    with pytest.raises(UsageError, match="no recordings in it"):
        NoiseFile.of(tmp_path / "noises", 3)
    path = noises("still.wav", silence(1))
    with pytest.raises(InputError, match=r"noise file .*still\.wav is silent"):
        corrupted(FakeSource(tone(1)), NoiseFile.of(path, 3))
    with pytest.raises(InputError, match="noise-file is for recordings, and this is a picture"):
        Chain((NoiseFile.of(path, 3),)).check(Header(kind="image", channels=3, length=9))
    assert str(NoiseFile.of(path, "0-20")) == "noise-file:snr=0-20"


# --- the second look at a file ----------------------------------------------------------------------------


def test_a_view_of_a_file_leaves_its_position_alone(tmp_path):
    (tmp_path / "f").write_bytes(bytes(range(200)))
    with (tmp_path / "f").open("rb", buffering=0) as file:
        file.seek(17)
        view = io.BufferedReader(noising.View(file))
        assert view.read(3) == bytes([0, 1, 2])
        assert view.seek(-2, io.SEEK_END) == 198
        assert view.read() == bytes([198, 199])
        assert view.seek(100) == view.tell() == 100
        assert view.seek(5, io.SEEK_CUR) == 105
        view.close()
        assert file.tell() == 17
