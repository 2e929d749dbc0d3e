"""Our own parsers under mutations (`scripts/fuzz.py`), and the inputs that once broke one."""

from __future__ import annotations

import sys

import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "scripts"))
import fuzz

FOUND = [
    ("spec", b"poisson:peak=1e7"),  # was written as 1e+07, and a plus sign joins specs
    ("spec", b"brown:std=0.4296875"),  # was written with six digits
    ("comments", b"OggS" + bytes(22) + b"\x02\0\0" + b"OggS" + bytes(22) + b"\x01\x05sound"),  # two packets in one
    ("npy", b"\x93NUMPY\x01\0\x14\0{'descr': ('|u1',    "),  # whose Python ends within an expression
    ("npy", b"\x93NUMPY\x01\0\x3b\0{'descr': ('i4',), 'fortran_order': False, 'shape': (1, 1)}\n"),  # no such type
    ("riff", b"RF64\xff\xff\xff\xffWAVEds64\0\0\0\0data\xff\xff\xff\xff"),  # a ds64 without a size in it
    ("kept", b"TAGIRIFF" + bytes(20)),  # the last 128 bytes of 28
    ("kept", b"fLaC\x04\0\x01\0abc"),  # a block that ends behind the file
]


@pytest.mark.parametrize("name", fuzz.TARGETS)
def test_a_parser_answers_whatever_it_is_given(name):
    assert fuzz.mutations(fuzz.TARGETS[name], seed=0, count=400) == 400


@pytest.mark.parametrize(("name", "data"), FOUND)
def test_what_was_found_stays_mended(name, data):
    fuzz.TARGETS[name].parse(data)


@pytest.mark.parametrize("name", fuzz.TARGETS)
def test_the_examples_are_understood(name):
    """Else mutations would never get past the first check."""
    target = fuzz.TARGETS[name]
    if name == "gif":  # which answers with what is wrong
        assert [target.parse(example) for example in target.examples()] == [None, None]
    else:
        assert any(target.parse(example) is not None for example in target.examples())


def test_a_parser_that_breaks_is_noticed():
    def breaks(data: bytes) -> object:
        return 1 / (len(data) - 7)

    with pytest.raises(fuzz.Broken):
        fuzz.mutations(fuzz.Target(breaks, lambda: [b"123456"]), seed=0, count=10_000)
