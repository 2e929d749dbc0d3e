"""The head of an extensible WAV says of speakers and valid bits what that of its source does."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from test_ancillary import add
from test_audio import RATE, planted, read, sound, through, write

from denoise_cli.media import speakers

PCM = bytes.fromhex("0100000000001000800000aa00389b71")
AMBISONIC = bytes.fromhex("010000002107d3118644c8c1ca000000")
VALID, MASK, GUID = 38, 40, 44  # offsets in a WAV whose first chunk is its fmt


def extensible(path: Path, channels: int, mask: int, valid: int = 24, subtype: str = "PCM_24") -> Path:
    write(path, sound(1_000, channels), format="WAVEX", subtype=subtype)
    return planted(planted(path, VALID, "<H", valid), MASK, "<I", mask)


def head(path: Path) -> tuple[int, int] | None:
    """Valid bits and speakers."""
    with path.open("rb") as file:
        found = speakers.find(file)
    return None if found is None else (found.valid, found.mask)


@pytest.mark.parametrize(("channels", "mask"), [(6, 0x60F), (4, 0x107), (4, 0), (2, 0x3), (1, 0x8), (3, 1 << 31)])
def test_speakers_are_those_of_the_source(tmp_path, channels, mask) -> None:
    path = extensible(tmp_path / "x.wav", channels, mask)
    out = through(path, tmp_path / "y.wav")
    assert head(out) == (24, mask)
    assert out.read_bytes() == path.read_bytes()
    assert np.array_equal(read(path), read(out))


def test_bits_that_count_are_kept_where_samples_are_of_the_same_size(tmp_path) -> None:
    path = extensible(tmp_path / "x.wav", 6, 0x60F, valid=20)
    assert head(through(path, tmp_path / "y.wav")) == (20, 0x60F)
    assert head(through(path, tmp_path / "z.wav", bit_depth=16)) == (16, 0x60F)
    assert head(through(path, tmp_path / "f.wav", bit_depth="float")) == (32, 0x60F)
    assert head(through(path, tmp_path / "r.wav", sample_rate=RATE // 2)) == (20, 0x60F)
    for lie in (0, 25):
        lying = extensible(tmp_path / "lie.wav", 6, 0x60F, valid=lie)
        assert head(through(lying, tmp_path / "y.wav")) == (24, 0x60F)


def test_what_goes_with_a_recording_is_kept_beside_its_speakers(tmp_path) -> None:
    path = add(extensible(tmp_path / "x.wav", 6, 0x60F), [(b"iXML", b"<BWFXML/>")])
    assert through(path, tmp_path / "y.wav").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("format", ["PCM", "float"])
def test_ambisonics_stay_ambisonics(tmp_path, format) -> None:
    path = extensible(tmp_path / "x.wav", 4, 0, *((24, "PCM_24") if format == "PCM" else (32, "FLOAT")))
    data = bytearray(path.read_bytes())
    data[GUID + 4 : GUID + 16] = AMBISONIC[4:]
    path.write_bytes(data)
    out = through(path, tmp_path / "y.wav").read_bytes()
    assert out[MASK : GUID + 16] == data[MASK : GUID + 16]
    other = through(path, tmp_path / "z.wav", bit_depth=16 if format == "float" else "float").read_bytes()
    assert other[GUID + 4 : GUID + 16] == PCM[4:], "a kind that nobody has named"


def test_speakers_go_from_wav_to_rf64_and_back(tmp_path) -> None:
    path = extensible(tmp_path / "x.wav", 6, 0x60F, valid=20)
    rf64 = through(path, tmp_path / "x.rf64")
    assert rf64.read_bytes()[:4] == b"RF64"
    assert head(rf64) == (20, 0x60F)
    assert head(through(rf64, tmp_path / "y.rf64")) == (20, 0x60F)


def test_a_wav_out_of_a_pipe_keeps_its_speakers(tmp_path) -> None:
    path = extensible(tmp_path / "x.wav", 6, 0x60F, valid=20)
    data = path.read_bytes()
    lying = planted(path, data.index(b"data") + 4, "<I", 0xFFFFFFFF)
    assert head(through(lying, tmp_path / "y.wav")) == (20, 0x60F)


def test_speakers_in_the_other_byte_order(tmp_path) -> None:
    path = write(tmp_path / "x.wav", sound(1_000, 6), format="WAV", endian="BIG", subtype="PCM_24")
    data = bytearray(path.read_bytes())
    further = struct.pack(">HHIIHH8s", 22, 20, 0x60F, 1, 0, 16, PCM[8:])
    data[12:36] = b"fmt " + struct.pack(">IH", 40, 0xFFFE) + data[22:36] + further
    struct.pack_into(">I", data, 4, len(data) - 8)
    path.write_bytes(data)
    assert head(path) == (20, 0x60F)
    out = through(path, tmp_path / "y.wav")
    assert head(out) == (20, 0x60F)
    assert out.read_bytes()[GUID : GUID + 16] == PCM


def test_a_head_that_is_not_extensible_stays_as_it_is(tmp_path) -> None:
    plain = write(tmp_path / "x.wav", sound(1_000, 6), subtype="PCM_24")
    assert through(plain, tmp_path / "y.wav").read_bytes() == plain.read_bytes()
    assert head(plain) is None
    w64 = through(extensible(tmp_path / "e.wav", 6, 0x60F), tmp_path / "y.w64")
    assert head(w64) is None, "libsndfile writes none there"
    assert head(through(plain, tmp_path / "y.rf64")) == (24, 0x3F), "what libsndfile takes for it"


def test_a_damaged_head_is_none() -> None:
    good = struct.pack("<HHIIHHHHI", 0xFFFE, 2, RATE, 0, 4, 16, 22, 16, 3) + PCM
    for body in (good[:39], b"\1\0" + good[2:], good[:16] + b"\0\0" + good[18:], b""):
        for start in (b"RIFF", b"RF64", b"FORM", b"fLaC"):
            data = start + bytes(4) + b"WAVEfmt " + struct.pack("<I", len(body)) + body
            assert speakers.find(io.BytesIO(data)) is None
    assert speakers.find(io.BytesIO(b"")) is None
