"""What goes with a recording: chunks, blocks, comments and tags come out as they went in."""

from __future__ import annotations

import hashlib
import io
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from test_audio import RATE, planted, read, sound, through, write

from denoise_cli.media import ancillary, chunks, ogg

BEXT = b"a field recorder".ljust(338, b"\0") + struct.pack("<Q", 48_000 * 3600) + bytes(256)
COVER = bytes(range(256)) * 20 + b"\0"  # an odd number of bytes
COMMENTS = {
    "ogg": ("VORBIS", b"\x03vorbis", b"\x01"),
    "opus": ("OPUS", b"OpusTags", b""),
}


def layout_of(path: Path) -> chunks.Layout:
    return chunks.LAYOUTS[path.read_bytes()[:4]]


def parts(path: Path) -> dict[bytes, bytes]:
    """Chunks by name, by way of the sizes that the file tells."""
    data, layout = path.read_bytes(), layout_of(path)
    assert data[:4] == b"caff" or chunks_end(data) == len(data)
    found, position = {}, layout.first
    while position < len(data):
        name, size = layout.chunk.unpack_from(data, position)
        position += layout.chunk.size
        size = struct.unpack_from("<Q", data, 28)[0] if size == 0xFFFFFFFF else size
        found[name] = data[position : position + size]
        position += size + size % layout.align if layout.align > 1 else size
    return found


def chunks_end(data: bytes) -> int:
    if data[:4] == b"RF64":
        return 8 + struct.unpack_from("<Q", data, 20)[0]
    return 8 + struct.unpack_from(">I" if data[:4] == b"FORM" else "<I", data, 4)[0]


def add(path: Path, extra: Sequence[tuple[bytes, bytes]]) -> Path:
    """Append chunks, and mend the size of the file."""
    data, layout = bytearray(path.read_bytes()), layout_of(path)
    for name, body in extra:
        data += bytes(len(data) % 2 if layout.align > 1 else 0) + layout.chunk.pack(name, len(body)) + body
    data += bytes(len(data) % 2 if layout.align > 1 else 0)
    if data[:4] == b"RF64":
        struct.pack_into("<Q", data, 20, len(data) - 8)
    elif data[:4] != b"caff":
        struct.pack_into(">I" if data[:4] == b"FORM" else "<I", data, 4, len(data) - 8)
    path.write_bytes(data)
    return path


EXTRA = {
    "wav": [(b"JUNK", bytes(30)), (b"LIST", b"INFOINAM\x06\0\0\0voice\0"), (b"id3 ", b"ID3\x04" + COVER),
            (b"cue ", struct.pack("<I", 1) + bytes(24)), (b"bext", BEXT),
            (b"LIST", b"adtllabl\x06\0\0\0\x01\0\0\0A\0")],
    "rf64": [(b"iXML", b"<BWFXML/>"), (b"bext", BEXT)],
    "aiff": [(b"NAME", b"voice"), (b"ID3 ", b"ID3\x04" + COVER), (b"MARK", b"\0\0")],
    "caf": [(b"info", struct.pack(">I", 1) + b"title\0voice\0"), (b"uuid", b"u" * 16 + COVER), (b"free", bytes(9))],
}  # fmt: skip


@pytest.mark.parametrize("frames", [1_000, 1_001])
@pytest.mark.parametrize("format", EXTRA)
def test_chunks_besides_the_samples_are_kept_as_they_were(tmp_path, format, frames) -> None:
    subtype = {"wav": "PCM_U8", "rf64": "PCM_16"}.get(format, "PCM_S8")
    path = write(tmp_path / f"x.{format}", sound(frames, 1), subtype=subtype, format=format.upper())
    if format == "aiff":  # as others write it: the byte that evens them is no sample
        planted(planted(path, 22, ">I", frames), 42, ">I", 8 + frames)
    if format == "caf":
        path.write_bytes(path.read_bytes()[: 4_092 + 4 + frames])
    add(path, EXTRA[format])
    before, after = parts(path), parts(through(path, tmp_path / f"y.{format}"))
    assert np.array_equal(read(path), read(tmp_path / f"y.{format}"))
    room = {b"JUNK", b"free"}  # libsndfile leaves some of its own in a CAF
    names = [name for name, _ in EXTRA[format] if name not in room]
    assert [name for name in after if name in names] == list(dict.fromkeys(names)), "in their order"
    assert all(after[name] == before[name] for name in names)
    assert not any(after.get(name) == body for name, body in EXTRA[format] if name in room)
    assert sf.info(tmp_path / f"y.{format}").frames == frames


