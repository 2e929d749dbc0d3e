"""A model file as bytes: cut, damaged, doubled and lying ones are refused, in a short line and at once."""

from __future__ import annotations

import os
import time

import numpy as np
import pytest
from model_files import build, identity, refused

from denoise_cli import protobuf
from denoise_cli.errors import ModelError
from denoise_cli.model_file import MAX_BYTES, MAX_FIELDS, ModelFile


@pytest.fixture
def good(tmp_path):
    return build(tmp_path / "m.onnx", identity())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{not json", "not JSON"),
        ('{"name": "m", "schema": 1, "halo": NaN}', "halo"),
        ('{"name": "m", "schema": 1, "rate": 1e309}', "rate inf"),
        ('{"name": "m", "schema": 1, "halo": %s}' % ("9" * 4000), "halo"),
        ('{"name": "m", "schema": 1, "channels": -1}', "channels"),
        ('{"name": "m", "schema": 1, "multiple": 0}', "multiple"),
        ('{"name": "\\u001b[31m", "schema": 1}', "not one line"),
        ('{"name": "%s", "schema": 1}' % ("A" * 900_000), "characters"),
        ('{"name": "m", "schema": "%s"}' % ("A" * 900_000), "schema 'AAA"),
        ('{"name": "m", "schema": 1, "kind": "%s"}' % ("A" * 900_000), "unknown kind"),
        ('{"name": "m", "schema": 1, "%s": 1}' % ("A" * 900_000), "unknown field"),
        ('{"name": "m", "schema": 1, "training": [1]}', "training"),
        ("[" * 900_000, "not JSON"),
        ("A" * 10_000_000, "metadata of"),
    ],
    ids=lambda value: value[-20:] if value else "",
)  # fmt: skip
def test_a_card_that_lies_is_refused_in_a_short_line(tmp_path, text, said):
    assert said in refused(build(tmp_path / "m.onnx", identity(), card=text))


@pytest.mark.parametrize("kind", ["pipe", "folder", "zero", "huge", "missing", "locked"])
def test_what_is_no_regular_file_of_a_sane_size_is_refused_at_once(kind, tmp_path):
    path = tmp_path / "m.onnx"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "zero":
        path.symlink_to("/dev/zero")
    elif kind == "huge":
        with path.open("wb") as file:
            file.truncate(MAX_BYTES + 1)
    elif kind == "locked":
        path.touch(0)
        if os.access(path, os.R_OK):
            pytest.skip("root reads everything")
    began = time.perf_counter()
    refused(path)
    assert time.perf_counter() - began < 1


def test_every_cut_of_a_model_is_refused(good):
    whole = good.read_bytes()
    for end in range(len(whole)):
        with pytest.raises(ModelError):
            ModelFile.parse(whole[:end], good)


def test_a_damaged_model_is_refused_or_read_but_nothing_else_happens(good):
    whole, rng = np.frombuffer(good.read_bytes(), np.uint8), np.random.default_rng(0)
    refusals = 0
    for _ in range(2000):
        damaged = whole.copy()
        damaged[rng.integers(len(whole), size=3)] = rng.integers(256, size=3)
        try:
            ModelFile.parse(damaged.tobytes(), good)
        except ModelError:
            refusals += 1
    assert refusals > 500


def field(number: int, value: bytes | int) -> bytes:
    """A field of a message, as protocol buffers write it."""
    if isinstance(value, int):
        return bytes([number << 3]) + varint(value)
    return bytes([number << 3 | 2]) + varint(len(value)) + value


def varint(value: int) -> bytes:
    low, rest = value & 127, value >> 7
    return bytes([low | 128]) + varint(rest) if rest else bytes([low])


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (field(7, b"") * 2, "two of graph"),  # some readers merge the two
        (field(7, field(1, field(4, b"Relu") + field(4, b"Loop"))), "two of op_type"),
        (field(7, 1), "a number where a message belongs"),
        (field(7, field(5, field(1, b"\x80\x80\x80\x80\x10\x80\x80\x80\x80\x10"))), "declares a tensor"),  # packed
        (field(7, field(5, field(1, b"\x01" * 2 * MAX_FIELDS))), "parts"),
        (field(7, field(1, b"")) * 1 + b"\x3b", "two of graph"),
        (b"\x0b", "kind 3"),  # a group
        (b"\x08" + b"\xff" * 11, "not an ONNX model"),
        (b"\x18\x00\x00\x00ORTM" + bytes(64), "not an ONNX model"),  # onnxruntime's own format
    ],
)  # fmt: skip
def test_what_readers_might_read_differently_is_refused(tmp_path, data, said):
    path = tmp_path / "m.onnx"
    path.write_bytes(data)
    assert said in refused(path)


def test_fields_are_read_as_written():
    message = protobuf.Message({1: "a", 2: "b", 3: "c", 4: "d"})
    data = field(1, 300) + field(2, b"text") + b"\x1d" + b"four" + b"\x21" + b"eightbyt" + b""
    assert list(protobuf.Reader(9).fields(memoryview(data), message)) == [
        ("a", 300), ("b", b"text"), ("c", b"four"), ("d", b"eightbyt")
    ]  # fmt: skip
