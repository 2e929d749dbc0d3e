"""What stands before the pixels of a PNG or a JPEG comes out as it went in."""

from __future__ import annotations

import errno
import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
from PIL import Image
from test_image import noise, pixels, smooth, through

from denoise_cli.media import heads, vips

EXIF = b"II*\0\x08\0\0\0\x01\0\x0f\x01\x02\0\x06\0\0\0\x1a\0\0\0\0\0\0\0Maker\0"
MAKER = b"Exif\0\0" + EXIF + b"notes that nobody else can read"


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def chunks(path: Path) -> list[bytes]:
    """Whole chunks, checked, but for the pixels and the end."""
    data, position, found = path.read_bytes(), 8, []
    while position < len(data):
        size = 12 + int.from_bytes(data[position : position + 4], "big")
        each = data[position : position + size]
        assert each == chunk(each[4:8], each[8:-4])
        found += [each] if each[4:8] not in (b"IHDR", b"IDAT", b"IEND") else []
        position += size
    return found


BEFORE = [
    chunk(b"gAMA", struct.pack(">I", 100_000)),
    chunk(b"cHRM", struct.pack(">8I", *range(31_270, 31_278))),
    chunk(b"pHYs", struct.pack(">IIB", 11_811, 5_906, 1)),
    chunk(b"tEXt", b"Creation Time\0caf\xe9 \xa9"),
    chunk(b"tEXt", b"caf\xe9\0no UTF-8 in a name"),
    chunk(b"zTXt", b"\x94" * 30 + b"\0\0" + zlib.compress(b"no Latin-1 that anybody prints")),
    chunk(b"iTXt", b"Title\0\0\0\0\0" + "Ü".encode()),
    chunk(b"prVt", b"private, safe to copy"),
]
AFTER = [chunk(b"eXIf", EXIF), chunk(b"tEXt", b"Comment\0behind the pixels")]
LEFT = [  # true of the old pixels only, damaged, or there already
    chunk(b"prVT", b"private, unsafe to copy"),
    chunk(b"tIME", bytes([7, 230, 1, 1, 0, 0, 0])),
    chunk(b"sBIT", b"\5\5\5"),
    chunk(b"tEXt", b"Title\0damaged")[:-1] + b"!",
    chunk(b"gAMA", struct.pack(">I", 45_455)),
]


def png(path: Path, rows: np.ndarray, before: list[bytes], after: list[bytes]) -> Path:
    Image.fromarray(rows).save(file := io.BytesIO(), "PNG")
    data = file.getvalue()
    path.write_bytes(data[:33] + b"".join(before) + data[33:-12] + b"".join(after) + data[-12:])
    return path


@pytest.mark.parametrize(
    "rows", [smooth(), noise(1, 1, 3), noise(40, 50, dtype=np.uint16)], ids=["rgb", "1x1", "16"]
)
def test_chunks_of_a_png_are_kept_as_they_were(tmp_path, rows) -> None:
    path = png(tmp_path / "x.png", rows, BEFORE + LEFT, AFTER)
    out = through(path)
    assert chunks(out) == BEFORE + AFTER
    assert np.array_equal(pixels(path), pixels(out))


def test_a_png_that_tells_no_resolution_comes_back_without_one(tmp_path) -> None:
    assert chunks(through(png(tmp_path / "x.png", smooth(), [], []))) == []


def test_a_large_png_is_whole_behind_its_chunks(tmp_path) -> None:
    path = png(tmp_path / "x.png", noise(1_500, 2_500, 3), BEFORE, AFTER)
    out = through(path)
    assert chunks(out) == BEFORE + AFTER
    assert np.array_equal(pixels(path), pixels(out))


def jpeg(path: Path, *extra: bytes, mode: str = "RGB") -> Path:
    """A JPEG with these segments, and no others, before its tables."""
    Image.fromarray(smooth()).convert(mode).save(file := io.BytesIO(), "JPEG", quality=95)
    data = file.getvalue()
    if data[2:4] == b"\xff\xe0":
        data = data[:2] + data[4 + int.from_bytes(data[4:6], "big") :]
    path.write_bytes(data[:2] + b"".join(extra) + data[2:])
    return path


def segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def head_of(path: Path) -> list[bytes]:
    """The segments of a JPEG before its tables."""
    data, position, found = path.read_bytes(), 2, []
    while data[position + 1] >= 0xE0:
        size = 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        found.append(data[position : position + size])
        position += size
    return found


JFIF = segment(0xE0, b"JFIF\0" + struct.pack(">HBHHBB", 0x0102, 1, 96, 120, 0, 0))


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize(
    "extra",
    [
        [],
        [JFIF],
        [segment(0xE1, MAKER)],
        [JFIF, segment(0xE1, MAKER), segment(0xFE, b"caf\xe9"), segment(0xFE, b"more")],
        [segment(0xE1, b"Exif\0\0" + EXIF + bytes(60_000)), segment(0xE1, b"Exif\0\0" + bytes(900))],
    ],
    ids=["nothing", "jfif", "exif", "all", "long"],
)
def test_segments_of_a_jpeg_are_kept_as_they_were(tmp_path, extra, mode) -> None:
    path = jpeg(tmp_path / "x.jpg", *extra, mode=mode)
    assert head_of(through(path)) == extra


def test_what_libvips_keeps_of_a_jpeg_is_there_once(tmp_path) -> None:
    xmp = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta xmlns:x='adobe:ns:meta/'/>")
    found = head_of(through(jpeg(tmp_path / "x.jpg", JFIF, segment(0xE1, MAKER), xmp)))
    assert found == [JFIF, segment(0xE1, MAKER), xmp]


def test_a_second_jfif_and_a_head_that_is_cut_are_left_out() -> None:
    for data in (b"", b"\xff\xd8", b"\xff\xd8" + JFIF[:9], b"\xff\xd8" + JFIF + b"\xff\xe1\0"):
        assert heads.segments(io.BytesIO(data)) in (b"", JFIF)
    assert heads.segments(io.BytesIO(b"\xff\xd8" + JFIF + b"\xff" + JFIF + b"\xff\xda" + JFIF)) == JFIF


def test_a_head_of_millions_of_pieces_costs_no_more_than_one_of_many() -> None:
    """Else a file of some megabytes takes minutes, and no signal ends them."""
    empty = io.BytesIO(b"\xff\xd8" + b"\xff\xfe\0\2" * 1_000_000)
    assert len(heads.segments(empty)) <= 4 * heads.MOST
    texts = io.BytesIO(bytes(8) + chunk(b"tEXt", b"") * 1_000_000)
    assert len(heads.kept(texts)) <= 12 * heads.MOST
    large = io.BytesIO(bytes(8) + chunk(b"tEXt", bytes(1 << 20)) * 20)
    assert heads.LONGEST - (2 << 20) < len(heads.kept(large)) <= heads.LONGEST


@pytest.mark.parametrize(("dpi", "told"), [((300, 300), (1, 300, 300)), (None, (0, 1, 1))])
def test_a_jpeg_made_of_another_picture_tells_the_resolution_that_it_knows(tmp_path, dpi, told) -> None:
    Image.fromarray(smooth()).save(tmp_path / "x.png", **({"dpi": dpi} if dpi else {}))
    (first,) = head_of(through(tmp_path / "x.png", tmp_path / "y.jpg", format="jpeg"))
    assert first[4:9] == b"JFIF\0"
    assert struct.unpack_from(">BHH", first, 11) == told


def saved(file: BinaryIO, mend: Callable[[bytes], bytes | None]) -> None:
    with vips.Mending(file.fileno(), mend) as target:
        vips.from_array(smooth()).pngsave_target(target)


def test_a_full_disk_under_a_mended_head_is_known_as_such() -> None:
    with Path("/dev/full").open("r+b", buffering=0) as full, pytest.raises(OSError, match="No space") as raised:
        saved(full, lambda start: start)
    assert raised.value.errno == errno.ENOSPC


def test_a_head_that_never_comes_is_no_file(tmp_path) -> None:
    with (tmp_path / "x").open("w+b") as file, pytest.raises(ValueError, match="no pixels"):
        saved(file, lambda start: None)
