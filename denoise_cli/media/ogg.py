"""Ogg pages: whether the last one is whole, and the same bytes for the same samples.

    OggS  version  flags  granule (8)  serial (4)  number (4)  CRC (4)  count  sizes[count]  body

libsndfile draws the serial number of a file from the clock. A page's CRC is the remainder of its bits, taken as a
polynomial, hence linear: another serial changes it by D x^(8 z + 32) mod P, where D is the difference of the two
serials and z the bytes of the page behind them. So no body is read again.
"""

from __future__ import annotations

import os
import struct
from functools import cache
from typing import BinaryIO

HEAD = 27  # bytes of a page before its sizes
SERIAL_AT, CRC_AT = 14, 22
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


def renumber(file: BinaryIO) -> None:
    """Give all pages of a file with one stream the same serial number, in place."""
    position = 0
    while len(head := _head(file, position)) > HEAD:
        size = _size(head)
        (old,) = struct.unpack_from("<I", head, SERIAL_AT)
        (crc,) = struct.unpack_from("<I", head, CRC_AT)
        difference = int.from_bytes((old ^ SERIAL).to_bytes(4, "little"), "big")
        crc ^= _product(difference, _power(8 * (size - SERIAL_AT - 4) + 32))
        file.seek(position + SERIAL_AT)
        file.write(struct.pack("<I", SERIAL) + head[SERIAL_AT + 4 : CRC_AT] + struct.pack("<I", crc))
        position += size


def _head(file: BinaryIO, position: int) -> bytes:
    file.seek(position)
    return file.read(HEAD + 255)


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
