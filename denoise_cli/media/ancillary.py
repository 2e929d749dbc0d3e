"""What libsndfile leaves behind of a recording: chunks of WAV, AIFF and CAF besides the samples, blocks of FLAC.

    RIFF size WAVE | fmt | data samples | LIST INFO ... | id3 | bext | iXML        behind the samples, as they were
    fLaC STREAMINFO | VORBIS_COMMENT | PICTURE | frames                            before them

Covers, ID3 tags, cue points, the time code of a field recorder: all are copied as they stand, unread. What
describes the samples themselves is the encoder's business; what counts in samples goes where the rate is another.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from denoise_cli.errors import OutputError
from denoise_cli.media import beside, chunks, mp3
from denoise_cli.media.heads import read_at

# Of the encoder, room for growth, or true of the old samples only: checksums, peaks, envelopes.
CODING = {
    "wav": {b"fmt ", b"data", b"fact", b"ds64", b"JUNK", b"junk", b"PAD ", b"FLLR", b"PEAK", b"levl", b"MD5 "},
    "aiff": {b"COMM", b"SSND", b"FVER", b"PEAK", b"FLLR"},
    "caf": {b"desc", b"data", b"pakt", b"kuki", b"free", b"peak", b"ovvw", b"edct"},
}
COUNTED = {  # in samples
    "wav": {b"cue ", b"smpl", b"plst", b"iXML", b"LIST" + b"adtl"},
    "aiff": {b"MARK", b"INST"},
    "caf": {b"mark", b"regn"},
}
BEXT_TIME = slice(338, 346)  # EBU Tech 3285: samples since midnight, little-endian
ID3V1 = 128  # bytes at the end of an MP3
APE, APE_HEAD = b"APETAGEX", 32  # bytes at the end of an APEv2 tag, before that, and perhaps at its beginning
FLAC_HEAD = 42  # bytes of "fLaC" and STREAMINFO
PADDING, APPLICATION, COMMENT, CUESHEET, PICTURE = 1, 2, 4, 5, 6  # types of blocks, RFC 9639


@dataclass(frozen=True)
class Piece:
    """A chunk or a block: its head, where its body lies in the source, and what stands for the beginning of it."""

    head: bytes
    start: int
    size: int
    body: bytes = b""

    def copy(self, source: BinaryIO, target: BinaryIO) -> None:
        target.write(self.head + self.body)
        beside.copy(source, self.start + len(self.body), self.size - len(self.body), target)


@dataclass(frozen=True)
class Kept:
    """What goes along from one file to another of the same format."""

    source: BinaryIO
    pieces: tuple[Piece, ...] = ()
    format: str = ""

    @property
    def room(self) -> int:
        """Bytes to leave free before the encoder's own file."""
        return sum(len(piece.head) + piece.size for piece in self.pieces) if self.format == "flac" else 0

    def attach(self, target: BinaryIO) -> None:
        """Put all into a file that the encoder has finished. Raises OutputError where a size does not fit."""
        if not self.pieces:
            return
        if self.format == "flac":
            _insert(self, target)
        elif self.format == "mp3":
            target.seek(0, os.SEEK_END)
            self.pieces[0].copy(self.source, target)
        else:
            _append(self, target)


def find(source: BinaryIO, format: str, ratio: float) -> Kept:
    """Look for what is to go along into a file of this format, at `ratio` times the rate of the source."""
    kind = family(format)
    if kind == "flac":
        found = _blocks(source, ratio)
    elif kind == "mp3":
        found = _tail(source)
    else:
        found = _chunks(source, kind, ratio) if kind in CODING else iter(())
    return Kept(source, tuple(found), kind)


def family(format: str) -> str:
    """The format whose chunks it has: an RF64 is a WAV with room for sizes of 64 bits."""
    return "wav" if format == "rf64" else format


def _tail(file: BinaryIO) -> Iterator[Piece]:
    """The tags at the end of an MP3: APEv2, where players keep the loudness of an album, and ID3v1."""
    end = file.seek(0, os.SEEK_END)
    start = end - ID3V1 if read_at(file, end - ID3V1, 3) == b"TAG" else end
    foot = read_at(file, start - APE_HEAD, APE_HEAD)
    if foot.startswith(APE):
        size, _, flags = struct.unpack_from("<III", foot, len(APE) + 4)
        size += APE_HEAD if flags >> 31 else 0
        start -= size if APE_HEAD <= size <= start else 0
    if start < end:
        yield Piece(b"", start, end - start)


