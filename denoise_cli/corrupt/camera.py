"""The noise of a camera: made where light falls on its sensor, seen through all that makes a picture of it.

    picture --linear--> light --------------------------------------------> + --clip, toned--> noisy
                          |                                                 ^
                          v                                                 |
             what each site of the sensor sees                        colour matrix
                          |                                                 ^
                      deviation --times white noise--> demosaic --> luma, chroma: each smoothed

From light to light all is linear: the noise passes alone, and the picture itself is never mosaicked or smoothed.
Sources: A. Foi et al., "Practical Poissonian-Gaussian noise modeling and fitting for single-image raw-data", IEEE
TIP 2008 (the variance); T. Brooks et al., "Unprocessing images for learned raw denoising", CVPR 2019 (the chain
and its ranges). Neither smooths, yet that is most of what noise in the JPEG of a camera looks like: in the pairs
of PolyU (J. Xu et al., "Real-world noisy image denoising: a new benchmark", 2018) noise correlates by 0.6 between
neighbours in luma and 0.93 in chroma, and in chroma still by 0.6 at four pixels. JPEG and rounding are
corruptions of their own: ``camera+jpeg:quality=60-95``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from denoise_cli.corrupt.base import Amount, Corruption, Process
from denoise_cli.corrupt.draws import Array, Draws, Span
from denoise_cli.corrupt.mosaic import demosaicked, inner, passes, pattern, reflected, smoothed
from denoise_cli.errors import InputError, UsageError
from denoise_cli.signal import Header, Kind

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
TOE, GAMMA = 0.055, 2.4  # of sRGB, IEC 61966-2-1
DARK = TOE**GAMMA
BRIGHT = (1 + TOE) ** GAMMA - DARK
WIDEST = 6.5  # pixels; the sigma of all passes together is 6.52
STRIP = 64  # rows of a file that are made at once: all steps of a large block would need ten times its memory


class Exposure(NamedTuple):
    """One camera and its settings: numbers, or one a sample, (B, 1, 1, 1)."""

    shot: Any
    read: Any
    red: Any
    blue: Any
    demosaic: Any
    luma: Any
    chroma: Any
    saturation: Any
    contrast: Any
    row: Any  # 0 or 1: where in the pattern of the sensor the corner of the picture lies
    column: Any


@dataclass(frozen=True)
class Camera(Corruption):
    """Poisson-Gaussian noise in linear light, demosaicked, smoothed and toned as in a camera; clipped to [0, 1].

    A site that sees the light s in [0, 1] has the variance shot · s + read. A gray picture is the luma of a
    colour one: so is a sample with three equal channels, which stay equal.
    """

    name = "camera"
    kinds: ClassVar[tuple[Kind, ...]] = ("image",)
    logarithmic: ClassVar[tuple[str, ...]] = ("shot", "read")
    shot: Amount = "0.0001-0.012"  # variance at white, 1 / photons of a full site; the range is that of Brooks
    read: Amount = None  # variance at black; not given, it follows shot as in Brooks
    red: Amount = "1.2-2.4"  # white balance, red over green; Brooks has daylight, 1.9-2.4
    blue: Amount = "1.4-2.8"  # blue over green; Brooks has 1.5-1.9, lamps ask for more
    mosaic: Amount = 1.0  # 1: a site sees one colour (Bayer); 0: all three, as if scaled down since
    demosaic: Amount = "0-1"  # red and blue are interpolated (0), or their differences from green are (1)
    luma: Amount = "0-1"  # pixels; sigma of the camera's own smoothing of the noise in luma
    chroma: Amount = "0-4"  # pixels; the same in chroma
    saturation: Amount = "1-1.6"  # how far the colour matrix drives colours, and noise in chroma, apart
    contrast: Amount = "1-2"  # slope of an S-shaped tone curve at its middle, on top of sRGB; 1: sRGB alone
    p: Amount = 1.0

    def __post_init__(self):
        super().__post_init__()
        for keys, low, high in (
            (("shot", "read", "demosaic"), 0, 1),
            (("red", "blue"), 0.1, 10),
            (("luma", "chroma"), 0, WIDEST),
            (("saturation", "contrast"), 1, 5),
        ):
            for key in keys:
                if getattr(self, key) is not None:
                    self._check(key, low, high)
        if self.mosaic not in (Span(0, 0), Span(1, 1)):
            raise UsageError(f"{self.name}: mosaic must be 0 or 1, not {self.mosaic}")

    def check(self, header: Header) -> None:
        super().check(header)
        if header.channels not in (1, 3):
            raise InputError(f"{self.name} is for gray and RGB pictures, and this has {header.channels} channels")

    def apply(self, x: Array, draws: Draws) -> Array:
        channels = x.shape[-3]
        if channels not in (1, 3):
            raise UsageError(f"{self.name} is for gray and RGB pictures, and this has {channels} channels")
        taken, halo = self._exposure(draws), self._halo
        light = linear(x, taken.contrast)
        field = reflected(self._deviation(light, taken, draws, 0), halo, halo, halo)
        field = field * draws.normal(tuple(field.shape))
        colour = colourful(x, draws) if channels == 3 else None
        return toned(light + self._developed(field, taken, draws, -halo, colour), taken.contrast)

    def stream(self, header: Header, rng: np.random.Generator, level: float | None = None) -> Process:
        """As ``Corruption.stream``; the noise has no seams between blocks.

        The noise of a strip's last rows hangs on normals of the next strip's first rows. Those are drawn ahead and
        kept. Only the light there is not known yet: its deviation is reflected at the edge, which no eye can see.
        All files of three channels are in colour here, for the first block cannot tell of the others.

            rows     top - halo |  top ... bottom  |  bottom + halo
            deviation     above |      strip       |  reflected
            normals   <------ ahead ------><------- drawn now ----->
        """
        self.check(header)
        part: Any = self.drawn(rng)
        if part.p.value == 0:
            return lambda block: block
        halo, planes, side = part._halo, part._planes, header.width + 2 * part._halo
        taken = part._exposure(Draws(np.empty((planes, 1, 1), np.float32), rng))
        colour = 1 if header.channels == 3 else None
        above = np.empty((planes, 0, header.width), np.float32)
        ahead = rng.standard_normal((planes, 2 * halo, side), dtype=np.float32)
        top = 0

        def strip(x: np.ndarray) -> np.ndarray:
            nonlocal above, ahead, top
            draws, rows = Draws(x, rng), x.shape[1]
            light = linear(x, taken.contrast)
            missing = halo - above.shape[1]
            above = np.concatenate([above, part._deviation(light, taken, draws, top)], axis=1)
            ahead = np.concatenate([ahead, draws.normal((planes, rows, side))], axis=1)
            field = reflected(above, missing, halo, halo) * ahead
            noise = part._developed(field, taken, draws, top - halo, colour)
            above, ahead, top = above[:, max(0, above.shape[1] - halo) :], ahead[:, rows:], top + rows
            return toned(light + noise, taken.contrast)

        return lambda block: np.concatenate(
            [strip(block[:, row : row + STRIP]) for row in range(0, block.shape[1], STRIP)], axis=1
        )

    @property
    def _planes(self) -> int:
        return 1 if self.mosaic.value else 3

    @property
    def _halo(self) -> int:
        """How many pixels noise reaches to each side."""
        return 2 * int(self.mosaic.value) + max(sum(passes(self.luma)), sum(passes(self.chroma)))

    def _exposure(self, draws: Draws) -> Exposure:
        shot = draws.span(self.shot, logarithmic=True)
        if self.read is None:  # natural logarithms are on a line, with a scatter of 0.26: Brooks, section 3.1
            read = shot**2.18 * math.e ** (1.20 + 0.26 * draws.normal(draws.lead))
        else:
            read = draws.span(self.read, logarithmic=True)
        plain = ("red", "blue", "demosaic", "luma", "chroma", "saturation", "contrast")
        drawn = {key: draws.span(getattr(self, key)) for key in plain}
        row, column = (2 * draws.uniform(draws.lead) // 1 for _ in range(2))
        return Exposure(shot, read, row=row, column=column, **drawn)

    def _deviation(self, light: Array, taken: Exposure, draws: Draws, top: int) -> Array:
        """Return the standard deviation of the noise at each site, white balance done: (..., planes, H, W).

        With the gain g of white balance, a site sees s = c / g of a colour c: g² (shot · s + read) comes of it.
        """
        colours = planes(light)
        gray = luma_of(*colours)
        # The sensor's own colours are paler than those of the picture.
        seen = [gray + (c - gray) / taken.saturation for c in colours]
        gains = [taken.red, 1, taken.blue]
        if self.mosaic.value:
            sites = pattern(draws, light.shape[-2:], taken.row + top, taken.column)
            seen = [sum(site * s for site, s in zip(sites, seen, strict=True))]
            gains = [sum(site * g for site, g in zip(sites, gains, strict=True))]
        return draws.joined(
            [(g * (taken.shot * s + g * taken.read)) ** 0.5 for g, s in zip(gains, seen, strict=True)]
        )

    def _developed(self, field: Array, taken: Exposure, draws: Draws, top: int, colour: Any) -> Array:
        """What the camera makes of noise at its sites: (..., planes, h + H + h, h + W + h) to (..., 1 or 3, H, W).

        `colour` is None for one channel; else 1, or 0 for a sample whose channels must stay equal.
        """
        halo = self._halo
        if self.mosaic.value:
            sites = pattern(draws, field.shape[-2:], taken.row + top, taken.column - halo)
            red, green, blue = demosaicked(field, sites, taken.demosaic, draws)
            halo -= 2
        else:
            red, green, blue = planes(field)
        luma = luma_of(red, green, blue)
        reach = passes(self.luma)
        smooth = smoothed(inner(luma, halo - sum(reach)), taken.luma, reach)
        if colour is None:
            return smooth
        reach = passes(self.chroma)
        chroma = smoothed(inner(draws.joined([red, blue]) - luma, halo - sum(reach)), taken.chroma, reach)
        chroma = chroma * (taken.saturation * colour)
        red, blue = chroma[..., :1, :, :], chroma[..., 1:, :, :]
        green = (red * LUMA[0] + blue * LUMA[2]) / -LUMA[1]  # the luma of chroma is 0
        return draws.joined([red, green, blue]) + smooth


def linear(y: Array, contrast: Any) -> Array:
    """Tones of a picture, clipped to [0, 1], to light in [0, 1]: the inverse of ``toned``."""
    y = 1 / (1 + (1 / y.clip(1e-6, 1) - 1) ** (1 / contrast))
    return ((y + TOE) ** GAMMA - DARK) / BRIGHT


def toned(light: Array, contrast: Any) -> Array:
    """Light, clipped to [0, 1], to tones: y of sRGB, then the S-shaped y^c / (y^c + (1 - y)^c).

    In place of the straight piece near black the power itself goes through 0: less than 0.001 from sRGB.
    """
    y = (light.clip(0, 1) * BRIGHT + DARK) ** (1 / GAMMA) - TOE
    return 1 / (1 + (1 / y.clip(1e-6, 1) - 1) ** contrast)


def planes(x: Array) -> tuple[Array, Array, Array]:
    """(..., 1 or 3, H, W) to red, green and blue, (..., 1, H, W) each."""
    if x.shape[-3] == 1:
        return x, x, x
    return x[..., :1, :, :], x[..., 1:2, :, :], x[..., 2:, :, :]


def luma_of(red: Array, green: Array, blue: Array) -> Array:
    return red * LUMA[0] + green * LUMA[1] + blue * LUMA[2]


def colourful(x: Array, draws: Draws) -> Array:
    """1, or 0 where all channels of a sample are equal: the shape of ``draws.lead``."""
    differs = (x != x[..., :1, :, :]).reshape(*draws.lead[:1], -1).any(-1).reshape(draws.lead)
    one = draws.uniform(draws.lead) * 0 + 1
    return draws.where(differs, one, one * 0)
