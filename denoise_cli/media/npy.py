"""The header of a .npy, which tables and stacks of pictures have alike. After numpy.lib.format."""

from __future__ import annotations

from tokenize import TokenError
from typing import BinaryIO

import numpy as np
from numpy.lib import format as npy

MAX_HEADER = 1 << 16
_READERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether the first axis runs fastest, and type; `file` then stands at the data. Raises ValueError."""
    try:
        version = npy.read_magic(file)
        if version not in _READERS:
            raise ValueError(f"a .npy of version {version[0]}.{version[1]}; 1.0 and 2.0 are known")
        return _READERS[version](file, max_header_size=MAX_HEADER)
    except (
        EOFError,
        LookupError,
        TypeError,
        SyntaxError,
        ArithmeticError,
        RecursionError,
        MemoryError,
        TokenError,
    ) as error:
        raise ValueError(str(error) or type(error).__name__) from None  # a header is read as a piece of Python
