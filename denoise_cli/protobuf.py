"""Protocol buffers, read strictly: messages of numbered fields, one within another.

A field is a tag, number * 8 + kind, and a value. Kind 0 is an integer of seven bits a byte, 2 a length and so many
bytes, 1 and 5 are eight and four bytes. After protobuf.dev/programming-guides/encoding.

Readers differ in what they make of the unknown and the doubled, so a message here says which fields it may hold,
and how often; all else is refused. What one reader has checked, another then reads alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

_FIXED = {1: 8, 5: 4}  # bytes of a value of this kind


class Malformed(Exception):
    """Not such a message. What it says is to be read after the name of the file."""


@dataclass(frozen=True)
class Message:
    """The fields a message may hold, by number, and words for some of those it may not."""

    once: Mapping[int, str]
    many: Mapping[int, str] = field(default_factory=dict)
    refused: Mapping[int, str] = field(default_factory=dict)


class Reader:
    """Reads the messages of one file, of at most `limit` fields, and numbers in rows, altogether."""

    def __init__(self, limit: int):
        self.limit = self.left = limit

    def fields(self, data: memoryview, message: Message) -> Iterator[tuple[str, int | memoryview]]:
        """(name, value) of each field: an integer, or bytes; raises Malformed for a field that may not be there."""
        at, seen = 0, set()
        while at < len(data):
            self._count()
            tag, at = _integer(data, at)
            number, kind = tag >> 3, tag & 7
            name = message.many.get(number)
            if name is None:
                name = message.once.get(number)
                if name is None:
                    what = message.refused.get(number)
                    raise Malformed(f"holds {what}" if what else f"not an ONNX model we know (field {number})")
                if number in seen:
                    raise Malformed(f"holds two of {name}")
                seen.add(number)
            if kind == 0:
                value, at = _integer(data, at)
                yield name, value
                continue
            if kind == 2:
                size, at = _integer(data, at)
            elif kind in _FIXED:
                size = _FIXED[kind]
            else:
                raise Malformed(f"not an ONNX model ({name} is of kind {kind})")
            if at + size > len(data):
                raise Malformed(f"cut short ({name})")
            yield name, data[at : at + size]
            at += size

    def integers(self, value: int | memoryview) -> Iterator[int]:
        """The value of a field that repeats: one integer, or many in a row."""
        if isinstance(value, int):
            yield value
            return
        at = 0
        while at < len(value):
            self._count()
            number, at = _integer(value, at)
            yield number

    def _count(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Malformed(f"holds more than {self.limit} parts")


def pieces(data: memoryview) -> Iterator[tuple[int, bytes, memoryview]]:
    """(number, the whole field, its content) of each field of a message that a Reader has passed.

    For messages that are put together anew. The content of a field that is a number is empty.
    """
    at = 0
    while at < len(data):
        start = at
        tag, at = _integer(data, at)
        begin = at
        if tag & 7 == 0:
            _, at = _integer(data, at)
            begin = at
        elif tag & 7 == 2:
            size, begin = _integer(data, at)
            at = begin + size
        else:
            at += _FIXED[tag & 7]
        yield tag >> 3, bytes(data[start:at]), data[begin:at]


def written(number: int, value: int | bytes) -> bytes:
    """One field: a number, or text or a message."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    coded = bytearray()
    while value > 127:
        coded.append(value & 127 | 128)
        value >>= 7
    return bytes(coded + bytes([value]))


def content(value: int | memoryview) -> memoryview:
    """The bytes of a text or a message."""
    if isinstance(value, int):
        raise Malformed("not an ONNX model (a number where a message belongs)")
    return value


def _integer(data: memoryview, at: int) -> tuple[int, int]:
    """The integer that starts at `at`, lowest bits first, and where it ends."""
    value = shift = 0
    while at < len(data) and shift < 64:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
    raise Malformed("not an ONNX model, or cut short")
