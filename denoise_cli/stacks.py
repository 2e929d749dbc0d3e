"""Stacks of small pictures through a model, many in one call: what array files hold."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from denoise_cli import denoise, ensemble
from denoise_cli.errors import ModelError
from denoise_cli.session import Session

PIXELS = 1 << 19  # in a call: 668 pictures of 28 x 28
LARGE = 1 << 20  # pixels: what is larger goes through tiles, a picture at a time


def slices(count: int, height: int, width: int) -> Iterator[slice]:
    """Cut a stack of `count` pictures into batches that fit one call."""
    size = max(1, PIXELS // (height * width))
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def check(session: Session, options: denoise.Options) -> None:
    """Refuse a model that is not for pictures, or that must be told, or cannot be told, the level of the noise."""
    card = session.card
    if card.kind != "image":
        raise ModelError(f'model "{card.name}" is for {card.kind} files, and these are pictures')
    options.check(card)


def batch(x: np.ndarray, session: Session, options: denoise.Options) -> np.ndarray:
    """Denoise (N, C, H, W) float32 in [0, 1]: what ``denoise.array`` gives for each, and not clipped either."""
    count, channels, height, width = x.shape
    if height * width > LARGE:
        return np.stack([denoise.array(one, session, options) for one in x])
    wanted = session.card.channels
    fed = x
    if channels != wanted:
        # As ModelCard.lift: gray is three equal channels to a colour model, colour three pictures to a gray one.
        fed = x.reshape(count * channels, 1, height, width)
        fed = np.repeat(fed, wanted, axis=1)
    y = ensemble.mean(lambda copy: session(copy, options.sigma), fed, session.card.multiple, options.ensemble)
    if channels != wanted:
        y = y.mean(axis=1).reshape(x.shape)
    return y if options.strength == 1 else x + np.float32(options.strength) * (y - x)
