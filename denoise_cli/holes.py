"""Pictures with holes: what a mask calls missing is hidden from the model and filled by it; all else is kept.

    block --- hidden: the value that training masked with ---> model ---> filled where the mask is white

A model can do that if it was trained with masking noise, and fills best what the masks of its training looked like.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from denoise_cli.card import ModelCard
from denoise_cli.errors import InputError, UsageError
from denoise_cli.media.beside import open_input, printable
from denoise_cli.signal import Header


@dataclass(frozen=True)
class Holes:
    """The mask of one picture, (H, W) bool: True is missing."""

    name: str
    missing: np.ndarray

    @classmethod
    def read(cls, path: Path) -> Holes:
        """Read a mask: pixels whose channels are lighter than half are missing."""
        from denoise_cli.media import image  # recordings need no pictures

        try:
            with open_input(path) as file:
                source = image.open_image(file, name := printable(path))
                return cls(name, np.concatenate([b.mean(axis=0) > 0.5 for b in source.blocks()]))
        except InputError as error:
            raise UsageError(f"--mask {error}") from None

    def check(self, header: Header) -> None:
        height, width = self.missing.shape
        if (height, width) != (header.length, header.width) or header.frames != 1:
            frames = f" in {header.frames} frames" if header.frames > 1 else ""
            size = f"{header.width}x{header.length}{frames}"
            raise InputError(f"the mask {self.name} is {width}x{height}, the picture {size}")

    def hidden(self, blocks: Iterable[np.ndarray], value: float) -> Iterator[np.ndarray]:
        """Blocks of rows (C, n, W) with `value` in the holes."""
        top = 0
        for block in blocks:
            gone = self.missing[top : top + block.shape[1]]
            yield np.where(gone, np.float32(value), block)
            top += block.shape[1]

    def filled(self, x: np.ndarray, y: np.ndarray, top: int) -> np.ndarray:
        """The model's rows `y` in the holes, the picture's own elsewhere; `top` is the first of them."""
        return np.where(self.missing[top : top + x.shape[1]], y, x)


def value(card: ModelCard) -> float:
    """What the model saw in the holes of its training; raises UsageError for one that saw none."""
    from denoise_cli.corrupt import Masking, parse  # every run imports this file, few have a mask

    try:
        noise = list(parse(card.noise).each()) if card.noise else []
    except UsageError:  # recordings are described in words
        noise = []
    for one in noise:
        if isinstance(one, Masking):
            return float(one.value.low)
    raise UsageError(
        f'model "{card.name}" was not trained with masking noise, so it cannot fill holes; train one with '
        "--noise masking:amount=0.1-0.6,size=4"
    )
