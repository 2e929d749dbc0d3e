"""Training on recordings: what is mixed, what the net may reach, and that the exported file is the trained net."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import torch
from conftest import ROOT

from denoise_cli import nets
from denoise_cli.errors import TrainingError, UsageError
from denoise_cli.nets.band_mixer import BandMixer
from denoise_cli.nets.spectrum import Spectrum
from denoise_cli.session import Session
from denoise_cli.train import checkpoint, fit, loop, loudness, mixing
from denoise_cli.train.losses import LOSSES
from denoise_cli.train.mixing import Mixing, Mixtures, active_rms
from denoise_cli.train.sounds import Sounds

RATE = 8000
TINY = {"window": 64, "stem": 4, "channels": 8, "mixed": 4, "dilations": (1, 2)}
OPTIONS = loop.Options(
    arch="band-mixer", net=TINY, noise="", loss="spectral", batch_size=2, patch=1024, warmup=2, ema=0.9, steps=6
)


def voice(seconds: float = 1.5, seed: int = 0) -> np.ndarray:
    """Syllables of a buzz, with pauses, (n,) float in [-1, 1]."""
    t = np.arange(round(seconds * RATE)) / RATE
    buzz = sum(np.sin(2 * np.pi * 120 * k * t) / k for k in range(1, 12))
    return 0.3 * buzz * (np.sin(2 * np.pi * (2 + seed % 3) * t) > 0) * np.sin(2 * np.pi * 4 * t) ** 2


def clips(count: int = 3) -> list[np.ndarray]:
    return [(voice(seed=n) * 20_000).astype(np.int16) for n in range(count)]


def noises() -> list[np.ndarray]:
    return [(np.random.default_rng(9).standard_normal(3000) * 3000).astype(np.int16)]


def mixtures(length: int = 4096, batch_size: int = 4, seed: int = 0, **changed) -> Mixtures:
    return Mixtures(clips(), noises(), RATE, length, batch_size, seed, replace(Mixing(), **changed))


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    for n in range(4):
        for kind, x in (("clean", voice(seed=n)), ("noise", noises()[0] / 32768)):
            (tmp_path / kind).mkdir(exist_ok=True)
            soundfile.write(tmp_path / kind / f"{n}.wav", x, RATE * (1 + n % 2))
    return tmp_path / "clean", tmp_path / "noise"


# --- Mixing -----------------------------------------------------------------------------------------------


def test_a_batch_depends_on_seed_and_step_alone():
    a, b = mixtures().batch(3), mixtures().batch(3)
    assert np.array_equal(a.noisy, b.noisy)
    assert np.array_equal(a.clean, b.clean)
    assert not np.array_equal(a.noisy, mixtures().batch(4).noisy)
    assert not np.array_equal(a.noisy, mixtures(seed=1).batch(3).noisy)
    assert a.noisy.shape == a.clean.shape == (4, 1, 4096)
    assert a.noisy.dtype == np.float32


def test_the_noise_stands_at_the_snr_that_was_drawn():
    for noisy, clean in zip(
        *vars(mixtures(snr=(6, 6), high=0, clean=0, empty=0, batch_size=8).batch(0)).values(), strict=True
    ):
        snr = 20 * np.log10(active_rms(clean[0], RATE) / active_rms((noisy - clean)[0], RATE))
        assert snr == pytest.approx(6, abs=0.01)


def test_levels_stay_below_full_scale_and_where_they_were_drawn():
    loud = mixtures(level=(0, 0), snr=(-6, -6), high=0, batch_size=8).batch(0)
    assert np.abs(loud.noisy).max() <= 0.991
    quiet = mixtures(level=(-40, -40), clean=1.0).batch(0)
    for noisy, clean in zip(quiet.noisy, quiet.clean, strict=True):
        assert np.array_equal(noisy, clean)
        assert 20 * np.log10(active_rms(clean[0], RATE)) == pytest.approx(-40, abs=0.01)


def test_a_short_voice_stands_anywhere_in_silence():
    clip, ends = np.full(900, 1000, np.int16), np.array([900])
    starts = [
        int(np.flatnonzero(mixing._cut(np.random.default_rng(n), [clip], ends, 1000, loop=False))[0])
        for n in range(300)
    ]
    assert min(starts) <= 3
    assert 97 <= max(starts) <= 100
    assert np.mean(starts) == pytest.approx(50, abs=6)


def test_some_mixtures_hold_no_speech():
    batch = mixtures(clean=0, empty=1.0, level=(-25, -25)).batch(0)
    assert not batch.clean.any()
    for noise in batch.noisy:  # as loud as a voice would be: hearing.py does not know that there is none
        assert 20 * np.log10(active_rms(noise[0], RATE)) == pytest.approx(-25, abs=0.01)


def test_a_faint_floor_belongs_to_the_clean_side():
    batch = mixtures(clean=1.0, floor=1.0, floor_snr=(30, 30), room=0, tone=0).batch(0)
    pause = np.sort(np.abs(batch.clean), axis=2)[:, :, :400]  # the voice rests for half of the time
    assert np.array_equal(batch.noisy, batch.clean)
    assert (pause > 0).all(), "even where nobody speaks"


def test_noise_that_is_faint_enough_counts_as_clean():
    batch = mixtures(clean=0, empty=0, high=1.0, high_snr=(31, 31), floor=0, rumble=0).batch(0)
    assert np.array_equal(batch.noisy, batch.clean)
    batch = mixtures(clean=0, empty=0, high=1.0, high_snr=(29, 29), floor=0, rumble=0).batch(0)
    assert np.abs(batch.noisy - batch.clean).max() > 0


def test_a_rumble_that_counts_as_clean_stays_below_its_edge():
    quiet = dict(clean=1.0, floor=0.0, room=0.0, tone=0.0, bright=0.0, speed=(1, 1), seed=4)
    with_it = mixtures(**quiet, rumble=1.0, rumble_snr=(10, 10), rumble_edge=(40, 40)).batch(0)
    without = mixtures(**quiet, rumble=0.0).batch(0)

    def low(batch):
        spectra = np.abs(np.fft.rfft(batch.clean[:, 0] * np.hanning(4096))) ** 2
        below = np.fft.rfftfreq(4096, 1 / RATE) < 80  # the voice begins at 120
        return spectra[:, below].sum(1) / spectra.sum(1)

    assert np.array_equal(with_it.noisy, with_it.clean)
    assert (low(without) < 0.01).all()
    assert (low(with_it) > 0.04).all()


def test_a_bright_voice_is_louder_above_the_edge_alone():
    x = np.random.default_rng(0).standard_normal(65_536).astype(np.float32)
    y = mixing._brightened(x, 16_000, 20.0, 3000.0)
    hertz, gain = np.fft.rfftfreq(len(x), 1 / 16_000), 20 * np.log10(np.abs(np.fft.rfft(y) / np.fft.rfft(x)))
    for at, wanted in ((100, 0), (750, 0), (3000, 10), (8000, 20)):
        assert gain[np.argmin(np.abs(hertz - at))] == pytest.approx(wanted, abs=0.1)
    quiet = dict(clean=1.0, floor=0.0, room=0.0, rumble=0.0)
    plain, bright = (mixtures(**quiet, bright=share, bright_gain=(20, 20)).batch(0) for share in (0.0, 1.0))
    assert np.array_equal(bright.noisy, bright.clean)
    assert not np.allclose(bright.clean, plain.clean)


def test_pauses_do_not_count_in_the_level():
    x = voice()
    assert active_rms(np.concatenate([x, np.zeros(5 * len(x))]), RATE) == pytest.approx(active_rms(x, RATE))


def test_what_cannot_be_read_is_left_out(tmp_path, folders):
    bad, silent = tmp_path / "bad.wav", tmp_path / "silent.wav"
    bad.write_text("no sound")
    soundfile.write(silent, np.zeros(1000), RATE)
    left_out = []
    found = mixing.load([bad, silent, *sorted(folders[0].iterdir())], RATE, lambda path, why: left_out.append(path))
    assert left_out == [bad, silent]
    gone = tmp_path / "gone.wav"
    mixing.load([gone, *folders[0].iterdir()], RATE, lambda path, why: left_out.append(path))
    assert left_out[2:] == [gone], "nor what cannot be opened"
    assert {clip.dtype for clip in found} == {np.dtype(np.int16)}
    seconds = [1.5, 0.75, 1.5, 0.75]  # those of twice the rate are brought to one
    assert [len(clip) / RATE for clip in found] == pytest.approx(seconds, abs=1e-3)
    with pytest.raises(TrainingError, match="no recording"):
        mixing.load([bad], RATE, lambda *_: None)


# --- The net ----------------------------------------------------------------------------------------------


def test_the_spectrum_is_that_of_the_fft_and_its_inverse_gives_the_samples_back():
    spectrum, x = Spectrum(64), torch.randn(3, 640, generator=torch.Generator().manual_seed(0))
    real, imaginary = spectrum(x)
    shape = torch.sin(torch.pi * (torch.arange(64) + 0.5) / 64)
    expected = torch.fft.rfft(x[:, 32:96] * shape)
    assert torch.allclose(torch.complex(real, imaginary)[:, 2], expected, atol=1e-4)
    assert torch.allclose(spectrum.inverse(real, imaginary), x, atol=1e-5)


def net(seed: int = 0) -> BandMixer:
    torch.manual_seed(seed)
    made = BandMixer(BandMixer.Config(**TINY)).eval()
    with torch.no_grad():
        torch.nn.init.normal_(made.head.weight, 0, 0.5)  # fresh nets give one mask everywhere
        for block in made.blocks:
            block.point.weight *= 10  # and hardly look around
    return made


@torch.no_grad()
def test_nothing_beyond_the_halo_changes_a_sample():
    made = net()
    x = 0.1 * torch.randn(1, 1, 64 * 32, generator=torch.Generator().manual_seed(0))
    middle = x.shape[2] // 2
    far, near = x.clone(), x.clone()
    far[..., : middle - made.halo] = 0.3
    near[..., : middle - made.halo + 2 * made.multiple] = 0.3
    assert torch.allclose(made(far)[..., middle:], made(x)[..., middle:], atol=1e-6)
    assert not torch.allclose(made(near)[..., middle:], made(x)[..., middle:], atol=1e-6)


@torch.no_grad()
def test_one_mask_serves_all_channels():
    made = net()
    x = 0.1 * torch.randn(1, 1, 1024, generator=torch.Generator().manual_seed(0))
    both = made(torch.cat([x, -0.5 * x], 1))
    assert torch.allclose(both[:, 1], -0.5 * both[:, 0], atol=1e-6), "the speaker stays where he stood"
    assert not made(torch.zeros(1, 2, 1024)).any(), "silence stays silent"


# --- The loss ---------------------------------------------------------------------------------------------


def test_the_spectral_loss_knows_equal_from_different_and_survives_silence():
    generator = torch.Generator().manual_seed(0)
    x, y = (0.1 * torch.randn(2, 1, 2048, generator=generator) for _ in range(2))
    loss = LOSSES["spectral"]
    assert loss(x, x) < 1e-6
    assert loss(x + 0.1 * y, x) < loss(x + 0.5 * y, x)
    assert loss(4 * (x + 0.1 * y), 4 * x).item() == pytest.approx(loss(x + 0.1 * y, x).item(), rel=1e-3)
    silent = torch.zeros(1, 1, 2048, requires_grad=True)
    loss(silent, torch.zeros(1, 1, 2048)).backward()
    assert silent.grad.isfinite().all()


@pytest.mark.parametrize("loss", [LOSSES["spectral"], LOSSES["perceptual"]])
def test_what_is_left_where_nobody_speaks_weighs_no_more_than_speech(loss, talk):
    noise = loudness.RMS * torch.randn(talk.shape, generator=torch.Generator().manual_seed(0))

    def pull(target: torch.Tensor) -> float:
        """The gradient of noise 20 dB below a voice."""
        noisy = (target + 0.1 * noise)[None].requires_grad_()
        loss(noisy, target[None]).backward()
        return float(noisy.grad.norm())

    assert 0.2 * pull(talk) < pull(torch.zeros_like(talk)) < 2 * pull(talk)


@pytest.fixture(scope="module")
def talk() -> torch.Tensor:
    """Two seconds of the sample voice at 16 kHz, as loud as the loss wants it."""
    x, rate = soundfile.read(ROOT / "docs/clean/voice.wav", dtype="float32", always_2d=True)
    x = soxr.resample(x[:, 0], rate, loudness.RATE)[: 2 * loudness.RATE]
    return torch.from_numpy(x * (loudness.RMS / np.sqrt(np.mean(x**2))))[None]


@pytest.mark.parametrize("speed", [1.05, 1.3])
def test_a_tape_speed_leaves_the_treble(speed):
    """The upper end of the band is the model's, too: where no voice had any there, it would be taken for noise."""
    white = (3000 * np.random.default_rng(0).standard_normal(20 * RATE)).astype(np.int16)
    drawn = Mixtures([white], [white], RATE, 10 * RATE, 1, 0)
    played = drawn._played(np.random.default_rng(1), [white], np.array([len(white)]), (speed, speed), loop=True)
    power = np.square(np.abs(np.fft.rfft(played)))
    hertz = np.fft.rfftfreq(len(played))  # of the rate
    low, high = (power[(hertz > a) & (hertz < b)].mean() for a, b in ((0.05, 0.15), (0.425, 0.45)))
    assert 10 * np.log10(high / low) == pytest.approx(0, abs=1)


