"""What an output does not take along, as the command line tells it."""

from __future__ import annotations

import json
import struct

import numpy as np
import soundfile
from conftest import write_png
from PIL import Image

BEXT = b"a field recorder".ljust(602, b"\0")


def test_an_rf64_takes_the_chunks_of_a_wav_along_and_a_flac_does_not(command, tmp_path):
    path = tmp_path / "x.wav"
    soundfile.write(path, np.zeros(4_800), 16_000)
    data = bytearray(path.read_bytes() + b"bext" + struct.pack("<I", len(BEXT)) + BEXT)
    struct.pack_into("<I", data, 4, len(data) - 8)
    path.write_bytes(data)
    for name, line in (("y.rf64", ""), ("y.flac", "x.wav: left behind: bext")):
        done = command("corrupt", path, "--std", 0.01, "-o", tmp_path / name)
        assert (done.code, "left behind" in done.err) == (0, bool(line)), done.err
        assert line in done.err
        assert (BEXT in (tmp_path / name).read_bytes()) is (not line)


def test_pictures_and_the_report(command, tmp_path):
    exif = Image.Exif()
    exif[0x013B] = "me"
    write_png(tmp_path / "x.png", np.full((3, 40, 40), 0.5))
    Image.open(tmp_path / "x.png").save(tmp_path / "x.jpg", exif=exif, icc_profile=b"profile" * 20)
    for name, line in (("y.bmp", "x.jpg: left behind: EXIF, ICC profile"), ("y.png", None)):
        done = command("corrupt", tmp_path / "x.jpg", "--std", 5, "-o", tmp_path / name)
        assert done.code == 0, done.err
        assert ("left behind" in done.err) is (line is not None)
        assert (line or "") in done.err
    report = tmp_path / "r.json"
    done = command("run", tmp_path / "x.jpg", "-o", tmp_path / "z.tga", "-q", "--report", report)
    assert (done.code, done.err) == (0, "")
    (row,) = json.loads(report.read_text())["results"]
    assert row["left_behind"] == "EXIF, ICC profile"
