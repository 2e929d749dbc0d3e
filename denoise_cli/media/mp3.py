"""What libsndfile does not do for MP3: count the frames of a file that does not tell, and keep its tags.

    ID3v2 tag | frame with Xing, Info or VBRI: how many follow, what to cut off their ends | frames ... | ID3v1 tag

A file without that first frame has no length.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import BinaryIO

LONGEST_TAG = 1 << 26  # bytes
FIRST_FRAME = 4096  # bytes after the tag in which the first frame lies
LENGTHS = (b"Xing", b"Info", b"VBRI")
SYNC = 0xFF  # the first byte of a frame
SLACK = 1 << 14  # bytes by which a told length may be wrong
TEXTS = {
    "title": b"TIT2", "artist": b"TPE1", "album": b"TALB", "date": b"TDRC", "tracknumber": b"TRCK",
    "genre": b"TCON", "copyright": b"TCOP", "comment": b"COMM",
}  # fmt: skip


def tag(file: BinaryIO) -> bytes:
    """Return the ID3v2 tag as it stands at the beginning of the file, covers and all; empty where there is none."""
    length = _tag_length(file)
    file.seek(0)
    return file.read(length)


def _tag_length(file: BinaryIO) -> int:
    """Bytes of the ID3v2 tag at the beginning; 0 where there is none, or not all of it."""
    file.seek(0)
    head = file.read(10)
    if len(head) < 10 or head[:3] != b"ID3" or max(head[6:10]) > 127:
        return 0
    size = _joined(head[6:10]) + (10 if head[5] & 0x10 else 0)  # a footer repeats the head
    return 10 + size if size <= LONGEST_TAG and 10 + size <= file.seek(0, os.SEEK_END) else 0


def _first_frame(file: BinaryIO, start: int | None = None) -> tuple[int, bytes]:
    """Where the frames begin, and what stands there."""
    began = _tag_length(file) if start is None else start
    file.seek(began)
    return began, file.read(FIRST_FRAME)


def tells_its_length(file: BinaryIO, start: int | None = None) -> bool:
    """Whether the first frame says how many there are; else libsndfile guesses by the bit rate, and stops there.

    `start` is where the frames begin, of those inside another file.
    """
    _, frame = _first_frame(file, start)
    return any(name in frame for name in LENGTHS)


def is_joined(file: BinaryIO) -> bool:
    """Whether another file's sound follows where the first frame says that this one ends.

    Its count of bytes (Xing, Info or VBRI) may be wrong by a frame or two, so a frame that tells nothing counts
    only where much more follows it.
    """
    began, start = _first_frame(file)
    size = _bytes_told(start)
    if not size or start[0] != SYNC:
        return False
    end = file.seek(0, os.SEEK_END)
    file.seek(began + size)
    following = file.read(FIRST_FRAME)
    if following.startswith(b"ID3"):
        return len(following) > 10
    if len(following) < 4 or following[0] != SYNC or following[1] & 0xE0 != 0xE0:
        return False
    return any(name in following[:200] for name in LENGTHS) or end - began - size > SLACK


def _bytes_told(start: bytes) -> int:
    """Bytes of all frames by the first one, that one included; 0 where it does not tell."""
    for name in LENGTHS:
        if (at := start.find(name)) >= 0:
            flags = start[at + 4 : at + 8]
            if name == b"VBRI":
                return int.from_bytes(start[at + 10 : at + 14], "big")
            if len(flags) == 4 and flags[3] & 2:  # behind the number of frames, where that is told
                at += 12 if flags[3] & 1 else 8
                return int.from_bytes(start[at : at + 4], "big")
    return 0


def written(tags: Mapping[str, str]) -> bytes:
    """Make an ID3v2.4 tag, in UTF-8; libsndfile would have it in Latin-1."""
    frames = b"".join(
        kind + _split(len(text)) + b"\0\0" + text
        for name, kind in TEXTS.items()
        if name in tags
        for text in [b"\x03" + (b"und\0" if kind == b"COMM" else b"") + tags[name].encode()]
    )
    return b"ID3\x04\0\0" + _split(len(frames)) + frames if frames else b""


def _joined(digits: bytes) -> int:
    """Read a number in bytes of seven bits."""
    return digits[0] << 21 | digits[1] << 14 | digits[2] << 7 | digits[3]


def _split(number: int) -> bytes:
    return bytes(number >> shift & 127 for shift in (21, 14, 7, 0))
