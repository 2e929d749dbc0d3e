"""Ogg pages: whether they are all of one recording, the same bytes for the same samples, other comments.

    OggS  version  flags  granule (8)  serial (4)  number (4)  CRC (4)  count  sizes[count]  body

libsndfile draws the serial number of a file from the clock. A page's CRC is the remainder of its bits, taken as a
polynomial, hence linear: another serial or number changes it by D x^(8 z + 32) mod P, where D is the difference and
z the bytes of the page behind them. So no body is read again.

The first packet of a stream says what it is, the second one holds its comments (with pictures, as text); Vorbis has
a third one. What is heard begins on a page of its own (RFC 3533; RFC 7845; the Vorbis I specification, appendix A).
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from functools import cache
from typing import BinaryIO

from denoise_cli.media.heads import read_at

HEAD = 27  # bytes of a page before its sizes
SERIAL_AT, CRC_AT = 14, 22
FLAGS_AT, CONTINUED, FIRST = 5, 1, 2  # flags of a page that begins within a packet, or is the first of a stream
LONGEST = 1 << 24  # bytes of all packets before the sound
MOST_PAGES = 2_000  # that they lie on
PIECE = 1 << 20  # bytes moved at once
LARGEST = HEAD + 255 + 255 * 255  # bytes of a page
P = 0x104C11DB7
SERIAL = 1


def is_cut(file: BinaryIO) -> bool:
    """Whether the file ends inside its last page. One that ends between two pages looks whole."""
    length = file.seek(0, os.SEEK_END)
    start = file.seek(max(0, length - LARGEST))
    tail = file.read(LARGEST)
    last = tail.rfind(b"OggS")
    return last >= 0 and start + last + _size(tail[last:]) > length


def is_chained(file: BinaryIO) -> bool:
    """Whether another recording follows the first one, of which libsndfile would tell nothing (RFC 3533, 4)."""
    position, began = 0, True
    while (head := read_at(file, position, HEAD + 255)).startswith(b"OggS") and len(head) > HEAD:
        first = bool(head[FLAGS_AT] & FIRST)
        if first and not began:
            return True
        began = began and first
        position += _size(head)
    return False


def renumber(file: BinaryIO) -> None:
    """Give all pages of a file with one stream the same serial number, and count them anew, in place."""
    position = number = 0
    while len(head := read_at(file, position, HEAD + 255)) > HEAD:
        size = _size(head)
        (old, crc) = struct.unpack_from("<QI", head, SERIAL_AT)
        new = SERIAL | number << 32
        difference = int.from_bytes((old ^ new).to_bytes(8, "little"), "big")
        crc ^= _product(_power(8 * (size - SERIAL_AT - 8) + 32), difference)
        file.seek(position + SERIAL_AT)
        file.write(struct.pack("<QI", new, crc))
        position += size
        number += 1


def comments(file: BinaryIO) -> bytes | None:
    """The packet of comments of the first stream as it stands; None where there is none, or it is cut short."""
    found = _headers(file)
    return None if found is None else found[0][1]


def recomment(file: BinaryIO, packet: bytes) -> None:
    """Put other comments into a file with one stream, in place; ``renumber`` is still to be called."""
    found = _headers(file)
    if found is None or found[0][1] == packet:
        return
    packets, first, end = found
    pages = b"".join(_pages([packet, *packets[2:]]))
    _move(file, end, first + len(pages))
    file.seek(first)
    file.write(pages)


def _headers(file: BinaryIO) -> tuple[list[bytes], int, int] | None:
    """The packets before the sound, where the page of the second one begins, and where the sound does."""
    packets, pieces, room, first, position = [], [], LONGEST, 0, 0
    serial, wanted = None, 2
    for _ in range(MOST_PAGES):
        head = read_at(file, position, HEAD + 255)
        if len(head) <= HEAD or head[:4] != b"OggS":
            return None
        size, sizes = _size(head), head[HEAD : HEAD + head[HEAD - 1]]
        serial = head[SERIAL_AT : SERIAL_AT + 4] if serial is None else serial
        if head[SERIAL_AT : SERIAL_AT + 4] != serial:
            return None  # several streams at once
        file.seek(position + HEAD + len(sizes))
        body = file.read(size - HEAD - len(sizes))
        room -= len(body)
        if len(body) < size - HEAD - len(sizes) or room < 0:
            return None
        position += size
        at = 0
        for length in sizes:
            pieces.append(body[at : at + length])
            at += length
            if length < 255:
                packets.append(b"".join(pieces))
                pieces.clear()
        if not first:
            if len(packets) != 1 or pieces:
                return None  # the first page holds the first packet and nothing else
            first = position
            wanted = 3 if packets[0].startswith(b"\x01vorbis") else 2
        if len(packets) >= wanted:
            return (packets, first, position) if len(packets) == wanted and not pieces else None
    return None


def _pages(packets: list[bytes]) -> Iterator[bytes]:
    """Packets as pages at time 0; no serial, no number."""
    sizes = [size for packet in packets for size in (*[255] * (len(packet) // 255), len(packet) % 255)]
    data, at, within = b"".join(packets), 0, False
    for start in range(0, len(sizes), 255):
        part = sizes[start : start + 255]
        body = data[at : (at := at + sum(part))]
        ends = any(size < 255 for size in part)  # else the page tells no time
        head = struct.pack("<4sBBqQIB", b"OggS", 0, CONTINUED * within, 0 if ends else -1, 0, 0, len(part))
        page = head + bytes(part) + body
        yield page[:CRC_AT] + struct.pack("<I", _crc(page)) + page[CRC_AT + 4 :]
        within = part[-1] == 255


def _move(file: BinaryIO, start: int, to: int) -> None:
    """Move all from `start` to the end of the file, which may grow or shrink."""
    length = file.seek(0, os.SEEK_END)
    steps = range(start, length, PIECE)
    for position in reversed(steps) if to > start else steps:
        file.seek(position)
        data = file.read(min(PIECE, length - position))
        file.seek(position + to - start)
        file.write(data)
    file.truncate(length + to - start)


def _crc(page: bytes) -> int:
    """The remainder of the page's bits, its own CRC being zero: zlib's, with the bits of each byte turned round.

    zlib takes the lowest bit for the first, begins with ones, and gives the complement.
    """
    remainder = zlib.crc32(page.translate(_TURNED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{remainder:032b}"[::-1], 2)


_TURNED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def _size(page: bytes) -> int:
    """Bytes of the page that begins here; LARGEST where not even its sizes are whole."""
    sizes = page[HEAD : HEAD + page[HEAD - 1]] if len(page) >= HEAD else b""
    if len(page) < HEAD or len(sizes) < page[HEAD - 1]:
        return LARGEST
    return HEAD + len(sizes) + sum(sizes)


@cache
def _power(n: int) -> int:
    """x^n mod P."""
    if n < 32:
        return 1 << n
    half = _power(n // 2)
    square = _product(half, half)
    return _product(square, 2) if n % 2 else square


def _product(a: int, b: int) -> int:
    """Multiply two polynomials over GF(2), mod P."""
    product = 0
    while b:
        if b & 1:
            product ^= a
        b >>= 1
        a <<= 1
        if a >> 32:
            a ^= P
    return product
