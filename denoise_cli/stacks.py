"""Stacks of small pictures through a model, many in one call: what array files hold."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from denoise_cli import denoise, ensemble
from denoise_cli.errors import ModelError
from denoise_cli.session import Session
from denoise_cli.workers import threads_of

PIXELS = 1 << 19  # in memory as float32 at once: 668 pictures of 28 x 28
PIECE = 1 << 16  # pixels in a call of one thread
LARGE = 1 << 20  # pixels: what is larger goes through tiles, a picture at a time


def slices(count: int, height: int, width: int, pixels: int = PIXELS) -> Iterator[slice]:
    """Cut a stack of `count` pictures into batches of so many pixels, or of one picture."""
    size = max(1, pixels // (height * width))
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

    def call(part: slice) -> np.ndarray:
        sides, multiple = options.ensemble, session.card.multiple
        return ensemble.mean(lambda copy: session(copy, options.sigma), fed[part], multiple, sides)

    # Cut alike whatever the threads are, for products of matrices hang on the size of a batch to the last bit.
    parts = slices(len(fed), height, width, PIXELS if session.on_gpu else PIECE)
    with ThreadPoolExecutor(threads_of(options)) as pool:
        y = np.concatenate(list(pool.map(call, parts)))
    if channels != wanted:
        y = y.mean(axis=1).reshape(x.shape)
    return y if options.strength == 1 else x + np.float32(options.strength) * (y - x)