def test_loudness_is_in_sones_and_begins_at_the_threshold_of_hearing():
    t = torch.arange(loudness.RATE) / loudness.RATE

    def sones(decibels: float, hertz: float) -> float:
        amplitude = math.sqrt(2) * loudness.RMS * 10 ** ((decibels - loudness.SPEECH) / 20)
        heard = loudness.loudness(loudness.intensity(amplitude * torch.sin(2 * torch.pi * hertz * t)[None]))
        return float(heard.sum(-1).mean()) * loudness.BARK

    assert sones(40, 1000) == pytest.approx(1.1, rel=0.05), "P.862.2 is a tenth above the sone"
    assert 1.5 < sones(50, 1000) / sones(40, 1000) < 2.5, "ten decibels are about twice as loud"
    assert sones(30, 80) < 0.2 * sones(30, 3000), "the ear is deaf to faint low tones"
    assert sones(0, 250) == 0


def test_a_disturbance_grows_with_the_noise_and_weighs_what_is_added_and_what_is_missing_as_pesq_does(
    talk, monkeypatch
):
    noise = loudness.RMS * torch.randn(talk.shape, generator=torch.Generator().manual_seed(0))
    points = [loudness.disturbance(talk + gain * noise, talk).item() for gain in (0, 0.01, 0.1, 0.5)]
    assert points == sorted(points)
    assert points[0] < 0.02
    assert points[3] > 1
    noisy = talk + 0.1 * noise
    # PESQ itself loses 3.6 points one way and 3.9 the other.
    assert 0.8 < loudness.disturbance(noisy, talk) / loudness.disturbance(talk, noisy) < 1.25
    assert loudness.disturbance(0.9 * talk, talk) < 0.1, "the gain of a frame is no disturbance"
    monkeypatch.setattr(loudness, "SYMMETRIC", 0)
    assert loudness.disturbance(noisy, talk) > 5 * loudness.disturbance(talk, noisy)


