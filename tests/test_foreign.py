"""What is not read is refused by its name."""

from __future__ import annotations

import struct
from contextlib import closing

import numpy as np
import pytest
import soundfile
from PIL import Image, TiffImagePlugin

from denoise_cli import media
from denoise_cli.errors import InputError
from denoise_cli.media import audio, image
from denoise_cli.media.files import Job


def refused(path) -> str:
    with pytest.raises(InputError) as caught:
        media.open_source(Job(path, None, path.relative_to(path.parent)))
    return str(caught.value).removeprefix(f"{path}: ")


@pytest.mark.parametrize(
    ("start", "name"),
    [
        (b"\0\0\0\x24ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x20ftypM4A \0\0\0\0M4A mp42isom", "MP4, M4A or QuickTime"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1", "a Canon raw file"),
        (b"IIRS\x08\0\0\0", "an Olympus raw file"),
        (b"\0\0\0\x0cJXL \x0d\x0a\x87\x0a", "JPEG XL"),
        (bytes(128) + b"DICM", "DICOM"),
        (b"<?xml version='1.0'?>\n<!-- drawn -->\n<svg>", "SVG"),
        (bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"), "Windows Media"),
        (b"\xff\xf1\x50\x80", "AAC"),
    ],
)
def test_formats_that_people_have_are_named(tmp_path, start, name):
    path = tmp_path / "x.png"
    path.write_bytes(start + bytes(600))
    assert refused(path).startswith(f"{name} is not read; convert it to one of png, jpeg, tiff, ")
    for read in (image.read, audio.read):
        with pytest.raises(InputError, match=f"{name} is not read"):
            read(path)


@pytest.mark.parametrize("tiff", [{}, {"big_tiff": True}])
def test_the_preview_of_a_raw_file_is_not_taken_for_the_picture(tmp_path, tiff):
    for subfile, taken in ((0, True), (1, False)):
        tags = TiffImagePlugin.ImageFileDirectory_v2()
        tags[254], tags[330] = subfile, 8
        path = tmp_path / f"{subfile}.nef"
        Image.new("RGB", (40, 40)).save(path, format="TIFF", tiffinfo=tags, **tiff)
        if taken:
            assert image.read(path).data.shape == (3, 40, 40)
        else:
            assert refused(path).startswith("a raw file of a camera, of which only the preview")
    data = (tmp_path / "0.nef").read_bytes()
    if data[2] == 42:  # CR2 says so behind the head of a plain TIFF
        (tmp_path / "x.cr2").write_bytes(data[:8] + b"CR\2\0" + data[12:])
        assert refused(tmp_path / "x.cr2").startswith("a raw file of a camera")


@pytest.mark.parametrize(
    ("packet", "name"), [(b"\x7fFLAC\1\0", "FLAC"), (b"Speex   1.2", "Speex"), (b"\x80theora\3\2", "video")]
)
def test_other_codecs_in_ogg_are_named(tmp_path, packet, name):
    pages = b""
    for number, body in enumerate((packet + bytes(40), b"abcd")):
        head = struct.pack("<4sBBqIIIBB", b"OggS", 0, 2 if number == 0 else 4, 0, 1, number, 0, 1, len(body))
        pages += head + body
    (tmp_path / "x.ogg").write_bytes(pages)
    assert refused(tmp_path / "x.ogg").startswith(f"{name} in Ogg is not read, only Vorbis and Opus")


def wav(tag: int, body: bytes) -> bytes:
    coding = struct.pack("<HHIIHHHHIHHH", tag, 1, 44_100, 16_000, 1, 0, 12, 1, 2, 417, 1, 1_393)
    data = b"WAVEfmt " + struct.pack("<I", len(coding)) + coding + b"data" + struct.pack("<I", len(body)) + body
    return b"RIFF" + struct.pack("<I", len(data)) + data


def test_other_codecs_in_a_wav_are_named_and_no_mp3_is_read_in_part(tmp_path):
    path = tmp_path / "x.wav"
    path.write_bytes(wav(0x161, bytes(2_000)))
    assert refused(path) == "Windows Media in a WAV is not read; convert it to FLAC or plain WAV"
    soundfile.write(tmp_path / "x.mp3", 0.3 * np.sin(np.arange(44_100) / 20), 44_100)
    whole = (tmp_path / "x.mp3").read_bytes()
    whole += bytes(len(whole) % 2)
    path.write_bytes(wav(0x55, whole))
    with closing(media.open_source(Job(path, None, path))) as source:
        assert sum(block.shape[1] for block in source.blocks()) == 44_100
    untold = whole[whole.index(whole[:2], 10) :]  # without the frame that tells the length
    path.write_bytes(wav(0x55, untold + bytes(len(untold) % 2)))
    assert refused(path) == "MP3 in a WAV is not read; convert it to FLAC or plain WAV"
