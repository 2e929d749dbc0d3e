"""How much one file may hold. What is more is refused with its size: where the header tells it, before any work.

A file of some kilobytes can hold a picture that takes an hour and a disk; a header can claim anything.
"""

from __future__ import annotations

from dataclasses import dataclass

from denoise_cli.errors import UsageError
from denoise_cli.media.formats import WHOLE_LIMIT


@dataclass(frozen=True)
class Limits:
    pixels: int = 178_000_000  # of a picture, all its frames together; somewhat below what Pillow refuses
    whole: int = WHOLE_LIMIT  # pixels of a frame, where the decoder holds it whole
    frames: int = 10_000  # of an animation; pages
    hours: float = 100  # of a recording
    channels: int = 64
    adjustable: bool = False  # whether the user has options for them

    @classmethod
    def of(cls, pixels: int | None = None, hours: float | None = None) -> Limits:
        """What the options say; who allows more pixels allows them in every format."""
        usual = cls()
        if pixels is not None and pixels < 1:
            raise UsageError(f"--max-pixels must be at least 1, not {pixels}")
        if hours is not None and not hours > 0:
            raise UsageError(f"--max-hours must be above 0, not {hours:g}")
        return cls(
            pixels=pixels or usual.pixels,
            whole=max(pixels, usual.whole) if pixels else usual.whole,
            hours=hours or usual.hours,
            adjustable=True,
        )
