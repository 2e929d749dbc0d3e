"""How stored pixels are turned when they are shown: the orientation tag of EXIF (2.32, 4.6.4) and TIFF, 1 to 8."""

from __future__ import annotations

import numpy as np

INVERSE = {6: 8, 8: 6}  # the others are their own inverse


def turned(x: np.ndarray, orientation: int) -> np.ndarray:
    """Pixels (..., H, W) as they are shown that are stored with such a tag; (..., W, H) from 5 on."""
    if orientation >= 5:
        x = x.swapaxes(-1, -2)
    if orientation in (2, 3, 6, 7):
        x = x[..., ::-1]
    return x[..., ::-1, :] if orientation in (3, 4, 7, 8) else x