def test_the_norms_of_a_disturbance_are_those_of_pesq(monkeypatch):
    """W (sum over bands of (w d / W^(1/p))^p)^(1/p), the pseudo_Lp of P.862, W the bands' widths w together."""
    bands = len(loudness._bands()[1])
    monkeypatch.setattr(loudness, "loudness", lambda power: 1e-5 * power)
    monkeypatch.setattr(loudness, "intensity", lambda x: x)
    monkeypatch.setattr(loudness, "_bands", lambda: (None, None, torch.zeros(bands, dtype=torch.bool)))  # no level
    rng = torch.Generator().manual_seed(0)
    s = 1e5 * torch.rand((1, 20, bands), generator=rng)
    y = s + 2e5 * torch.rand((1, 20, bands), generator=rng)  # all of it heard, some of it more than threefold
    monkeypatch.setattr(loudness, "GAINS", (1.0, 1.0))
    monkeypatch.setattr(loudness, "WORST", float("inf"))
    d = 1e-5 * (y - s - loudness.MASKED * torch.minimum(y, s)).clamp(min=0).double()
    width, total = loudness.BARK, loudness.BARK * bands
    weight = ((s.double().sum(-1) + 1e5) / 1e7) ** 0.04
    frames = total * ((d * width) ** 2 / total).sum(-1).sqrt() / weight
    syllable = (frames**6).mean() ** (1 / 6)
    monkeypatch.setattr(loudness, "ASYMMETRIC", 0)
    assert loudness.disturbance(y, s).item() == pytest.approx(0.1 * syllable.item(), rel=1e-4)


