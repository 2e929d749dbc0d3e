"""What an output of another format does not take along is told, by name."""

from __future__ import annotations

import io
import struct
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_ancillary import COVER, EXTRA, add
from test_audio import sound, write

from denoise_cli import media
from denoise_cli.media import ancillary, left, ogg
from denoise_cli.media.containers import AudioOptions
from denoise_cli.media.files import Job


def told(path: Path, out: Path, **options) -> list[str]:
    with closing(media.open_source(Job(path, out, Path(path.name)))) as source:
        sink = media.open_sink(Job(path, out, Path(path.name)), source, audio=AudioOptions(**options))
        try:
            return sink.left
        finally:
            sink.discard()


@pytest.mark.parametrize(
    ("name", "rate", "names"),
    [
        ("y.wav", None, []),
        ("y.rf64", None, []),  # the same chunks, with room for larger sizes
        ("y.wav", 8_000, ["cue", "LIST adtl"]),
        ("y.flac", None, ["id3", "cue", "bext", "LIST adtl"]),  # what LIST INFO says is among the tags
        ("y.w64", None, ["title", "id3", "cue", "bext", "LIST adtl"]),
    ],
)
def test_chunks_of_a_wav(tmp_path, name, rate, names):
    path = add(write(tmp_path / "x.wav", sound(4_800, 1)), EXTRA["wav"])
    assert told(path, tmp_path / name, sample_rate=rate) == names


def test_blocks_and_comments_of_a_flac(tmp_path):
    path = write(tmp_path / "x.flac", sound(9_000, 1, 16), subtype="PCM_16")
    said = [b"title=voice", b"COMPOSER=Bach", b"ENCODER=ours"]
    comment = struct.pack("<I", 4) + b"ours" + struct.pack("<I", len(said))
    comment += b"".join(struct.pack("<I", len(text)) + text for text in said)
    data = path.read_bytes()
    extra = ((ancillary.COMMENT, comment), (ancillary.PICTURE, COVER), (ancillary.CUESHEET, bytes(396)))
    added = b"".join(bytes([kind]) + len(body).to_bytes(3, "big") + body for kind, body in extra)
    file = io.BytesIO(data[:42] + added + data[42:])

    def names(to: str, ratio: float) -> list[str]:
        return left.of_recording(file, {"title": "voice"}, "flac", to, ratio=ratio, tagged=True)

    assert names("flac", 1) == []
    assert names("flac", 0.5) == ["cue sheet"]
    assert names("wav", 1) == ["composer", "cover", "cue sheet"]


def test_comments_that_are_cut_short_are_named_as_far_as_they_go(tmp_path):
    path = write(tmp_path / "x.ogg", sound(20_000, 1), subtype="VORBIS", format="OGG")
    text = b"METADATA_BLOCK_PICTURE=AAAA"
    packet = b"\x03vorbis" + struct.pack("<III", 0, 9, len(text)) + text + b"\x01"
    with path.open("r+b") as file:
        ogg.recomment(file, packet)
        ogg.renumber(file)
    with path.open("rb") as file:
        assert left.of_recording(file, {}, "ogg", "wav", ratio=1, tagged=True) == ["cover"]


def test_tags_of_an_mp3(tmp_path):
    path = write(tmp_path / "x.mp3", sound(20_000, 1), format="MP3", subtype="MPEG_LAYER_III")
    frames = b"APIC" + bytes([0, 0, 0, 9]) + b"\0\0" + b"\0image/x\0"
    foot = struct.pack("<8sIIII8x", b"APETAGEX", 2_000, 32, 0, 0)
    path.write_bytes(b"ID3\x04\0\0\0\0\0" + bytes([len(frames)]) + frames + path.read_bytes() + foot)
    assert told(path, tmp_path / "y.mp3") == []
    assert told(path, tmp_path / "y.wav") == ["APEv2", "cover"]


def test_an_animation_keeps_its_delays_in_formats_that_have_them(tmp_path):
    frames = [Image.fromarray(np.full((20, 20), value, np.uint8)) for value in (0, 100, 200)]
    frames[0].save(tmp_path / "x.gif", save_all=True, append_images=frames[1:], duration=[70, 80, 90])
    assert told(tmp_path / "x.gif", tmp_path / "y.webp") == []
    assert told(tmp_path / "x.gif", tmp_path / "y.tif") == ["delays"]
