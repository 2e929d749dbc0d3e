"""Inputs that are too large, lie about their size, or are not what their names say."""

from __future__ import annotations

import struct
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, denoise, scene, write_png

from denoise_cli import media
from denoise_cli.errors import InputError
from denoise_cli.media import vips
from denoise_cli.media.files import Job
from denoise_cli.media.limits import Limits


def refusal(path: Path, limits: Limits = Limits()) -> str:
    with (
        pytest.raises(InputError) as caught,
        closing(media.open_source(Job(path, None, Path("x")), None, limits)) as source,
    ):
        for _ in source.blocks():
            pass
    return str(caught.value).removeprefix(f"{path}: ")


# --- Sizes --------------------------------------------------------------------------------------------------


def test_a_picture_of_more_than_a_gigabyte_is_put_together_to_its_end():
    """libvips takes an offset above 1,000,000,000 for 0 without an error, and the top came again at the bottom."""
    height, width = 21_000, 16_000
    with tempfile.TemporaryFile() as file:  # sparse
        file.truncate(height * width * 3)
        file.seek((height - 2) * width * 3)
        file.write(b"\7" * (2 * width * 3))
        file.flush()
        image = vips.from_spool(file.fileno(), (height, width, 3), np.dtype("uint8"))
        end = image.crop(0, height - 4, width, 4).numpy()
    assert end[:2].max() == 0
    assert end[2:].min() == end[2:].max() == 7


def bitmap(width: int, height: int) -> bytes:
    return b"BM" + struct.pack("<IIIIiiHHIIIIII", 99, 0, 54, 40, width, height, 1, 24, *[0] * 6)


def test_a_picture_above_the_limit_is_refused_by_its_header_with_its_size(tmp_path):
    sys.path.insert(0, str(ROOT / "scripts"))
    from make_corpus import png

    (tmp_path / "x.png").write_bytes(png(30_000, 30_000))
    (tmp_path / "x.bmp").write_bytes(bitmap(9_000, 9_000))
    done = denoise("run", tmp_path, "-o", tmp_path / "out")
    assert done.returncode == 1
    err = done.stderr.decode()
    assert (
        "x.png: 30000 x 30000 pixels are more than the limit of 178,000,000 pixels; --max-pixels allows more\n"
        in err
    )
    assert (
        "x.bmp: 9000 x 9000 pixels are more than the limit of 67,108,864 pixels; --max-pixels allows more\n" in err
    )
    assert "limit" not in refusal(tmp_path / "x.bmp", Limits.of(90_000_000))


def test_the_limits_are_options_of_run_and_corrupt(good, tmp_path):
    for command in (("run",), ("corrupt", "--noise", "salt-pepper")):
        done = denoise(*command, good / "p0.png", good / "s0.wav", "-o", f"{tmp_path}/", "--max-pixels", 100,
                       "--max-hours", 1e-6)  # fmt: skip
        assert done.returncode == 1
        assert b"50 x 40 pixels are more than the limit of 100 pixels" in done.stderr
        assert b"hours are more than the limit of 1e-06" in done.stderr
    assert denoise("run", good, "--max-pixels", 0).returncode == 2
    assert not list(tmp_path.iterdir())


def test_frames_and_channels_have_limits(tmp_path):
    from PIL import Image

    pages = [Image.fromarray(np.full((4, 4), 9 * n, np.uint8)) for n in range(5)]
    pages[0].save(tmp_path / "x.gif", save_all=True, append_images=pages[1:])
    assert refusal(tmp_path / "x.gif", Limits(frames=4)) == "5 frames; the limit is 4"
    many = vips.from_array(np.zeros((3, 3, 70), np.uint8))
    (tmp_path / "x.tif").write_bytes(many.write_to_buffer(".tif"))
    assert refusal(tmp_path / "x.tif") == "70 channels; the limit is 64"