def test_the_perceptual_loss_adds_to_the_spectral_one_and_survives_silence(talk):
    noisy = (talk + 0.02 * torch.randn(talk.shape, generator=torch.Generator().manual_seed(0)))[None]
    clean, spectral, perceptual = talk[None], LOSSES["spectral"], LOSSES["perceptual"]
    assert perceptual(noisy, clean) > spectral(noisy, clean) + 0.05
    assert perceptual(4 * noisy, 4 * clean).item() == pytest.approx(perceptual(noisy, clean).item(), rel=1e-3)
    silent = torch.zeros(1, 1, 2048, requires_grad=True)
    perceptual(silent, torch.zeros(1, 1, 2048)).backward()
    assert silent.grad.isfinite().all()


# --- A whole training -------------------------------------------------------------------------------------


def test_what_is_exported_is_what_was_trained_and_runs_at_any_length_and_channels(tmp_path, folders):
    out, said = tmp_path / "m.onnx", []
    fitted = fit.fit(Sounds(folders[0], OPTIONS, folders[1], rate=RATE), out, say=said.append)
    assert fitted.parity < 1e-4
    assert np.isfinite(fitted.scores["SI-SDR"])
    assert "3 recordings and 3 noises to train on, 1 recordings to validate" in said[0]
    session = Session(out, "cpu")
    card = session.card
    assert (card.kind, card.rate, card.multiple, card.halo) == ("audio", RATE, 32, (1 + 2 + 4) * 32)
    x = 0.1 * np.random.default_rng(0).standard_normal((2, 3, 32 * 11)).astype(np.float32)
    made = nets.build("band-mixer", TINY)
    checkpoint.initialise(made, out.with_suffix(".ckpt"))
    with torch.no_grad():
        assert np.abs(session(x) - made(torch.from_numpy(x)).numpy()).max() < 1e-5
    assert not session(np.zeros((1, 2, 32 * 11), np.float32)).any(), "digital silence stays silent"
    assert out.with_suffix(".curve.png").stat().st_size > 1000
    assert out.with_suffix(".sheet.png").stat().st_size > 1000


