"""Pictures behind the first one of a JPEG: a gain map goes along as it is, a preview does not."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_image import noise, smooth, through

from denoise_cli.media import heads, mpf

BASELINE, GAIN_MAP, PREVIEW = 0x20030000, 0x000000, 0x010002
ISO = b"\xff\xe2\x00\x22urn:iso:std:iso:ts:21496:-1\0\0\0\0\0"
VIDEO = b"a video, which no index tells of"


def coded(height: int, width: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(noise(height, width, 3)).save(file, "JPEG")
    return file.getvalue()


MAP, SMALL = coded(30, 50), coded(48, 64)


def index(listed: list[tuple[int, int, int, int, int]], order: str = "<") -> bytes:
    """A segment as cameras write it: attributes, size, offset and two numbers of each picture."""
    entries = b"".join(struct.pack(f"{order}IIIHH", *each) for each in listed)
    tag = struct.pack(f"{order}HHII", 0xB002, 7, len(entries), 26)
    body = struct.pack(f"{order}2sHIH", b"II" if order == "<" else b"MM", 42, 8, 1) + tag + bytes(4) + entries
    return b"\xff\xe2" + struct.pack(">H", 6 + len(body)) + b"MPF\0" + body


def phone(*behind: tuple[int, bytes], order: str = "<", short: int = 0) -> bytes:
    """A photograph with other pictures behind it, each of a type; the last bytes are a video."""
    file = io.BytesIO()
    Image.fromarray(smooth()).save(file, "JPEG", quality=95, comment=b"by a phone")
    first, count = file.getvalue(), len(behind) + 1
    size = len(first) + len(ISO) + len(index([(0, 0, 0, 0, 0)] * count))
    place = 2 + len(ISO) + 8  # of what offsets are counted from
    listed, at = [(BASELINE, size - short, 0, 2 if behind else 0, count if count > 2 else 0)], size - place
    for kind, data in behind:
        listed.append((kind, len(data), at, 0, 0))
        at += len(data)
    head = first[:2] + ISO + index(listed, order) + first[2:]
    return head + b"".join(data for _, data in behind) + VIDEO


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("preview", [None, 0, 1])
def test_a_gain_map_and_what_follows_go_along_and_a_preview_does_not(
    tmp_path: Path, order: str, preview: int | None
) -> None:
    behind = [(GAIN_MAP, MAP)]
    if preview is not None:
        behind.insert(preview, (PREVIEW, SMALL))
    (tmp_path / "x.jpg").write_bytes(phone(*behind, order=order))
    data = through(tmp_path / "x.jpg").read_bytes()
    assert data.endswith(MAP + VIDEO)
    assert SMALL not in data
    assert data.count(ISO) == 1
    with Image.open(io.BytesIO(data)) as seen:  # Pillow follows the index by itself
        assert (seen.format, seen.n_frames, seen.info["comment"]) == ("MPO", 2, b"by a phone")
        first, second = seen.mpinfo[0xB002]
        assert first["Size"] == len(data) - len(MAP + VIDEO)
        assert (first["EntryNo1"], first["EntryNo2"]) in ((2, 0), (0, 2))
        assert (first["Attribute"]["MPType"], second["Attribute"]["MPType"]) == (
            "Baseline MP Primary Image",
            "Undefined",
        )
        seen.seek(1)
        assert np.array_equal(np.asarray(seen), np.asarray(Image.open(io.BytesIO(MAP))))


def test_a_copy_of_a_copy_holds_as_much(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(phone((PREVIEW, SMALL), (GAIN_MAP, MAP), (GAIN_MAP, SMALL)))
    once = through(tmp_path / "x.jpg", tmp_path / "once.jpg")
    twice = through(once, tmp_path / "twice.jpg").read_bytes()
    assert twice.endswith(MAP + SMALL + VIDEO)
    with Image.open(io.BytesIO(twice)) as seen:
        assert seen.n_frames == 3


@pytest.mark.parametrize(
    "data",
    [
        phone(),
        phone((PREVIEW, SMALL)),
        phone((GAIN_MAP, MAP), short=3),  # the first picture does not end there
        phone((GAIN_MAP, b"no picture")),
        phone((GAIN_MAP, MAP))[: -len(MAP + VIDEO)],
        phone((GAIN_MAP, MAP))[: -len(VIDEO) - 1],
    ],
    ids=["none", "preview", "wrong size", "other", "cut before", "cut within"],
)
def test_without_a_whole_gain_map_nothing_goes_along(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.jpg").write_bytes(data)
    out = through(tmp_path / "x.jpg").read_bytes()
    assert out.endswith(heads.EOI)
    assert out.count(heads.SOI) == 1
    assert b"MPF\0" not in out
    with Image.open(io.BytesIO(out)) as seen:
        assert seen.format == "JPEG"


def test_it_is_not_for_other_formats(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(phone((GAIN_MAP, MAP)))
    out = through(tmp_path / "x.jpg", tmp_path / "x.png", format="png").read_bytes()
    assert MAP not in out
    assert VIDEO not in out


def test_a_damaged_index_ends_nothing(tmp_path: Path) -> None:
    whole, rng = phone((PREVIEW, SMALL), (GAIN_MAP, MAP)), np.random.default_rng(0)
    begin = whole.index(b"MPF\0") + 4
    kept = 0
    for _ in range(300):
        data = bytearray(whole)
        for place in rng.integers(begin, begin + 74, rng.integers(1, 4)):
            data[place] = rng.integers(256)
        behind = mpf.behind(io.BytesIO(data))
        target = io.BytesIO(heads.SOI + behind.head + heads.EOI)
        behind.attach(target)
        kept += len(behind.pictures) > 0
        found = mpf.listed(target)
        assert len(found) == len(behind.pictures)
        assert all(target.getvalue()[each.start :].startswith(heads.SOI) for each in found[1:])
    assert 0 < kept < 300
