"""Picture formats: one dict from the name to what it looks like, what it can hold and how it is written.

Nothing here imports a codec, so that the command line may ask for suffixes at no cost.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from denoise_cli.errors import OutputError, choice

WHOLE_LIMIT = 1 << 26  # pixels of one frame, where the decoder holds it whole: 700 MB at most
BANDS = {"gray": 1, "RGB": 3, "CMYK": 4}  # of colours; of "3-band" the name says how many


@dataclass(frozen=True)
class Traits:
    """What there is to hold, and how the input held it."""

    format: str
    bits: int  # a sample: 8, 10, 12, 16; 32 is float
    colour: str  # "gray", "RGB", "CMYK", or "3-band" for channels that are no colour; "RGB+1": one more, no alpha
    width: int
    height: int  # of one frame
    alpha: bool = False
    frames: int = 1
    lossless: bool = True
    chroma: str = ""  # JPEG's "4:2:0"
    quality: int | None = None  # 1 to 100 of JPEG, WebP and AVIF, the last two then lossy; None: as the input
    compression: str = "deflate"  # TIFF's

    @property
    def bytes(self) -> int:
        """Size of the raw samples, or somewhat more."""
        colour, _, extra = self.colour.partition("+")
        channels = BANDS.get(colour) or int(colour.partition("-")[0])
        return self.width * self.height * self.frames * (channels + int(extra or 0) + 1) * -(-self.bits // 8)


@dataclass(frozen=True)
class Codec:
    suffixes: tuple[str, ...]
    magic: re.Pattern[bytes]  # matches the first bytes of the file
    loader: str  # the operation of libvips; "" is our pillow.py
    saver: str
    bits: tuple[int, ...] = (8,)
    colours: tuple[str, ...] = ("gray", "RGB")
    alpha: bool = True
    frames: bool = False
    side: int = 10_000_000  # the longest side in pixels; libvips' own limit
    whole: bool = False  # the decoder holds a frame as a whole
    mapped: bool = False  # libvips would map the file into memory
    options: Callable[[Traits], dict[str, Any]] = lambda traits: {}


def _png(traits: Traits) -> dict[str, Any]:
    # Five photographs, ns and bytes a pixel: up/1 16, 1.35; up/2 22, 0.99; up/3 29, 0.96; avg/2 28, 1.10;
    # paeth/2 38, 0.97; all/2 47, 0.99. Noisy pictures: avg 2 % smaller than up, for a quarter more time.
    return {"compression": 2, "filter": "up", "bitdepth": traits.bits, "interlace": False}


def _jpeg(traits: Traits) -> dict[str, Any]:
    # Optimal Huffman tables take 12 ms a megapixel instead of 5 and save a tenth: left out.
    return {"Q": traits.quality or 95, "subsample_mode": "on" if traits.chroma == "4:2:0" else "off"}


def _tiff(traits: Traits) -> dict[str, Any]:
    predictor = "float" if traits.bits == 32 else "horizontal"
    return {
        "compression": traits.compression,
        "predictor": predictor if traits.compression in ("lzw", "deflate") else "none",
        "bigtiff": traits.bytes > 3_900_000_000,  # offsets of 32 bits, and room for the tables
    }


def _webp(traits: Traits) -> dict[str, Any]:
    # `exact` keeps the colours below transparent pixels. Effort 1 is as small as 4 in lossless, and faster.
    if traits.lossless and traits.quality is None:
        return {"lossless": True, "exact": True, "effort": 1}
    return {"Q": traits.quality or 95, "exact": True}


def _gif(traits: Traits) -> dict[str, Any]:
    # Dithering would put noise back. From effort 4 on a palette that fits is kept to the bit; below it is off by a
    # level. Each frame has its own: with that of the one before, colours of a picture that fades were off by 33.
    # 20 frames of 320 x 240, CPU seconds and MB by effort: cleaned, 3: 0.8, 1.02; 4: 1.3, 1.01; 5: 2.3, 1.00;
    # 7: 5.1, 0.99; with noise of 20, 3: 1.6; 4: 2.5; 5: 6.3; 7: 15, all 1.93. 7 is nearer than 4 by 0.3 to 0.5 dB.
    return {"dither": 0, "effort": 4, "interpalette_maxerror": 0, "keep_duplicate_frames": True}


def _avif(traits: Traits) -> dict[str, Any]:
    lossless = traits.lossless and traits.quality is None
    quality = {"lossless": True, "effort": 0} if lossless else {"Q": traits.quality or 90, "effort": 2}
    return {"compression": "av1", "bitdepth": traits.bits, **quality}


CODECS = {
    "png": Codec((".png",), re.compile(rb"\x89PNG\r\n\x1a\n"), "pngload", "pngsave", (8, 16), options=_png),
    "jpeg": Codec(
        (".jpg", ".jpeg", ".jpe", ".jfif"), re.compile(rb"\xff\xd8\xff"), "jpegload", "jpegsave",
        colours=("gray", "RGB", "CMYK"), alpha=False, side=65_500, mapped=True, options=_jpeg,
    ),
    "tiff": Codec(
        (".tif", ".tiff"), re.compile(rb"II[*+]\0|MM\0[*+]"), "tiffload", "tiffsave",
        (8, 16, 32), ("gray", "RGB", "CMYK"), frames=True, options=_tiff,
    ),
    "webp": Codec(
        (".webp",), re.compile(rb"RIFF....WEBP", re.S), "webpload", "webpsave",
        colours=("RGB",), frames=True, side=16_383, whole=True, mapped=True, options=_webp,
    ),
    "gif": Codec(
        (".gif",), re.compile(rb"GIF8[79]a"), "gifload", "gifsave",
        colours=("RGB",), frames=True, side=65_535, whole=True, mapped=True, options=_gif,
    ),
    "avif": Codec(
        (".avif",), re.compile(rb"....ftyp(avif|avis|mif1)", re.S), "heifload", "heifsave",
        (8, 10, 12), ("RGB",), side=16_384, whole=True, options=_avif,
    ),
    "bmp": Codec((".bmp",), re.compile(rb"BM"), "", "", alpha=False, side=32_767, whole=True),
    "ppm": Codec(
        (".ppm", ".pgm", ".pbm", ".pnm"), re.compile(rb"P[1-6]\s"), "", "", (8, 16), alpha=False, whole=True,
    ),
    # TGA has no magic number: a colour map or none, one of its six image types, and a depth it knows.
    "tga": Codec(
        (".tga",), re.compile(rb".[\0\1](?:[\1\2\3]|[\x09\x0a\x0b]).{13}[\x08\x10\x18\x20]", re.S), "", "",
        side=65_535, whole=True,
    ),
}  # fmt: skip

IMAGE_SUFFIXES = frozenset(suffix for codec in CODECS.values() for suffix in codec.suffixes)


def format_of(path: Path) -> str | None:
    """Return the format that a name asks for, or None: ``x.JPG`` -> ``"jpeg"``."""
    suffix = path.suffix.lower()
    return next((name for name, codec in CODECS.items() if suffix in codec.suffixes), None)


def detect(start: bytes) -> str | None:
    """Return the format of a file by its first bytes, whatever its name says."""
    return next((name for name, codec in CODECS.items() if codec.magic.match(start)), None)


def fit(name: str, traits: Traits) -> int:
    """Return the bits a sample takes in the format ``name``, which must hold all there is.

    Raises
    ------
    OutputError
        Naming what would be lost, and the formats that hold it.
    """
    if name not in CODECS:
        raise OutputError(choice("picture format", name, CODECS))
    lost = [what for what, held in _needs(traits, CODECS[name]) if not held]
    if lost:
        able = [other for other, codec in CODECS.items() if all(held for _, held in _needs(traits, codec))]
        raise OutputError(f"{name} cannot hold {', '.join(lost)}; {', '.join(able) or 'no format'} can")
    return min(bits for bits in CODECS[name].bits if bits >= traits.bits)


def _needs(traits: Traits, codec: Codec) -> Iterator[tuple[str, bool]]:
    yield "float samples" if traits.bits == 32 else f"{traits.bits}-bit samples", codec.bits[-1] >= traits.bits
    # Gray becomes RGB with equal channels where there is no gray.
    colours = (*codec.colours, "gray")
    yield f"{traits.colour} channels", traits.colour in colours or "tiff" in codec.saver
    yield "an alpha channel", codec.alpha or not traits.alpha
    yield f"{traits.frames} frames", codec.frames or traits.frames == 1
    side = max(traits.width, traits.height)
    yield f"a side of {side} pixels", side <= codec.side
