"""Headers that lie about their length: where the samples of a chunked file begin, and how many there really are.

    RIFF size WAVE | fmt size ... | LIST size ... | data size samples
                                                         ^
                                                         a program that writes to a pipe cannot come back to it

ffmpeg leaves 0xFFFFFFFF there, sox 0x7FFFF000 or 0x7F000000, arecord 0x80000000, others 0: the samples then reach
to the end of the file. Any other size that the file does not reach means that it was cut short, on which libsndfile
is silent.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO

from denoise_cli.errors import InputError

MOST_CHUNKS = 1_000  # before the samples
LONGEST_HEAD = 1 << 26  # bytes; a cover picture may stand before the samples
LIES = (0x7F000000, 1 << 31, 1 << 32)
NEAR = 1 << 16  # bytes; a size so close to one of them was never counted


@dataclass(frozen=True)
class Layout:
    chunk: struct.Struct  # identifier and size
    first: int  # offset of the first chunk
    samples: bytes  # identifier of the chunk that holds them
    align: int = 1
    whole: bool = False  # a size counts the head of its chunk too


LAYOUTS = {
    b"RIFF": Layout(struct.Struct("<4sI"), 12, b"data", 2),
    b"RIFX": Layout(struct.Struct(">4sI"), 12, b"data", 2),
    b"RF64": Layout(struct.Struct("<4sI"), 12, b"data", 2),
    b"FORM": Layout(struct.Struct(">4sI"), 12, b"SSND", 2),
    b"caff": Layout(struct.Struct(">4sQ"), 8, b"data"),
    b"riff": Layout(struct.Struct("<16sQ"), 40, bytes.fromhex("64617461f3acd3118cd100c04f8edb8a"), 8, whole=True),
}
AU = {b".snd": struct.Struct(">II"), b"dns.": struct.Struct("<II")}  # no chunks: offset and size, from byte 4
DS64 = struct.Struct("<4sIQQQI")  # RF64: sizes of the file and its samples, count of frames, an empty table


@dataclass(frozen=True)
class Samples:
    """What a header says about where the samples are."""

    start: int  # offset of the first byte
    size: int  # bytes
    field: str  # struct format of the size as it is stored, ...
    at: int  # ... and its offset
    extra: int = 0  # that the stored size counts besides


@dataclass(frozen=True)
class Head:
    """Bytes to be read in place of the first ``len`` of a file."""

    data: bytes = b""
    skip: int = 0


def honest(file: BinaryIO) -> Head:
    """Return a head that tells the true size, or an empty one where the file's own does.

    Raises
    ------
    InputError
        Where the file ends before its header says, and the header is none of the known lies.
    """
    samples = find(file)
    length = file.seek(0, os.SEEK_END)
    if samples is None or samples.start > length:
        return Head()
    present = length - samples.start
    file.seek(0)
    start = file.read(min(samples.start, LONGEST_HEAD))
    lies = _lies(samples) and (samples.size > present or not _adds_up(start, length, file.read(4)))
    if not lies and samples.size > present:
        raise InputError(f"cut short: {present:,} of {samples.size:,} bytes of samples are there")
    if not lies or len(start) < samples.start:
        return Head()
    return Head(_mended(start, samples, present), samples.start)


def _lies(samples: Samples) -> bool:
    if samples.size == 0:
        return True
    if struct.calcsize(samples.field) == 8:
        return samples.size >= 1 << 62
    return any(abs(samples.size - lie) <= NEAR for lie in LIES)


def _adds_up(start: bytes, length: int, following: bytes) -> bool:
    """Whether the size of the whole file, at its very beginning, is right, and what follows looks like a chunk."""
    layout = LAYOUTS.get(start[:4])
    if layout is None:
        return False
    _, size = layout.chunk.unpack_from(start)
    return length in (size, size + 8) and following.isascii() and following.decode().isprintable()


def _mended(start: bytes, samples: Samples, present: int) -> bytes:
    stored = 0xFFFFFFFF if start[:4] in AU else present + samples.extra  # AU may leave it open, at any length
    if stored < 1 << 8 * struct.calcsize(samples.field):
        after = samples.at + struct.calcsize(samples.field)
        return start[: samples.at] + struct.pack(samples.field, stored) + start[after:]
    if start[:4] != b"RIFF":
        raise InputError(f"{present:,} bytes of samples are more than the format can hold")
    sizes = DS64.pack(b"ds64", DS64.size - 8, len(start) + DS64.size - 8 + present, present, 0, 0)
    return b"RF64\xff\xff\xff\xffWAVE" + sizes + start[12:-4] + b"\xff\xff\xff\xff"


def find(file: BinaryIO) -> Samples | None:
    """Where the samples are, as the header has it; None where there is no such header."""
    file.seek(0)
    start = file.read(48)
    if start[:4] in AU and len(start) >= 12:
        offset, size = AU[start[:4]].unpack_from(start, 4)
        return Samples(offset, size, AU[start[:4]].format[0] + "I", 8)
    layout = LAYOUTS.get(start[:4])
    if layout is None:
        return None
    found = _samples(file, layout)
    wide = len(start) >= 36 and start[12:16] == b"ds64" and struct.unpack_from("<I", start, 16)[0] >= 16
    if found is not None and start[:4] == b"RF64" and wide and found.size == 0xFFFFFFFF:
        return replace(found, size=struct.unpack_from("<Q", start, 28)[0], field="<Q", at=28)
    return found


def walk(file: BinaryIO, layout: Layout, samples: int | None = None) -> Iterator[tuple[bytes, int, int]]:
    """Yield identifier, offset of the body and its bytes of every chunk; `samples`: the true size of theirs."""
    position, head = layout.first, layout.chunk.size
    for _ in range(MOST_CHUNKS):
        file.seek(position)
        chunk = file.read(head)
        if len(chunk) < head:
            return
        kind, size = layout.chunk.unpack(chunk)
        size = max(0, size - head) if layout.whole else size
        size = samples if samples is not None and kind == layout.samples else size
        yield kind, position + head, size
        position += head + size
        position += -position % layout.align
        if position >= 1 << 62:
            return


def _samples(file: BinaryIO, layout: Layout) -> Samples | None:
    for kind, start, size in walk(file, layout):
        if kind == layout.samples:
            field = layout.chunk.format[0] + layout.chunk.format[-1]
            return Samples(start, size, field, start - struct.calcsize(field), layout.chunk.size * layout.whole)
    return None
