"""A picture from several sides: the mean of what a model makes of its mirrored and turned copies.

Each copy is cleaned a little differently, and the differences are noise. After: Timofte, Rothe & Van Gool 2016,
"Seven ways to improve example-based single image super resolution"; Lim et al. 2017 call it a self-ensemble.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from denoise_cli import tiles

SIZES = (1, 2, 4, 8)

# Axes that are mirrored, and whether rows and columns are exchanged before. The first two are the picture and the
# same upside down, which differ most; four keep its shape.
_VIEWS = [(axes, swap) for swap in (False, True) for axes in ((), (-2, -1), (-1,), (-2,))]


def mean(model: Callable[[np.ndarray], np.ndarray], x: np.ndarray, multiple: int, size: int = 1) -> np.ndarray:
    """What `model` makes of x, (N, C, H, W) float32 of any H and W; the mean over its first `size` copies.

    The picture is extended to the model's `multiple` first, so that the model's grid lies alike on every copy.
    """
    height, width = x.shape[-2:]
    x = tiles.pad(x, multiple)
    total = model(x)
    for axes, swap in _VIEWS[1:size]:
        copy = np.flip(x.swapaxes(-2, -1) if swap else x, axes)
        y = np.flip(model(np.ascontiguousarray(copy)), axes)
        total += y.swapaxes(-2, -1) if swap else y
    if size > 1:
        total /= np.float32(size)
    return total[:, :, :height, :width]
