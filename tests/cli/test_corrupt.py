"""`denoise corrupt`: the same seed and file give the same noise, however it is asked for."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import pyvips
import soundfile
from conftest import denoise, read_png, scene, write_png

TREE = ["a.png", "gray.png", "sub/b.png", "sub/deep/c.png"]


@pytest.fixture
def corrupt(command):
    return lambda *arguments: command("corrupt", *arguments)


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    """Mid-gray, far from the limits, so that nothing is clipped."""
    return write_png(tmp_path / "flat.png", np.full((3, 300, 400), 128 / 255, np.float32))


def noise_of(noisy: Path, clean: Path) -> np.ndarray:
    return read_png(noisy).astype(float) - read_png(clean)


def test_the_noise_has_the_standard_deviation_and_the_mean_that_were_asked_for(corrupt, flat):
    assert corrupt(flat, "--std", 20, "--mean", 10).code == 0
    noise = noise_of(flat.with_name("flat.noisy.png"), flat)
    assert noise.std() == pytest.approx(20, rel=0.01)
    assert noise.mean() == pytest.approx(10, abs=0.2)
    assert abs(np.corrcoef(noise.reshape(3, -1))[0, 1]) < 0.01  # each channel for itself
    assert abs(np.corrcoef(noise[0, :, :-1].ravel(), noise[0, :, 1:].ravel())[0, 1]) < 0.01  # and each pixel


def test_a_folder_is_mirrored_and_left_alone(corrupt, folder):
    before = {name: (folder / name).read_bytes() for name in TREE}
    assert corrupt(folder, "--std", 25).code == 0
    target = folder.with_name("photos.noisy")
    assert sorted(str(p.relative_to(target)) for p in target.rglob("*.png")) == TREE
    assert {name: (folder / name).read_bytes() for name in TREE} == before


def test_the_same_seed_and_file_give_the_same_noise_however_it_is_asked_for(corrupt, folder, tmp_path):
    spec = ("--std", "0-55", "--seed", 3)
    assert corrupt(folder, *spec, "-o", tmp_path / "one", "-j", 1).code == 0
    assert corrupt(folder, *spec, "-o", tmp_path / "four", "-j", 4).code == 0
    for name in TREE:
        alone = tmp_path / "alone.png"
        assert corrupt(folder / name, *spec, "-o", alone, "--on-exists", "overwrite").code == 0
        copy = tmp_path / "under another name.png"
        copy.write_bytes((folder / name).read_bytes())
        assert corrupt(copy, *spec, "-o", tmp_path / "copied.png", "--on-exists", "overwrite").code == 0
        written = alone.read_bytes()
        assert (tmp_path / "one" / name).read_bytes() == written
        assert (tmp_path / "four" / name).read_bytes() == written
        assert (tmp_path / "copied.png").read_bytes() == written
    piped = denoise("corrupt", "-", *spec, stdin=(folder / TREE[-1]).read_bytes())
    assert (piped.returncode, piped.stdout) == (0, written)


def test_other_seeds_and_other_files_give_other_noise(corrupt, flat, tmp_path):
    other = write_png(tmp_path / "other.png", np.full((3, 300, 400), 129 / 255, np.float32))
    for source, seed, target in ((flat, 0, "0.png"), (flat, 1, "1.png"), (other, 0, "2.png")):
        assert corrupt(source, "--std", 20, "--seed", seed, "-o", tmp_path / target).code == 0
    a, b, c = (noise_of(tmp_path / f"{n}.png", source) for n, source in enumerate((flat, flat, other)))
    for x, y in ((a, b), (a, c)):
        assert abs(np.corrcoef(x.ravel(), y.ravel())[0, 1]) < 0.01


def test_a_range_is_drawn_for_each_file(corrupt, tmp_path):
    for n in range(12):
        write_png(tmp_path / "in" / f"{n}.png", np.full((3, 64, 64), (120 + n) / 255, np.float32))
    assert corrupt(tmp_path / "in", "--std", "10-40", "-o", tmp_path / "out").code == 0
    stds = [noise_of(tmp_path / "out" / f"{n}.png", tmp_path / "in" / f"{n}.png").std() for n in range(12)]
    assert 9 < min(stds) < 20 < 30 < max(stds) < 41


def test_unclipped_noise_is_kept_in_a_float_tiff(corrupt, tmp_path):
    source = write_png(tmp_path / "in" / "white.png", np.ones((3, 100, 120), np.float32))
    assert corrupt(source, "--std", 50, "--no-clip").code == 0
    image = pyvips.Image.new_from_file(str(source.with_name("white.noisy.tif")))
    values = image.numpy()
    assert (image.format, image.width, image.height) == ("float", 120, 100)
    assert values.max() > 1.3
    assert (values - 1).std() * 255 == pytest.approx(50, rel=0.02)
    assert corrupt(tmp_path / "in", "--std", 50, "--no-clip", "-o", tmp_path / "out").code == 0
    assert (tmp_path / "out" / "white.tif").exists()


@pytest.mark.parametrize("name", ["r.png", "r.flac", "r.jpg"])
def test_unclipped_noise_goes_into_no_file_that_says_it_is_something_else(corrupt, tmp_path, name):
    source = write_png(tmp_path / "white.png", np.ones((3, 10, 12), np.float32))
    done = corrupt(source, "--std", 5, "--no-clip", "-o", tmp_path / name)
    assert (done.code, done.err.count("\n"), ".tif or .wav" in done.err) == (2, 1, True)
    assert not (tmp_path / name).exists()
    assert corrupt(source, "--std", 5, "--no-clip", "-o", tmp_path / "r.TIFF").code == 0


def test_a_folder_that_is_done_already_says_so(corrupt, tmp_path):
    write_png(tmp_path / "in" / "x.png", np.ones((3, 10, 12), np.float32))
    assert corrupt(tmp_path / "in", "--std", 5).code == 0
    before = (tmp_path / "in.noisy" / "x.png").read_bytes()
    done = corrupt(tmp_path / "in", "--std", 60)
    assert (done.code, "nothing to do: 1 file is finished already (--on-exists overwrite" in done.err) == (0, True)
    assert (tmp_path / "in.noisy" / "x.png").read_bytes() == before


def test_clipped_noise_stays_in_the_range_of_the_file(corrupt, tmp_path):
    source = write_png(tmp_path / "white.png", np.ones((3, 100, 120), np.float32))
    assert corrupt(source, "--std", 50).code == 0
    assert (read_png(tmp_path / "white.noisy.png") == 255).mean() == pytest.approx(0.5, abs=0.02)


def test_sixteen_bits_stay_sixteen_bits(corrupt, tmp_path):
    source = tmp_path / "deep.png"
    levels = np.full((100, 120, 3), 30000, np.uint16)
    pyvips.Image.new_from_array(levels).copy(interpretation="rgb16").pngsave(str(source))
    assert corrupt(source, "--std", 1).code == 0
    image = pyvips.Image.new_from_file(str(tmp_path / "deep.noisy.png"))
    assert image.format == "ushort"
    assert (image.numpy().astype(float) - levels).std() == pytest.approx(257, rel=0.02)  # one 8-bit step


def test_corruptions_are_chained_in_their_order(corrupt, flat):
    assert corrupt(flat, "--noise", "masking:amount=0.5", "--noise", "salt-pepper:amount=0.2,salt=1").code == 0
    levels = read_png(flat.with_name("flat.noisy.png"))
    assert set(np.unique(levels)) == {0, 128, 255}
    assert (levels == 255).mean() == pytest.approx(0.2, abs=0.01)
    assert (levels == 0).mean() == pytest.approx(0.4, abs=0.01)


def test_no_noise_changes_nothing(corrupt, folder):
    assert corrupt(folder, "--std", 0).code == 0
    for name in TREE:
        assert np.array_equal(read_png(folder.with_name("photos.noisy") / name), read_png(folder / name))


def test_a_dry_run_does_nothing_and_what_exists_is_kept(corrupt, folder):
    done = corrupt(folder, "--std", 25, "-n")
    assert (done.code, len(done.out.splitlines())) == (0, 4)
    assert not folder.with_name("photos.noisy").exists()
    assert corrupt(folder / "a.png", "--std", 25).code == 0
    written = (folder / "a.noisy.png").read_bytes()
    assert corrupt(folder / "a.png", "--std", 30).code == 2
    assert corrupt(folder / "a.png", "--std", 30, "--on-exists", "skip").code == 0
    assert (folder / "a.noisy.png").read_bytes() == written
    assert corrupt(folder / "a.png", "--std", 30, "--on-exists", "overwrite").code == 0
    assert (folder / "a.noisy.png").read_bytes() != written


def test_noise_of_recordings_is_refused_for_each_picture_in_one_line(corrupt, folder):
    for options in (("--snr", 10), ("--noise", "pink"), ("--noise", "gaussian+hum:snr=3")):
        done = corrupt(folder, *options)
        assert (done.code, len(done.err.splitlines())) == (1, 5)
        assert done.err.count("is for recordings") == 4
        assert not [*folder.with_name("photos.noisy").rglob("*.png")]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--std 25 --snr 10", "--std or --snr, not both"),
        ("--noise-file . ", "--snr 10"),
        ("--noise-file absent.wav --snr 10", "absent.wav: no such file"),
        ("--snr loud", "loud"),
        ("--noise pink:std=0.1,snr=3", "std or snr, not both"),
        ("--noise gaussian:mean=1e39", "beyond 1e+09"),
        ("--std 1e300", "beyond 1e+09"),
    ],
)
def test_noise_that_contradicts_itself_is_refused_before_any_work(corrupt, flat, options, said):
    done = corrupt(flat, *options.split())
    assert done.code == 2
    assert said in done.err
    assert len(done.err.splitlines()) == 1


def test_one_bad_file_is_one_line_and_the_others_are_done(corrupt, folder):
    (folder / "bad.png").write_text("no picture\n")
    done = corrupt(folder, "--std", 25)
    assert done.code == 1
    assert done.err.startswith(f"denoise: {folder / 'bad.png'}: ")
    assert len(done.err.splitlines()) == 2
    assert len(list(folder.with_name("photos.noisy").rglob("*.png"))) == 4
    assert corrupt(folder / "absent.png", "--std", 25).code == 1


def test_a_pipe_of_two_commands_works(folder, model):
    noisy = denoise("corrupt", folder / "a.png", "--std", 25, "-o", "-", "-q")
    clean = denoise("run", "-", "-m", model, "-q", stdin=noisy.stdout)
    assert (noisy.returncode, clean.returncode, noisy.stderr + clean.stderr) == (0, 0, b"")
    assert clean.stdout.startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["a b.png", "ünï.png", "-dash.png", "[1].png", "quo'te\".png"])
def test_odd_names_work(corrupt, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    write_png(tmp_path / name, scene(20, 20))
    assert corrupt("--std", 5, "--", name).code == 0
    assert (tmp_path / name.replace(".png", ".noisy.png")).exists()


# --- recordings -------------------------------------------------------------------------------------------


@pytest.fixture
def voice(tmp_path: Path) -> Path:
    """Three seconds of two tones in stereo, with a second of silence behind."""
    t = np.arange(48_000) / 16_000
    x = np.stack([0.3 * np.sin(2 * np.pi * 440 * t), 0.2 * np.sin(2 * np.pi * 1000 * t)], axis=1)
    return write_wav(tmp_path / "in" / "voice.wav", np.concatenate([x, np.zeros((16_000, 2))]))


def write_wav(path: Path, x: np.ndarray, rate: int = 16_000) -> Path:
    """Plant (T, C) as 24-bit WAV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, x, rate, subtype="PCM_24")
    return path