def test_at_another_rate_what_counts_in_samples_goes_and_a_time_code_is_moved(tmp_path) -> None:
    path = add(write(tmp_path / "x.wav", sound(4_800, 1)), EXTRA["wav"])
    after = parts(through(path, tmp_path / "y.wav", sample_rate=RATE // 2))
    assert b"cue " not in after
    assert after[b"LIST"].startswith(b"INFO"), "the labels of cue points went with them"
    assert after[b"id3 "] == b"ID3\x04" + COVER
    assert struct.unpack_from("<Q", after[b"bext"], 338) == (24_000 * 3600,)
    assert after[b"bext"].startswith(b"a field recorder")


def test_in_another_container_the_tags_that_both_know_are_kept(tmp_path) -> None:
    path = add(write(tmp_path / "x.wav", sound(1_000, 1)), [(b"LIST", b"INFOINAM\x06\0\0\0voice\0")])
    with sf.SoundFile(through(path, tmp_path / "y.flac")) as file:
        assert file.title == "voice"


def test_a_wav_out_of_a_pipe_keeps_what_stands_before_its_samples(tmp_path) -> None:
    path = write(tmp_path / "x.wav", sound(1_000, 1))
    data = path.read_bytes()
    at = data.index(b"data")
    info = b"INFOISFT\x04\0\0\0ours"
    for lie in (0, 0x7FFFF000, 0xFFFFFFFF):
        lying = data[:at] + b"LIST" + struct.pack("<I", len(info)) + info + b"data" + struct.pack("<I", lie)
        path.write_bytes(lying + data[at + 8 :])
        assert parts(through(path, tmp_path / "y.wav"))[b"LIST"] == info
        assert sf.info(tmp_path / "y.wav").frames == 1_000


def blocks(path: Path) -> list[tuple[int, bytes]]:
    data, position, found, last = path.read_bytes(), 4, [], False
    assert data[:4] == b"fLaC"
    while not last:
        last, kind = bool(data[position] & 0x80), data[position] & 0x7F
        size = int.from_bytes(data[position + 1 : position + 4], "big")
        found.append((kind, data[position + 4 : position + 4 + size]))
        position += 4 + size
    assert data[position : position + 1] == b"\xff", "a frame follows"
    return found


def test_blocks_of_a_flac_are_kept_as_they_were(tmp_path) -> None:
    x = sound(9_000, 2, 16)
    path = write(tmp_path / "x.flac", x, subtype="PCM_16")
    data, comment = path.read_bytes(), struct.pack("<I", 4) + b"ours" + struct.pack("<II", 1, 13) + b"COMPOSER=Bach"
    picture = struct.pack(">II9sIIIIII", 3, 9, b"image/png", 0, 1, 1, 24, 0, len(COVER)) + COVER
    extra = [(ancillary.COMMENT, comment), (ancillary.PICTURE, picture)]
    added = b"".join(bytes([kind]) + len(body).to_bytes(3, "big") + body for kind, body in extra)
    assert data[42] & 0x7F == ancillary.COMMENT, "those of libFLAC, which become padding behind ours"
    for tag in (b"", b"ID3\x04\0\0\0\0\0\x0a" + bytes(10)):
        path.write_bytes(tag + data[:42] + added + bytes([data[42] & 0x80 | ancillary.PADDING]) + data[43:])
        kept = blocks(through(path, tmp_path / "y.flac"))
        assert [(kind, body) for kind, body in kept if kind in dict(extra)] == extra
        assert np.array_equal(read(tmp_path / "y.flac"), read(path))
        assert kept[0][1][18:34] == hashlib.md5((x * 32768).astype("<i2").tobytes()).digest(), "of the samples"


def test_a_cue_sheet_stays_where_the_rate_does(tmp_path) -> None:
    path = write(tmp_path / "x.flac", sound(9_000, 1, 16), subtype="PCM_16")
    data, sheet = path.read_bytes(), bytes(396)
    path.write_bytes(data[:42] + bytes([ancillary.CUESHEET]) + len(sheet).to_bytes(3, "big") + sheet + data[42:])
    for rate, kept in ((RATE, True), (RATE // 2, False)):
        with path.open("rb") as file:
            found = ancillary.find(file, "flac", rate / RATE).pieces
        assert (ancillary.CUESHEET in [piece.head[0] for piece in found]) is kept


def pages(path: Path) -> list[bytes]:
    data, position, found = path.read_bytes(), 0, []
    while position < len(data):
        size = ogg._size(data[position:])
        found.append(data[position : position + size])
        position += size
    return found


def slow_crc(page: bytes) -> int:
    crc = 0
    for byte in page[: ogg.CRC_AT] + bytes(4) + page[ogg.CRC_AT + 4 :]:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1) ^ (ogg.P if crc >> 31 else 0)
    return crc


@pytest.mark.parametrize("size", [0, 20, 255 * 40, 70_000])
@pytest.mark.parametrize("format", COMMENTS)
def test_comments_of_an_ogg_are_kept_as_they_were(tmp_path, format, size) -> None:
    subtype, magic, end = COMMENTS[format]
    path = write(tmp_path / f"x.{format}", sound(20_000, 1), subtype=subtype, format="OGG")
    picture = b"METADATA_BLOCK_PICTURE=" + b"A" * size
    packet = magic + struct.pack("<I", 4) + b"ours" + struct.pack("<II", 1, len(picture)) + picture + end
    plain = through(path, tmp_path / f"plain.{format}")
    with path.open("r+b") as file:
        ogg.recomment(file, packet)
        ogg.renumber(file)
    assert len(read(path)) == 20_000, "libsndfile reads what we wrote"
    out = through(path, tmp_path / f"y.{format}")
    with out.open("rb") as file:
        assert ogg.comments(file) == packet
    assert np.array_equal(read(out), read(plain))
    for number, page in enumerate(pages(out)):
        assert struct.unpack_from("<III", page, ogg.SERIAL_AT) == (ogg.SERIAL, number, slow_crc(page))


def test_comments_beyond_reason_are_left_out_at_once(tmp_path) -> None:
    path = write(tmp_path / "x.ogg", sound(20_000, 1), subtype="VORBIS", format="OGG")
    for size, kept in ((ogg.LONGEST - 10_000, True), (ogg.LONGEST + 1, False)):
        file = io.BytesIO(path.read_bytes())
        ogg.recomment(file, b"\x03vorbis" + bytes(size))
        ogg.renumber(file)
        assert (ogg.comments(file) is not None) is kept


def test_no_more_blocks_of_a_flac_are_looked_at_than_chunks_of_a_wav() -> None:
    many = io.BytesIO(b"fLaC" + b"\x02\0\0\4abcd" * 10_000)
    assert len(ancillary.find(many, "flac", 1).pieces) == chunks.MOST_CHUNKS


def test_a_wav_of_the_other_byte_order_keeps_its_chunks_only_where_the_output_is_one_too(tmp_path) -> None:
    for format in ("WAV", "WAVEX"):
        path = write(tmp_path / "x.wav", sound(1_000, 1), format="WAV", endian="BIG", subtype="PCM_16")
        data = bytearray(add(path, [(b"id3 ", COVER)]).read_bytes())
        if format == "WAVEX":  # which libsndfile reads, and writes in one byte order only
            extensible = struct.pack(">HHIIHHHHI", 0xFFFE, 1, RATE, 2 * RATE, 2, 16, 22, 16, 4)
            guid = struct.pack(">IHH", 1, 0, 16) + bytes.fromhex("800000aa00389b71")
            data[12:36] = b"fmt " + struct.pack(">I", 40) + extensible + guid
            struct.pack_into(">I", data, 4, len(data) - 8)
        path.write_bytes(data)
        out = through(path, tmp_path / "y.wav").read_bytes()
        assert (out[:4] == b"RIFX", b"id3 " in out) in ((True, True), (False, False))


def test_a_stream_without_comments_or_a_damaged_one_gives_none(tmp_path) -> None:
    path = write(tmp_path / "x.ogg", sound(20_000, 1), subtype="VORBIS", format="OGG")
    whole = path.read_bytes()
    first = len(pages(path)[0])
    for data in (b"", whole[:first], whole[: first + 60], b"OggS" + bytes(300), whole[:first] + bytes(400)):
        path.write_bytes(data)
        with path.open("r+b") as file:
            assert ogg.comments(file) is None
            ogg.recomment(file, b"OpusTags")
        assert path.read_bytes() == data


def test_an_old_tag_at_the_end_of_an_mp3_is_kept(tmp_path) -> None:
    path = write(tmp_path / "x.mp3", sound(20_000, 1))
    length = len(read(path))
    tag = b"TAG" + b"voice".ljust(125, b"\0")
    path.write_bytes(path.read_bytes() + tag)
    out = through(path, tmp_path / "y.mp3")
    assert out.read_bytes().endswith(tag)
    assert out.read_bytes().count(b"TAG" + b"voice") == 1
    assert len(read(out)) == length


def ape(*items: tuple[bytes, bytes], head: bool) -> bytes:
    """An APEv2 tag: perhaps a head, items, and a foot that says the same."""
    body = b"".join(struct.pack("<II", len(value), 0) + key + b"\0" + value for key, value in items)
    ends = struct.pack("<8sIIII8x", b"APETAGEX", 2000, len(body) + 32, len(items), head << 31)
    return ends * head + body + ends


@pytest.mark.parametrize("head", [True, False])
@pytest.mark.parametrize("old", [b"", b"TAG" + b"voice".ljust(125, b"\0")])
def test_the_loudness_of_an_album_stays_at_the_end_of_an_mp3(tmp_path, head: bool, old: bytes) -> None:
    path = write(tmp_path / "x.mp3", sound(20_000, 1))
    length = len(read(path))
    tag = ape((b"REPLAYGAIN_ALBUM_GAIN", b"-3.2 dB"), (b"Album", b"Walks"), head=head)
    path.write_bytes(path.read_bytes() + tag + old)
    out = through(path, tmp_path / "y.mp3")
    assert out.read_bytes().endswith(tag + old)
    assert out.read_bytes().count(b"APETAGEX") == 1 + head
    assert len(read(out)) == length


def test_the_foot_of_a_tag_that_is_larger_than_its_file_is_no_tag(tmp_path) -> None:
    path = write(tmp_path / "x.mp3", sound(20_000, 1))
    for size in (0, 31, 1 << 31, 0xFFFFFFFF):
        foot = struct.pack("<8sIIII8x", b"APETAGEX", 2000, size, 1, 0)
        (tmp_path / "z.mp3").write_bytes(path.read_bytes() + foot)
        assert foot not in through(tmp_path / "z.mp3", tmp_path / f"{size}.mp3").read_bytes()


@pytest.mark.parametrize("to", ["same", "wav", "flac", "ogg"])
@pytest.mark.parametrize("format", ["ogg", "opus", "mp3"])
def test_a_tag_that_is_empty_is_no_obstacle(tmp_path, format: str, to: str) -> None:
    path = tmp_path / f"x.{format}"
    if format == "mp3":
        write(path, sound(20_000, 1))
        path.write_bytes(path.read_bytes() + b"TAG" + b"Voice".ljust(125, b"\0"))
    else:
        subtype, magic, end = COMMENTS[format]
        write(path, sound(20_000, 1), subtype=subtype, format="OGG")
        words = [b"TITLE=Voice", b"ARTIST="]
        packet = magic + struct.pack("<I", 4) + b"ours" + struct.pack("<I", len(words))
        with path.open("r+b") as file:
            ogg.recomment(file, packet + b"".join(struct.pack("<I", len(word)) + word for word in words) + end)
            ogg.renumber(file)
    with sf.SoundFile(path) as file:
        assert (file.title, file.artist) == ("Voice", "")
    out = through(path, tmp_path / f"y.{format if to == 'same' else to}")
    with sf.SoundFile(out) as file:
        assert (file.title, file.artist) == ("Voice", "")
