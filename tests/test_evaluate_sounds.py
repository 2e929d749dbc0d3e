"""Evaluation of recordings: scores as a file would have them, and what is said where there is none."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from conftest import scene, write_png

from denoise_cli import evaluate, metrics
from denoise_cli.corrupt import parse
from denoise_cli.errors import BackendError, UsageError
from denoise_cli.evaluate import Failed, Pair, means, pairs, sounds
from denoise_cli.evaluate.sounds import SoundRow

sf = pytest.importorskip("soundfile")

RATE = 16000
QUICK = ["si_sdr", "snr", "seg_snr", "lsd"]  # those that need no optional package


def melody(seconds: float, rate: int = RATE, channels: int = 1) -> np.ndarray:
    """Hummed syllables with pauses between them: (C, T), exact in 16 bits."""
    t = np.arange(int(seconds * rate)) / rate
    pitch = 2 * np.pi * np.cumsum(140 + 40 * np.sin(2 * np.pi * 0.7 * t)) / rate
    hum = sum(np.sin(k * pitch) / k for k in range(1, 12))
    x = 0.15 * hum * np.clip(np.sin(4 * np.pi * t), 0, None)
    return np.stack([np.rint(x * 2**15 / (c + 1)) / 2**15 for c in range(channels)]).astype(np.float32)


def spoiled(x: np.ndarray, std: float = 0.02) -> np.ndarray:
    noise = np.random.default_rng(1).normal(0, std, x.shape)
    return (np.rint((x + noise) * 2**15) / 2**15).astype(np.float32)


def write(path: Path, x: np.ndarray, rate: int = RATE, subtype: str = "PCM_16") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, x.T, rate, subtype=subtype)
    return path


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    """A tree of recordings of many rates, lengths and channels."""
    root = tmp_path / "clean"
    write(root / "a.wav", melody(1.5))
    write(root / "sub" / "b.flac", melody(2, 44100, 2), 44100)
    write(root / "c.wav", melody(1.2, 8000), 8000, "FLOAT")
    return root


def score(matched, denoiser=None, noise=None, **options) -> list:
    options = {"metrics": QUICK, **options}
    return list(evaluate.evaluate(matched, denoiser, None if noise is None else parse(noise), **options))


def test_every_file_is_scored_at_its_own_rate_and_length(clean, tmp_path):
    for name, rate in (("a.wav", RATE), ("sub/b.flac", 44100), ("c.wav", 8000)):
        x, _ = sf.read(clean / name, dtype="float32", always_2d=True)
        write(tmp_path / "noisy" / name, spoiled(x.T), rate)
    for item in score(pairs(tmp_path / "noisy", clean)):
        rate, row = item.row.rate, item.row
        assert (item.clean.shape[1], sf.info(clean / row.file).samplerate) == (row.samples, rate)
        assert row.noisy == {
            "si_sdr": metrics.si_sdr(item.noisy, item.clean),
            "snr": metrics.snr(item.noisy, item.clean),
            "seg_snr": metrics.segmental_snr(item.noisy, item.clean, rate),
            "lsd": metrics.log_spectral_distance(item.noisy, item.clean, rate),
        }
        assert row.denoised == row.noisy  # no denoiser: the input itself
        assert item.notes == ()


def test_the_noise_is_made_here_and_is_the_same_for_a_seed(clean):
    first, again, other = (score(pairs(None, clean), noise="gaussian:std=0.05", seed=s) for s in (7, 7, 8))
    for a, b, c in zip(first, again, other, strict=True):
        assert np.array_equal(a.noisy, b.noisy)
        assert not np.array_equal(a.noisy, c.noisy)
        assert np.std(a.noisy - a.clean) == pytest.approx(0.05, rel=0.05)


def test_the_noise_is_that_of_corrupt(clean, tmp_path):
    from denoise_cli import noising
    from denoise_cli.media import SUFFIXES, files

    found = files.find([str(clean)], str(tmp_path / "noisy"), tag="noisy", suffixes=SUFFIXES)
    assert [r.error for r in noising.run(found.jobs, parse("gaussian:std=0.3"), seed=3)] == [None] * 3
    made = score(pairs(None, clean), noise="gaussian:std=0.3", seed=3)
    read = score(pairs(tmp_path / "noisy", clean))
    for a, b in zip(made, read, strict=True):
        assert np.array_equal(a.noisy, b.noisy)
        assert a.row.noisy == b.row.noisy


def test_a_perfect_denoiser_scores_infinity(clean):
    matched = pairs(None, clean / "a.wav")
    x = melody(1.5)
    (item,) = score(matched, lambda noisy: x[:, :, None], "gaussian:std=0.05")
    assert (item.row.denoised["si_sdr"], item.row.denoised["snr"], item.row.denoised["lsd"]) == (math.inf,) * 2 + (
        0,
    )
    assert item.row.denoised["seg_snr"] == 35
    assert item.row.noisy["si_sdr"] < 25


def test_results_are_clipped_and_rounded_to_the_depth_of_the_file_and_float_files_keep_all(clean):
    less_than_half_a_step = np.float32(0.4 / 2**15)
    (item,) = score([Pair("a", clean / "a.wav", clean / "a.wav")], lambda noisy: noisy.data + less_than_half_a_step)
    assert item.row.denoised["snr"] == math.inf
    (item,) = score([Pair("a", clean / "a.wav", clean / "a.wav")], lambda noisy: noisy.data * 100)
    assert (item.denoised.min(), item.denoised.max()) == (-1, 1 - 2**-15)
    (item,) = score([Pair("c", clean / "c.wav", clean / "c.wav")], lambda noisy: noisy.data * 100)
    assert item.denoised.max() > 1


def test_unclipped_noise_is_scored_as_it_is(clean):
    matched = pairs(None, clean / "a.wav")
    (clipped,) = score(matched, noise="gaussian:std=1")
    (bare,) = score(matched, noise="gaussian:std=1", clip=False)
    assert abs(clipped.noisy).max() <= 1 < abs(bare.noisy).max()
    assert bare.row.noisy["snr"] < clipped.row.noisy["snr"]


def test_the_denoiser_is_given_the_file_and_its_time_is_taken(clean):
    seen = []

    def denoise(noisy):
        seen.append((noisy.data.shape, noisy.header.kind, noisy.header.rate))
        return noisy.data

    item = score(pairs(None, clean / "sub/b.flac"), denoise, "gaussian:std=0.01")[0]
    assert seen == [((2, 88200, 1), "audio", 44100)]
    assert item.row.real_time_factor == pytest.approx(item.row.seconds / 2)


@pytest.mark.parametrize(
    ("x", "rate", "said"),
    [
        (melody(1.4), RATE, "noisy has 22400 samples at 16000 Hz in 1 channels, clean has 24000 samples"),
        (melody(1.5), 8000, "24000 samples at 8000 Hz"),
        (melody(1.5, channels=2), RATE, "in 2 channels"),
        (melody(0), RATE, "holds no samples"),
    ],
)
def test_what_does_not_go_together_is_an_error_of_that_pair(clean, tmp_path, x, rate, said):
    write(tmp_path / "noisy/a.wav", x, rate)
    write(tmp_path / "noisy/c.wav", melody(1.2, 8000), 8000, "FLOAT")
    failed, good = score(pairs(tmp_path / "noisy", clean))
    assert isinstance(failed, Failed)
    assert said in failed.error
    assert good.row.file == "c.wav"


def test_recordings_and_pictures_of_one_name_are_told_apart(clean, tmp_path):
    write_png(clean / "a.png", scene(40, 40))
    write(tmp_path / "noisy/a.flac", spoiled(melody(1.5)))
    write_png(tmp_path / "noisy/a.png", scene(40, 40))
    matched = pairs(tmp_path / "noisy", clean)
    assert [(pair.clean.name, pair.kind) for pair in matched] == [("a.wav", "audio"), ("a.png", "image")]
    assert [type(item.row).__name__ for item in score(matched)] == ["SoundRow", "PictureRow"]


def test_silence_has_no_score_and_says_why(clean):
    write(clean / "d.wav", 0 * melody(1))
    *_, item = score(pairs(None, clean / "d.wav"), noise="gaussian:std=0.01", metrics=sounds.installed())
    assert item.row.noisy["si_sdr"] is None
    assert item.row.noisy["lsd"] > 0
    assert item.notes[0].startswith("no SI-SDR, SNR, segSNR")
    assert "the reference is silent" in item.notes[0]


@pytest.mark.skipif(len(sounds.installed()) < 8, reason="needs pesq (which needs a compiler) and pystoi")
def test_all_metrics_that_are_installed_are_the_default(clean):
    (item,) = score(pairs(None, clean / "a.wav"), noise="gaussian:std=0.05", metrics=None)
    assert list(item.row.noisy) == list(sounds.METRICS)
    assert all(value is not None for value in item.row.noisy.values())
    write(clean / "short.wav", melody(0.2))
    (short,) = score(pairs(None, clean / "short.wav"), noise="gaussian:std=0.05", metrics=None)
    assert [name for name, value in short.row.noisy.items() if value is None] == [
        "stoi",
        "estoi",
        "pesq_wb",
        "pesq_nb",
    ]
    assert len(short.notes) == 2


def test_metrics_are_chosen_by_name(monkeypatch):
    assert sounds.chosen("LSD, si-sdr,seg_snr,lsd") == ["lsd", "si_sdr", "seg_snr"]
    with pytest.raises(UsageError, match="choose from si-sdr"):
        sounds.chosen("si-sdr,sisnr")
    monkeypatch.setattr(metrics.speech, "find_spec", lambda name: None)
    assert sounds.installed() == QUICK
    with pytest.raises(BackendError, match=r"pesq-wb needs pesq.*denoise-cli\[speech\]"):
        sounds.chosen("si-sdr,pesq-wb")


def test_means_leave_out_what_is_missing():
    def row(*values: float | None) -> SoundRow:
        noisy = dict(zip(("si_sdr", "stoi"), values, strict=True))
        return SoundRow("x", "", noisy, noisy, RATE, RATE, 0.5)

    mean = means([row(1.0, None), row(3.0, 0.5), row(math.inf, None)])
    assert mean == {
        "noisy_si_sdr": math.inf, "noisy_stoi": 0.5, "si_sdr": math.inf, "stoi": 0.5, "real_time_factor": 0.5
    }  # fmt: skip
    assert math.isnan(means([row(math.inf, None), row(-math.inf, None)])["si_sdr"])
    assert math.isnan(means([row(1.0, None)])["stoi"])