def added(noisy: Path, clean: Path) -> np.ndarray:
    return soundfile.read(noisy)[0] - soundfile.read(clean)[0]


def test_std_of_a_recording_is_in_full_scale(corrupt, voice):
    assert corrupt(voice, "--std", 0.05).code == 0
    noise = added(voice.with_name("voice.noisy.wav"), voice)
    assert noise.std() == pytest.approx(0.05, rel=0.01)
    assert soundfile.info(voice.with_name("voice.noisy.wav")).subtype == "PCM_24"


def test_eight_bit_steps_are_refused_for_recordings_and_the_pictures_are_done(corrupt, voice):
    write_png(voice.with_name("a.png"), scene(30, 40))
    done = corrupt(voice.parent, "--std", 25)
    assert done.code == 1
    assert "std 25 is beyond 1, the full scale of recordings" in done.err
    assert [path.name for path in voice.parent.with_name("in.noisy").iterdir()] == ["a.png"]


@pytest.mark.parametrize("options", ["--snr 10", "--noise pink:snr=10", "--noise hum:snr=10"])
def test_an_snr_is_that_of_the_part_that_is_no_silence(corrupt, voice, options):
    assert corrupt(voice, *options.split()).code == 0
    x = soundfile.read(voice)[0]
    power = np.square(added(voice.with_name("voice.noisy.wav"), voice)).mean()
    assert 10 * np.log10(np.square(x[:48_000]).mean() / power) == pytest.approx(10, abs=0.15)
    piped = denoise("corrupt", "-", *options.split(), stdin=voice.read_bytes())  # read twice from a pipe, too
    heard = soundfile.read(io.BytesIO(piped.stdout))[0]
    assert np.array_equal(heard, soundfile.read(voice.with_name("voice.noisy.wav"))[0])


