"""EXIF of a WebP comes out as it went in, whatever libvips makes of it."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms
from test_image import field, noise, pixels, smooth, through

from denoise_cli.media import webp


def exif(orientation: int = 1, notes: int = 180) -> bytes:
    """Maker, orientation, and a maker's notes; nothing else."""
    entries = [(0x10F, 2, 6, 62), (0x112, 3, 1, orientation), (0x8769, 4, 1, 68)]
    first = struct.pack("<H", 3) + b"".join(struct.pack("<HHII", *each) for each in entries) + bytes(4)
    second = struct.pack("<HHHIII", 1, 0x927C, 7, notes, 86, 0)
    start = b"II*\0\x08\0\0\0" + first
    return start.ljust(62, b"\0") + b"Maker\0" + second + bytes(n % 251 for n in range(notes))


ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"


def draw(path: Path, frames: int = 1, **options: Any) -> Path:
    first, *others = (Image.fromarray(noise(40, 50, 3, seed=n)) for n in range(frames))
    more = {"save_all": True, "append_images": others, "duration": 70} if frames > 1 else {}
    first.save(path, **({"lossless": True} | more | options))
    return path


def parts(path: Path) -> dict[bytes, bytes]:
    data = path.read_bytes()
    assert struct.unpack_from("<I", data, 4) == (len(data) - 8,)
    return {kind: bytes(body) for kind, body in webp._chunks(memoryview(data)[12:])}


@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("more", [{}, {"xmp": XMP}, {"icc_profile": ICC, "xmp": XMP}, {"lossless": False}])
@pytest.mark.parametrize("notes", [180, 181, 70_000])
def test_exif_is_kept_to_the_byte(tmp_path, frames, more, notes) -> None:
    path = draw(tmp_path / "x.webp", frames, exif=exif(notes=notes), **more)
    out = through(path)
    before, after = parts(path), parts(out)
    assert list(after) == list(before)
    assert after[b"EXIF"] == before[b"EXIF"] == exif(notes=notes)
    assert after.get(b"XMP ") == before.get(b"XMP ")
    assert after[b"VP8X"] == before[b"VP8X"]
    if "lossless" not in more:
        np.testing.assert_array_equal(pixels(path, frames > 1), pixels(out, frames > 1))
    with Image.open(out) as again:
        assert again.info["exif"] == exif(notes=notes)


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_a_picture_is_turned_as_before_and_once(tmp_path, orientation) -> None:
    """Pixels stay as they lie, as they do in a JPEG, and EXIF says what to do with them."""
    path = draw(tmp_path / "x.webp", exif=exif(orientation))
    out = through(path)
    assert field(out, "orientation") == field(path, "orientation") == orientation
    np.testing.assert_array_equal(pixels(path), pixels(out))


@pytest.mark.parametrize("odd", [b"no EXIF at all", b"Exif\0\0" + exif()])
def test_what_libvips_cannot_read_goes_along_too(tmp_path, odd) -> None:
    path = draw(tmp_path / "x.webp", exif=b"?" * len(odd))
    data = path.read_bytes()
    path.write_bytes(data.replace(b"?" * len(odd), odd))
    assert parts(through(path))[b"EXIF"] == odd


def test_no_exif_is_made_up(tmp_path) -> None:
    path = draw(tmp_path / "x.webp", xmp=XMP)
    assert list(parts(through(path))) == [b"VP8X", b"VP8L", b"XMP "]
    Image.fromarray(smooth()).save(tmp_path / "x.png", dpi=(300, 300))
    assert b"EXIF" not in parts(through(tmp_path / "x.png", tmp_path / "y.webp", format="webp"))


def test_a_file_without_a_place_for_it_is_an_error() -> None:
    file = io.BytesIO(b"RIFF\x0c\0\0\0WEBPVP8L\0\0\0\0")
    with pytest.raises(ValueError, match="no EXIF"):
        webp.put_exif(file, exif())