def test_the_card_names_the_whole_range_of_noise(folders):
    sounds = Sounds(folders[0], OPTIONS, folders[1], rate=RATE)
    assert "-6 to 45 dB SNR" in sounds.card()["noise"]
    sounds.mixing = Mixing(snr=(0, 10), high=0)
    assert ", 0 to 10 dB SNR" in sounds.card()["noise"]


def test_killed_and_resumed_equals_unbroken(tmp_path):
    def run(options, state):
        return loop.train(state, options, mixtures(1024, 2), checkpoint=tmp_path / "m.ckpt")

    def begin():
        torch.manual_seed(0)
        return loop.start(nets.build("band-mixer", TINY), OPTIONS, torch.device("cpu"))

    torch.set_num_threads(1)
    whole = run(OPTIONS, begin())
    half = replace(OPTIONS, steps=3)
    checkpoint.save(begin(), half, tmp_path / "m.ckpt")
    state = begin()
    three = iter([False] * 3 + [True])
    loop.train(state, OPTIONS, mixtures(1024, 2), checkpoint=tmp_path / "m.ckpt", stop=lambda: next(three))
    resumed = run(OPTIONS, checkpoint.restore(begin(), OPTIONS, tmp_path / "m.ckpt"))
    assert resumed.step == whole.step == 6
    for name, value in whole.average.items():
        assert torch.equal(value, resumed.average[name]), name


