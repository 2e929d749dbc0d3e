"""`denoise run` on recordings: alone, beside pictures, through pipes, and with its own options."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import ROOT, denoise, scene, write_png

RATE = 16_000


def sound(seconds: float = 0.7, rate: int = RATE, channels: int = 1) -> np.ndarray:
    """(n, channels): tones and hiss."""
    t = np.arange(round(seconds * rate)) / rate
    x = 0.2 * np.sin(2 * np.pi * 300 * t) + 0.02 * np.random.default_rng(0).standard_normal(len(t))
    return np.stack([x * (1 - 0.3 * c) for c in range(channels)], axis=1)


def write(path: Path, x: np.ndarray | None = None, rate: int = RATE, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, sound(rate=rate) if x is None else x, rate, **options)
    return path


def test_a_recording_that_tells_no_length_is_compared_by_a_later_run_too(command, voice_model, tmp_path):
    source = write(tmp_path / "in" / "a.mp3", sound(2.0), format="MP3", subtype="MPEG_LAYER_III")
    content = source.read_bytes()
    source.write_bytes(content[content.index(content[:2], 10) :])  # without the frame that holds a table
    assert command("run", tmp_path / "in", "-m", voice_model).code == 0
    done = command("run", tmp_path / "in", "-m", voice_model, "--compare", tmp_path / "cmp")
    assert (done.code, (tmp_path / "cmp" / "a.mp3.compare.png").exists()) == (0, True), done.err


def test_what_is_cut_at_full_scale_is_told(command, voice_model, tmp_path):
    loud = write(tmp_path / "a.wav", np.clip(8 * sound(), -1.5, 1.5), subtype="FLOAT")
    line = ("run", loud, "-m", voice_model, "--bit-depth", 16, "--strength", 0, "-o")
    done = command(*line, tmp_path / "b.wav", "--report", tmp_path / "r.json")
    (row,) = json.loads((tmp_path / "r.json").read_text())["results"]
    cut = np.mean(np.abs(soundfile.read(loud)[0]) > 1)
    assert 0.1 < cut < 0.9
    assert row["clipped"] == pytest.approx(cut, abs=2e-6)
    assert f"a.wav: {cut:.1%} of the samples are cut at full scale; --clip rescale keeps them" in done.err
    done = command(*line, tmp_path / "c.wav", "--clip", "rescale")
    assert (done.code, "cut at full scale" in done.err) == (0, False)
    assert "cut at full scale" not in command("run", loud, "-m", voice_model, "-o", tmp_path / "d.wav").err
    assert "cut at full scale" not in command(*line, tmp_path / "e.wav", "-q").err
    done = command("corrupt", write(tmp_path / "f.wav"), "--std", 0.9)
    assert "of the samples are cut at full scale; --no-clip keeps them" in done.err


def test_recordings_of_another_rate_are_not_compared(command, voice_model, tmp_path):
    source = write(tmp_path / "a.wav")
    done = command("run", source, "-m", voice_model, "--sample-rate", 8000, "--compare", tmp_path / "sheets")
    assert (done.code, done.err.count("\n"), "leave --sample-rate out" in done.err) == (2, 1, True)
    assert not (tmp_path / "a.denoised.wav").exists()


@pytest.mark.parametrize(
    ("name", "rate", "channels", "subtype"),
    [("a.wav", 44_100, 2, "PCM_24"), ("a.flac", 48_000, 1, "PCM_16"), ("a.wav", 8000, 3, "FLOAT")],
)
def test_a_recording_comes_back_as_it_was_but_for_the_noise(
    command, voice_model, tmp_path, name, rate, channels, subtype
):
    source = write(tmp_path / name, sound(0.71, rate, channels), rate, subtype=subtype)
    before = source.read_bytes()
    done = command("run", source, "-m", voice_model)
    assert done.code == 0
    assert f"1 file, 0 failed -> {source.with_suffix('.denoised')}{source.suffix}; 0:00:01 of sound in" in done.err
    assert "real-time factor" in done.err
    old, new = soundfile.info(source), soundfile.info(tmp_path / f"a.denoised{source.suffix}")
    assert (new.samplerate, new.channels, new.subtype, new.frames, new.format) == (
        rate, channels, subtype, old.frames, old.format,
    )  # fmt: skip
    assert source.read_bytes() == before
    x, _ = soundfile.read(source, always_2d=True)
    y, _ = soundfile.read(tmp_path / f"a.denoised{source.suffix}", always_2d=True)
    gain = (x * y).sum(0) / np.square(x).sum(0)
    assert gain == pytest.approx(np.full(channels, gain[0]), abs=0.01), "one gain for all"
    assert 0.4 < gain[0] < 0.7, "the model was there"


def test_pictures_and_recordings_of_one_folder_each_meet_their_model(
    command, model, gray_model, voice_model, tmp_path, monkeypatch
):
    from denoise_cli import shipped

    monkeypatch.setattr(shipped, "FOLDERS", (tmp_path / "models",))
    (tmp_path / "models").mkdir()
    shutil.copy(model, tmp_path / "models" / "image.onnx")
    shutil.copy(gray_model, tmp_path / "models" / "gray.onnx")
    shutil.copy(voice_model, tmp_path / "models" / "speech.onnx")
    write_png(tmp_path / "in" / "a.png", scene(40, 50))
    write_png(tmp_path / "in" / "gray.png", scene(40, 50, 1))
    write(tmp_path / "in" / "sub" / "b.wav")
    (tmp_path / "in" / "bad.wav").write_bytes(b"RIFF....WAVE")
    done = command("run", tmp_path / "in", "--compare", tmp_path / "cmp", "--report", tmp_path / "r.json", "-v")
    assert done.code == 1
    assert "bad.wav: " in done.err
    assert (tmp_path / "in.denoised" / "a.png").exists()
    assert (tmp_path / "in.denoised" / "sub" / "b.wav").exists()
    assert (tmp_path / "cmp" / "sub" / "b.wav.compare.png").stat().st_size > 1000
    report = json.loads((tmp_path / "r.json").read_text())
    rows = {Path(row["input"]).name: row for row in report["results"]}
    assert report["model"] == "gray, tiny, voice"
    assert (rows["a.png"]["kind"], rows["a.png"]["duration"], rows["a.png"]["pixels"]) == ("image", None, 2000)
    assert (rows["b.wav"]["kind"], rows["b.wav"]["duration"], rows["b.wav"]["pixels"]) == ("audio", 0.7, None)
    assert rows["b.wav"]["noise_after"] < rows["b.wav"]["noise_before"] < 0, "dB of full scale"


def test_a_named_model_of_the_other_kind_fails_those_files_only(command, voice_model, tmp_path):
    write_png(tmp_path / "in" / "a.png", scene(40, 50))
    write(tmp_path / "in" / "b.wav")
    done = command("run", tmp_path / "in", "-m", voice_model)
    assert done.code == 1
    assert 'a.png: model "voice" is for recordings, not for pictures' in done.err
    assert (tmp_path / "in.denoised" / "b.wav").exists()
    assert not (tmp_path / "in.denoised" / "a.png").exists()


def test_options_of_recordings(command, voice_model, tmp_path):
    source = write(tmp_path / "x.wav", sound(0.5))
    made = tmp_path / "y.wav"
    run = ("run", source, "-m", voice_model, "-o", made, "--on-exists", "overwrite", "-q")
    assert command(*run, "--sample-rate", 48_000, "--bit-depth", 24).code == 0
    info = soundfile.info(made)
    assert (info.samplerate, info.subtype, info.frames) == (48_000, "PCM_24", 24_000)
    assert command(*run, "--atten-lim", 0).code == 0
    assert np.array_equal(soundfile.read(made)[0], soundfile.read(source)[0])
    heard = {}
    for limit in ([], ["--atten-lim", 52], ["--atten-lim", "inf"]):
        assert command(*run, *limit).code == 0
        heard[str(limit)] = soundfile.read(made)[0]
    gentle, same, all_of_it = heard.values()
    assert np.array_equal(gentle, same), "noise alone, as this is, goes down by 52 dB where nobody says anything"
    assert not np.array_equal(gentle, all_of_it)
    assert command(*run, "--strength", 0).code == 0
    assert np.array_equal(soundfile.read(made)[0], soundfile.read(source)[0])
    for option, value, named in (
        ("--bit-depth", "7", "bit"), ("--sample-rate", "10", "10"), ("--clip", "wrap", "--clip"),
        ("--atten-lim", "-3", "--atten-lim"),
    ):  # fmt: skip
        done = command(*run, option, value)
        assert done.code in (1, 2)
        assert named in done.err
        assert done.err.count("\n") == 1


def test_samples_that_are_no_numbers_are_refused_with_their_time(command, voice_model, tmp_path):
    x = sound(1.0)
    x[RATE // 2] = np.nan
    source = write(tmp_path / "x.wav", x, subtype="FLOAT")
    done = command("run", source, "-m", voice_model)
    assert (done.code, done.err) == (1, f"denoise: {source}: non-finite samples at 0.500 s\n")
    assert not (tmp_path / "x.denoised.wav").exists()


def test_a_pipe_gives_the_bytes_of_a_file(voice_model, tmp_path):
    source = write(tmp_path / "x.wav")
    assert denoise("run", source, "-m", voice_model).returncode == 0
    piped = denoise("run", "-", "-m", voice_model, stdin=source.read_bytes())
    assert (piped.returncode, piped.stdout) == (0, (tmp_path / "x.denoised.wav").read_bytes())


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")
def test_between_two_ffmpegs(voice_model, tmp_path):
    source = write(tmp_path / "x.flac", sound(1.3, 44_100, 2), 44_100)
    ours = f"{sys.executable} -m denoise_cli run - -m {voice_model} -q"
    line = f"ffmpeg -v error -i x.flac -f wav - | {ours} | ffmpeg -v error -i - y.flac"
    subprocess.run(
        line, shell=True, check=True, cwd=tmp_path, env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    )
    old, new = soundfile.info(source), soundfile.info(tmp_path / "y.flac")
    assert (new.frames, new.samplerate, new.channels) == (old.frames, old.samplerate, old.channels)


def test_options_for_files_of_which_there_are_none_are_told(command, voice_model, model, tmp_path):
    recording = write(tmp_path / "in" / "a.wav")
    picture = write_png(tmp_path / "in" / "b.png", scene(40, 40))
    options = ("--ensemble", 2, "--no-link", "--on-exists", "overwrite", "-o")
    told = "is for pictures, and there are none", "is for recordings, and there are none"
    for source, of, told_of in (
        (recording, voice_model, [f"--ensemble {told[0]}"]),
        (picture, model, [f"--no-link {told[1]}"]),
    ):
        done = command("run", source, "-m", of, *options, tmp_path / f"out{source.suffix}")
        assert [line for line in done.err.splitlines() if "there are none" in line] == [
            f"denoise: {line}" for line in told_of
        ]
        assert done.code == 0
    assert "there are none" not in command("run", recording, "-m", voice_model, "-o", tmp_path / "c.wav").err
    assert (
        "there are none" not in command("run", recording, "-m", voice_model, *options, tmp_path / "d.wav", "-q").err
    )
    assert "there are none" not in command("run", tmp_path / "in", "-m", voice_model, *options, tmp_path / "e").err