def test_a_noise_file_of_another_rate_is_mixed_in(corrupt, voice, tmp_path):
    hiss = 0.1 * np.random.default_rng(0).standard_normal((44_100, 1))
    write_wav(tmp_path / "noises" / "hiss.wav", hiss, 44_100)
    assert corrupt(voice, "--snr", 5, "--noise-file", tmp_path / "noises").code == 0
    noise = added(voice.with_name("voice.noisy.wav"), voice)
    x = soundfile.read(voice)[0][:48_000]
    assert 10 * np.log10(np.square(x).mean() / np.square(noise).mean()) == pytest.approx(5, abs=0.2)
    assert np.allclose(noise[:, 0], noise[:, 1], atol=1e-6)


def test_unclipped_noise_is_kept_in_a_float_wav_beside_a_float_tiff(corrupt, voice):
    write_png(voice.with_name("a.png"), np.ones((3, 30, 40), np.float32))
    assert corrupt(voice.parent, "--noise", "speckle:std=3", "--no-clip").code == 0
    out = voice.parent.with_name("in.noisy")
    assert sorted(path.name for path in out.iterdir()) == ["a.tif", "voice.wav"]
    assert soundfile.info(out / "voice.wav").subtype == "FLOAT"
    assert np.abs(soundfile.read(out / "voice.wav")[0]).max() > 1


def test_a_recording_has_the_same_noise_however_it_is_asked_for(corrupt, voice, tmp_path):
    spec = ("--noise", "pink:snr=0-20+clicks+dropouts", "--seed", 3)
    assert corrupt(voice.parent, *spec, "-o", tmp_path / "many", "-j", 4).code == 0
    assert corrupt(voice, *spec, "-o", tmp_path / "one.wav").code == 0
    assert (tmp_path / "many" / "voice.wav").read_bytes() == (tmp_path / "one.wav").read_bytes()
