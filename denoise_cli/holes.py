"""Pictures with holes: what a mask calls missing is hidden from the model and filled by it; all else is kept.

    block --- hidden: the value that training masked with ---> model ---> filled where the mask is white

A model can do that if it was trained with masking noise, and fills best what the masks of its training looked like.
Mask and picture are laid on each other as they are shown, each turned as its orientation tag says.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from denoise_cli.card import ModelCard
from denoise_cli.errors import InputError, UsageError, printable
from denoise_cli.media.beside import open_input
from denoise_cli.media.limits import Limits
from denoise_cli.media.orientation import INVERSE, turned
from denoise_cli.signal import Header


@dataclass(frozen=True)
class Holes:
    """The mask of one picture, (H, W) bool as it is shown: True is missing."""

    name: str
    missing: np.ndarray

    @classmethod
    def read(cls, path: Path, limits: Limits = Limits()) -> Holes:
        """Read a mask: pixels whose channels are lighter than half are missing, but where it is transparent."""
        from denoise_cli.media import image  # recordings need no pictures

        try:
            with open_input(path) as file:
                source = image.open_image(file, name := printable(path), limits=limits)
                stored = np.concatenate([b.mean(axis=0) > 0.5 for b in source.blocks()])
                if source.traits.alpha:
                    stored &= source.alpha().numpy().reshape(stored.shape) > (source.depth.scale or 1) / 2
                if not stored.any():
                    raise InputError(f"{name}: no hole in it: what is lighter than half is filled")
                if stored.all():
                    raise InputError(f"{name}: all of it is one hole: nothing would be left to fill it from")
                return cls(name, turned(stored, source.orientation))
        except InputError as error:
            raise UsageError(f"--mask {error}") from None

    def over(self, header: Header, orientation: int) -> Holes:
        """The mask as the pixels of such a picture are stored; raises InputError where the sizes differ."""
        height, width = self.missing.shape
        assert header.length is not None, "a picture knows its height"
        sides = (header.length, header.width) if orientation < 5 else (header.width, header.length)
        if (height, width) != sides or header.frames != 1:
            frames = f" in {header.frames} frames" if header.frames > 1 else ""
            shown = f"{sides[1]}x{sides[0]}{frames}"
            raise InputError(f"the mask {self.name} is {width}x{height}, the picture {shown}")
        return Holes(self.name, turned(self.missing, INVERSE.get(orientation, orientation)))

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
