"""Which speaker each channel of a WAV is for, and how many of its bits count: libsndfile writes what is usual.

    fmt size | tag 0xFFFE, channels, rate, ... bits | 22, valid bits, speakers, what the samples are

It makes 0x3f of any six channels, surround sound from behind, also where they were 0x60f, from the sides; and of 0,
which names no speaker, the first ones there are. So what does not depend on how samples are stored is copied.

After: Microsoft, "WAVEFORMATEXTENSIBLE structure (mmreg.h)".
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO

from denoise_cli.media import chunks

WAVES = (b"RIFF", b"RIFX", b"RF64", b"riff")
EXTENSIBLE, FURTHER = 0xFFFE, 22  # the tag, and bytes behind a head of the old kind
FORM, FORM_FURTHER = "HH10xHH", "HIIHH8s"


@dataclass(frozen=True)
class Speakers:
    """What an extensible head says, in either byte order."""

    at: int  # offset of what lies behind the old head
    order: str  # as struct has it
    channels: int
    bits: int  # that a sample takes
    valid: int  # that count, the upper ones
    mask: int  # a bit for each speaker; 0: none is meant
    kind: tuple[int, int, int, bytes]  # a GUID: its first number says PCM or float, the others tell ambisonics


def copy(source: BinaryIO, target: BinaryIO) -> None:
    """Let the head of a finished WAV or RF64 say what that of the source does, where both are extensible.

    Speakers want as many channels, valid bits samples of the same size.
    """
    old, kept = find(target), find(source)
    if old is None or kept is None or old.channels != kept.channels:
        return
    valid = kept.valid if old.bits == kept.bits and 0 < kept.valid <= kept.bits else old.valid
    kind = kept.kind if old.kind[0] == kept.kind[0] else old.kind
    target.seek(old.at)
    target.write(struct.pack(old.order + FORM_FURTHER, valid, kept.mask, *kind))


def find(file: BinaryIO) -> Speakers | None:
    """Look for an extensible head; None: there is none."""
    file.seek(0)
    start = file.read(4)
    if start not in WAVES:
        return None
    layout = chunks.LAYOUTS[start]
    order = layout.chunk.format[0]
    head, further = struct.Struct(order + FORM), struct.Struct(order + FORM_FURTHER)
    for name, at, size in chunks.walk(file, layout):
        if name[:4] != b"fmt ":
            continue
        file.seek(at)
        data = file.read(min(size, head.size + further.size))
        if len(data) < head.size + further.size:
            return None
        tag, channels, bits, length = head.unpack_from(data)
        if tag != EXTENSIBLE or length < FURTHER:
            return None
        valid, mask, *kind = further.unpack_from(data, head.size)
        return Speakers(at + head.size, order, channels, bits, valid, mask, (kind[0], kind[1], kind[2], kind[3]))
    return None
