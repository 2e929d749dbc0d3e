"""What libsndfile does not do for MP3: count the frames of a file that does not tell, and keep its tags.

    ID3v2 tag | frame with Xing, Info or VBRI: how many follow, what to cut off their ends | frames ... | ID3v1 tag

A file without that first frame has no length.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import BinaryIO

LONGEST_TAG = 1 << 26  # bytes
FIRST_FRAME = 4096  # bytes after the tag in which the first frame lies
TEXTS = {
    "title": b"TIT2", "artist": b"TPE1", "album": b"TALB", "date": b"TDRC", "tracknumber": b"TRCK",
    "genre": b"TCON", "copyright": b"TCOP", "comment": b"COMM",
}  # fmt: skip


def tag(file: BinaryIO) -> bytes:
    """Return the ID3v2 tag as it stands at the beginning of the file, covers and all; empty where there is none."""
    file.seek(0)
    head = file.read(10)
    if len(head) < 10 or head[:3] != b"ID3" or max(head[6:10]) > 127:
        return b""
    size = _joined(head[6:10]) + (10 if head[5] & 0x10 else 0)  # a footer repeats the head
    if size > LONGEST_TAG:
        return b""
    body = file.read(size)
    return head + body if len(body) == size else b""


def tells_its_length(file: BinaryIO) -> bool:
    """Whether the first frame says how many there are; else libsndfile guesses by the bit rate, and stops there."""
    file.seek(len(tag(file)))
    start = file.read(FIRST_FRAME)
    return any(name in start for name in (b"Xing", b"Info", b"VBRI"))


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