def test_a_recording_whose_length_nobody_knows_is_stopped_at_the_limit(tmp_path):
    """An MP3 without the frame that tells: only reading it shows how long it is."""
    import soundfile

    from denoise_cli.media import mp3

    soundfile.write(tmp_path / "x.mp3", np.zeros(48_000 * 4), 48_000)
    data = bytearray((tmp_path / "x.mp3").read_bytes())
    for name in (b"Xing", b"Info"):
        data = data.replace(name, b"    ")
    (tmp_path / "x.mp3").write_bytes(data)
    with (tmp_path / "x.mp3").open("rb") as file:
        assert not mp3.tells_its_length(file)
    assert "more than the limit" in refusal(tmp_path / "x.mp3", Limits(hours=2 / 3600))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak of memory from /proc")
def test_a_large_picture_stays_within_the_memory_that_is_stated(tmp_path):
    """24 megapixels, decoded whole, in less than 700 MB beside the interpreter's 100."""
    path = write_png(tmp_path / "x.png", np.tile(scene(400, 600), (1, 10, 10)))
    vips.Image.new_from_file(str(path)).webpsave(str(tmp_path / "x.webp"), Q=80)
    # Not ru_maxrss: that counts what this test's own process held when it forked.
    code = ("import re, sys; from pathlib import Path; from denoise_cli.cli import main\n"
            "code = main(['corrupt', sys.argv[1], '--std', '5', '-o', sys.argv[2]])\n"
            "peak = re.search(r'VmHWM:\\s+(\\d+) kB', Path('/proc/self/status').read_text())[1]\n"
            "print(code, int(peak) >> 10)")  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "x.webp", tmp_path / "y.webp"], cwd=ROOT,
                          capture_output=True, text=True, check=True, timeout=600)  # fmt: skip
    code, megabytes = map(int, done.stdout.split())
    assert code == 0
    assert megabytes < 800


# --- Names that lie -----------------------------------------------------------------------------------------


def test_the_content_decides_which_model_a_file_meets(good, tmp_path):
    """A recording that is named like a picture comes out denoised, under its name, beside real pictures."""
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.png").write_bytes((good / "s0.wav").read_bytes())
    (folder / "b.png").write_bytes((good / "p0.png").read_bytes())
    done = denoise("run", folder, "-o", tmp_path / "out")
    assert (done.returncode, done.stderr.count(b"\n")) == (0, 1), done.stderr
    assert (tmp_path / "out/a.png").read_bytes()[:4] == b"RIFF"
    assert (tmp_path / "out/b.png").read_bytes()[1:4] == b"PNG"


# --- Nothing in it ------------------------------------------------------------------------------------------


def test_what_holds_nothing_comes_back_as_it_was(tmp_path):
    """Silence, a constant, one sample, one pixel: same size, finite, close."""
    import soundfile
    from conftest import read_png

    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    sounds = {"silence": np.zeros(9000), "one": np.full(1, 0.1), "ten": np.full(10, 0.1)}
    for name, sound in sounds.items():
        soundfile.write(folder / f"{name}.wav", sound, 48_000)
    pictures = {
        "black": (0, 30, 40),
        "white": (1, 30, 40),
        "grey": (0.5, 17, 3),
        "pixel": (0.5, 1, 1),
        "row": (1, 1, 999),
    }
    for name, (level, height, width) in pictures.items():
        write_png(folder / f"{name}.png", np.full((3, height, width), level, np.float32))
    assert denoise("run", folder, "-o", out).returncode == 0
    for name, sound in sounds.items():
        heard, rate = soundfile.read(out / f"{name}.wav")
        assert (rate, heard.shape) == (48_000, sound.shape)
        assert np.abs(heard).max() <= np.abs(sound).max() + 1e-3
    for name in pictures:
        before, after = read_png(folder / f"{name}.png"), read_png(out / f"{name}.png")
        assert before.shape == after.shape
        assert np.abs(before.astype(int) - after).max() <= 8, name