def _chunks(file: BinaryIO, kind: str, ratio: float) -> Iterator[Piece]:
    file.seek(0)
    layout = chunks.LAYOUTS.get(file.read(4))
    samples = chunks.find(file)
    length = file.seek(0, os.SEEK_END)
    if layout is None or samples is None:
        return
    for name, start, size in chunks.walk(file, layout, samples.size):
        file.seek(start)
        if start + size > length or not (name.isascii() and name.decode().isprintable()):
            return  # cut short, or something else behind the last chunk
        if name == layout.samples and size == 0:
            return  # of a pipe: they reach to the end of the file
        typed = name + file.read(4) if name == b"LIST" else name
        if name in CODING[kind] or (ratio != 1 and (name in COUNTED[kind] or typed in COUNTED[kind])):
            continue
        head = layout.chunk.pack(name, size)
        if name == b"bext" and ratio != 1 and size >= BEXT_TIME.stop:
            file.seek(start)
            yield Piece(head, start, size, _moved(file.read(BEXT_TIME.stop), ratio))
        else:
            yield Piece(head, start, size)


def _moved(bext: bytes, ratio: float) -> bytes:
    (time,) = struct.unpack("<Q", bext[BEXT_TIME])
    return bext[: BEXT_TIME.start] + struct.pack("<Q", min(round(time * ratio), 2**64 - 1))


def _append(kept: Kept, target: BinaryIO) -> None:
    target.seek(0)
    start = target.read(4)
    layout, samples = chunks.LAYOUTS[start], chunks.find(target)
    assert samples is not None, "the encoder has written them"
    kept.source.seek(0)
    if layout.chunk.format != chunks.LAYOUTS[kept.source.read(4)].chunk.format:
        return  # libsndfile has no WAVEX of the other byte order, in which the heads and much in the bodies are
    # libsndfile evens the end of a CAF, where a reader looks for the next chunk at once.
    target.seek(max(at + size for _, at, size in chunks.walk(target, layout, samples.size)))
    target.truncate()
    for piece in kept.pieces:
        target.write(bytes(-target.tell() % layout.align))
        piece.copy(kept.source, target)
    target.write(bytes(-target.tell() % layout.align))
    size = target.tell() - 8
    if start == b"RF64":
        target.seek(20)  # the size in its ds64 chunk
        target.write(struct.pack("<Q", size))
    elif start != b"caff":  # which tells none
        if size >= 1 << 32:
            raise OutputError("the samples and what goes with them are more than 4 GiB; w64 and caf can hold them")
        target.seek(4)
        target.write(struct.pack(layout.chunk.format[0] + "I", size))


def recount(file: BinaryIO, frames: int) -> None:
    """Mend the count of an AIFF of one channel of bytes: libsndfile takes the byte that evens them for a sample."""
    found = {name: at for name, at, _ in chunks.walk(file, chunks.LAYOUTS[b"FORM"])}
    if b"COMM" not in found or b"SSND" not in found:
        return
    file.seek(found[b"COMM"])
    channels, counted = struct.unpack(">HI", file.read(6))
    if channels == 1 and counted == frames + 1:
        file.seek(found[b"COMM"] + 2)
        file.write(struct.pack(">I", frames))
        file.seek(found[b"SSND"] - 4)
        file.write(struct.pack(">I", 8 + frames))


def _blocks(file: BinaryIO, ratio: float) -> Iterator[Piece]:
    position = len(mp3.tag(file))
    length = file.seek(0, os.SEEK_END)
    file.seek(position)
    last = file.read(4) != b"fLaC"
    position += 4
    for _ in range(chunks.MOST_CHUNKS):
        if last:
            return
        file.seek(position)
        head = file.read(4)
        if len(head) < 4:
            return
        last, kind, size = bool(head[0] & 0x80), head[0] & 0x7F, int.from_bytes(head[1:], "big")
        if position + 4 + size > length:
            return
        if kind in (APPLICATION, COMMENT, PICTURE) or (kind == CUESHEET and ratio == 1):
            yield Piece(bytes([kind]) + head[1:], position + 4, size)
        position += 4 + size


def _insert(kept: Kept, target: BinaryIO) -> None:
    """Move the head of the encoder's file to the front, and fill the gap; its own comments become padding.

    room ........ | fLaC STREAMINFO | COMMENT | frames
    fLaC STREAMINFO | pieces ...... | padding | frames
    """
    target.seek(kept.room)
    start = target.read(FLAC_HEAD + 1)
    target.seek(0)
    target.write(start[:FLAC_HEAD])
    for piece in kept.pieces:
        piece.copy(kept.source, target)
    following = start[FLAC_HEAD]
    if following & 0x7F == COMMENT and any(piece.head[0] == COMMENT for piece in kept.pieces):
        target.seek(kept.room + FLAC_HEAD)
        target.write(bytes([following & 0x80 | PADDING]))