def test_silence_among_what_is_held_out_is_not_scored(tmp_path, folders):
    clean, noise = folders
    (tmp_path / "val").mkdir()
    long = np.zeros(60 * RATE, np.float32)
    long[: 8 * RATE] = np.tile(voice(), 8)[: 8 * RATE]
    soundfile.write(tmp_path / "val" / "pauses.wav", long, RATE)
    fitted = fit.fit(Sounds(clean, OPTIONS, noise, tmp_path / "val", RATE), tmp_path / "m.onnx")
    assert (tmp_path / "m.onnx").exists()
    assert (tmp_path / "m.sheet.png").exists()
    assert math.isfinite(fitted.scores["SI-SDR"])


def test_an_epoch_counts_the_recordings_and_not_the_noises(folders):
    clean, noise = folders
    task = Sounds(clean, OPTIONS, noise, None, RATE)
    assert task.count == len(task.training) < len(task.training) + len(task.noises)


def test_a_noise_is_heard_at_other_speeds():
    tone = (8000 * np.sin(2 * np.pi * 500 * np.arange(4 * RATE) / RATE)).astype(np.int16)
    drawn = Mixtures(clips(), [tone], RATE, 4096, 1, 0, mixing.Mixing(tone=0, coloured=0, second=0))
    peaks = {int(np.abs(np.fft.rfft(drawn._noise(np.random.default_rng(n)))).argmax()) for n in range(40)}
    hertz = np.array(sorted(peaks)) * RATE / 4096
    assert 340 < hertz[0] < 420
    assert 620 < hertz[-1] < 710


def test_what_does_not_go_with_recordings_is_refused(tmp_path, folders):
    clean, noise = folders
    with pytest.raises(UsageError, match="multiple of 32"):
        fit.fit(Sounds(clean, replace(OPTIONS, patch=1000), rate=RATE), tmp_path / "m.onnx")
    with pytest.raises(UsageError, match="not a net for audio"):
        fit.fit(Sounds(clean, replace(OPTIONS, arch="unet", net={}, loss="l1")), tmp_path / "m.onnx")
    with pytest.raises(UsageError, match="at 16000 Hz, not at 8000"):
        fit.fit(Sounds(clean, replace(OPTIONS, loss="perceptual"), rate=RATE), tmp_path / "m.onnx")
    with pytest.raises(UsageError, match="of 512 samples or more"):
        fit.fit(Sounds(clean, replace(OPTIONS, patch=256), rate=RATE), tmp_path / "m.onnx")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no recordings in it"):
        Sounds(clean, OPTIONS, tmp_path / "empty")
    with pytest.raises(TrainingError, match="no recordings to train on"):
        Sounds(tmp_path / "empty", OPTIONS, noise)
