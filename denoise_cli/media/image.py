"""Pictures: a file as blocks of rows, and rows back into a file of the same make.

    file --libvips, row by row--> ImageSource.blocks() --> ... --> ImageSink.write() --> commit()
      |                                                                                     ^
      +------------- alpha, EXIF, ICC, XMP, dpi, delays: past the blocks, untouched --------+

Pixels are never rotated: the orientation tag is kept with the pixels it was written for.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np

from denoise_cli.errors import DenoiseError, InputError, printable
from denoise_cli.media import foreign, heads, probe, tiff, vips
from denoise_cli.media.beside import Target, open_input
from denoise_cli.media.formats import CODECS, Traits, detect
from denoise_cli.media.image_sink import ImageSink
from denoise_cli.media.limits import Limits
from denoise_cli.media.orientation import turned
from denoise_cli.media.samples import DEPTHS, Depth, fault, to_block
from denoise_cli.signal import Header, Signal, gather

LONGEST_FILE = 1 << 29  # bytes, of the formats that libvips reads into memory as they are
BLOCK_SAMPLES = 1 << 23  # a picture up to this is one block: 2.8 megapixels of RGB, 32 MiB as float32
STREAM_SAMPLES = 1 << 21  # a larger one comes in blocks of at most so many samples
KEEP_BYTES = 1 << 25  # of a picture that waits in memory; a bigger one waits on the disk
BLOCK_ROWS = 16  # blocks are multiples of it, so that they end where the cells of a JPEG end

COLOURS = {  # libvips' interpretation -> ours, and its channels; what follows them is alpha or the like
    "b-w": ("gray", 1),
    "grey16": ("gray", 1),
    "srgb": ("RGB", 3),
    "rgb": ("RGB", 3),
    "rgb16": ("RGB", 3),
    "scrgb": ("RGB", 3),
    "cmyk": ("CMYK", 4),
}
GROUPS: dict[str, tuple[tuple[int, ...], ...]] = {"gray": ((0,),), "RGB": ((0, 1, 2),), "CMYK": ((0, 1, 2), (3,))}
DTYPES = {"uchar": 8, "ushort": 16, "float": 32}


class ImageSource:
    """An open picture; a ``Source``. The file must stay open until the sink made by ``save_to`` is committed."""

    def __init__(self, file: BinaryIO, name: str, limits: Limits):
        self.name = name
        self.file = file
        self._format = _format(file)
        if reason := probe.unsupported(file, self._format):
            raise InputError(reason)
        self._limits = limits
        self._keep: list[object] = []  # what libvips reads from calls back into us: it must outlive the images
        self._image = self._open()
        image = self._image
        interpretation = str(image.interpretation)
        if image.format not in DTYPES:
            raise InputError(f"{image.format} samples are not supported; choose from 8 or 16 bits, or 32-bit float")
        if interpretation not in COLOURS and interpretation != "multiband":
            raise InputError(f"{interpretation} colours are not supported; convert the file to RGB")
        if image.bands > limits.channels:
            raise InputError(f"{image.bands} channels; the limit is {limits.channels}")
        colour, channels = COLOURS.get(interpretation, (f"{image.bands}-band", image.bands))
        groups = GROUPS.get(colour, ())
        extra = image.bands - channels
        if extra and self._format == "tiff" and tiff.is_unspecified(file, extra):  # near infrared, say
            colour, channels = f"{colour}+{extra}", image.bands
        height = image.get_page_height()
        bits = DTYPES[image.format]
        if bits == 16 and self._format == "avif":
            bits = int(image.get("bits-per-sample"))
        self.depth: Depth = DEPTHS[bits]
        self.fields = vips.fields(image)
        self.traits = Traits(
            format=self._format,
            bits=bits,
            colour=colour,
            width=image.width,
            height=height,
            alpha=image.bands > channels,
            frames=image.height // height,
            lossless=probe.is_lossless(file, self._format),
            chroma=probe.chroma(file) if self._format == "jpeg" else "",
            compression=tiff.compression(file) if self._format == "tiff" else "deflate",
        )
        self.header = Header(
            kind="image",
            channels=channels,
            length=height,
            width=image.width,
            frames=self.traits.frames,
            groups=(*groups, *((c,) for c in range(sum(map(len, groups)), channels))),
            step=self.depth.step,
            format=self._format,
        )
        self._alpha: list[np.ndarray] = []  # of a small picture; a big one is read again

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield (C, n, W) float32 blocks in [0, 1]; how a picture is cut depends on nothing but its size."""
        height, width, channels = self.traits.height, self.traits.width, self.header.channels
        cells = min(STREAM_SAMPLES, BLOCK_SAMPLES) // (channels * width * BLOCK_ROWS)
        step = height if height * width * channels <= BLOCK_SAMPLES else max(1, cells) * BLOCK_ROWS
        region = vips.Region.new(self._image)
        for frame in range(self.traits.frames):
            for y in range(0, height, step):
                rows = self._fetch(region, frame * height + y, min(step, height - y))
                if self.traits.bits == 32 and (reason := fault(rows, channels, y)):
                    raise InputError(f"{self.name}: {reason}")
                if self.traits.alpha and self.is_small:
                    self._alpha.append(rows[:, :, channels:].copy())
                block = to_block(rows, channels, self.depth)
                del rows  # whoever takes the block keeps us waiting here; hold nothing meanwhile
                yield block
                del block

    @property
    def orientation(self) -> int:
        """The EXIF tag, 1 to 8: how the pixels are to be turned when they are shown."""
        tag = self.fields["orientation"].get() if "orientation" in self.fields else 1
        return tag if tag in range(1, 9) else 1

    def _fetch(self, region, y: int, n: int) -> np.ndarray:
        with reading(self.name):
            pixels = np.frombuffer(region.fetch(0, y, self._image.width, n), self.depth.dtype)
            return pixels.reshape(n, self._image.width, self._image.bands)

    @property
    def is_small(self) -> bool:
        """Whether the whole picture, all frames together, may wait in memory."""
        return (self.header.size or 0) * self._image.bands * np.dtype(self.depth.dtype).itemsize <= KEEP_BYTES

    def alpha(self):
        """Return the bands past the channels, as they stand in the file; after the last block only."""
        with reading(self.name):
            if self._alpha:
                return vips.from_array(np.concatenate(self._alpha))
            image = self._open() if CODECS[self._format].loader else self._image
            channels = self.header.channels
            return image.extract_band(channels, n=image.bands - channels)

    def _open(self):
        most, most_whole = self._limits.pixels, min(self._limits.pixels, self._limits.whole)
        codec = CODECS[self._format]
        if codec.loader:
            # A quiet half-picture is worse than none: what the decoder calls an error is one.
            # To libvips a tile of a TIFF that cannot be decoded is less than that; in strips an odd tag is as much.
            tiled = self._format == "tiff" and tiff.is_tiled(self.file)
            fail_on = "warning" if tiled else "error"
            options = {"access": "sequential", "fail_on": fail_on} | ({"n": -1} if codec.frames else {})
            image = getattr(vips.Image, f"{codec.loader}_source")(self._bytes(codec.mapped), **options)
            whole = codec.whole or image.get_typeof("interlaced")  # no row is whole before the last pass
            height = image.get_page_height()
            self._check_size(image.width, height, height, most_whole if whole else most)
            self._check_size(image.width, height, image.height, most)
            if image.height // height > self._limits.frames:
                raise InputError(f"{image.height // height} frames; the limit is {self._limits.frames}")
            return image
        from denoise_cli.media import pillow  # few formats need it

        opened = pillow.Opened(self.file, self._format)
        self._check_size(opened.width, opened.height, opened.height, most_whole)
        image = vips.from_array(opened.array())
        dpi = opened.dpi()
        return image.copy(xres=dpi[0] / 25.4, yres=dpi[1] / 25.4) if dpi else image

    def _check_size(self, width: int, height: int, rows: int, limit: int) -> None:
        if width * rows > limit:
            frames = f", {rows // height} frames" if rows > height else ""
            hint = "; --max-pixels allows more" if self._limits.adjustable else ""
            size = f"{width} x {height} pixels{frames}"
            raise InputError(f"{size} are more than the limit of {limit:,} pixels{hint}")

    def _bytes(self, mapped: bool):
        if not mapped:
            return vips.source(self.file.fileno())
        length = self.file.seek(0, os.SEEK_END)
        if length > LONGEST_FILE:
            raise InputError(f"{length:,} bytes are more than the limit of {LONGEST_FILE:,} for {self._format}")
        self._keep.append(source := vips.shielded(self.file.fileno()))
        return source

    def save_to(
        self,
        target: Target,
        *,
        format: str | None = None,
        depth: Literal[8, 16, "float"] | None = None,
        quality: int | None = None,
    ) -> ImageSink:
        """Make the sink for this picture: its format, depth, alpha and metadata, unless told otherwise."""
        return ImageSink(self, target, format=format, depth=depth, quality=quality)

    def close(self) -> None:
        self._image = None
        self.file.close()


def open_image(file: BinaryIO, name: str, *, limits: Limits = Limits()) -> ImageSource:
    """Open a picture by its content.

    Parameters
    ----------
    file
        Seekable and open for reading; it is ours from here on, closed with the source, or here on failure.
        Names never reach a codec, which would trip over those that are no UTF-8 or end in ``[...]``.
    name
        For messages.
    limits
        On pixels, frames and channels.

    Raises
    ------
    InputError
        One line that starts with the name: damaged, too big, or of a kind that we do not read.
    """
    with reading(printable(name), named=False), ExitStack() as stack:
        stack.callback(file.close)
        source = ImageSource(file, printable(name), limits)
        stack.pop_all()
        return source


def read(path: str | Path, *, limits: Limits = Limits()) -> Signal:
    """Read a whole picture: ``read("x.png").data`` is (C, H, W) float32 in [0, 1], as it is stored.

    ``extras["orientation"]``, 1 to 8, says how it is to be turned when it is shown; `shown` does that.
    """
    with open_input(Path(path)) as file:
        source = open_image(file, str(path), limits=limits)
        return replace(gather(source), extras={"orientation": source.orientation})


def shown(signal: Signal) -> Signal:
    """What `read` gives, turned as it is shown; pages that stand below each other stay."""
    orientation = signal.extras.get("orientation", 1)
    if orientation == 1 or signal.header.frames > 1:
        return signal
    data = np.ascontiguousarray(turned(signal.data, orientation))
    return Signal(data, replace(signal.header, length=data.shape[1], width=data.shape[2]))


@contextmanager
def reading(name: str, *, named: bool = True) -> Iterator[None]:
    """Turn whatever a decoder raises, and they raise anything, into one InputError."""
    try:
        yield
    except DenoiseError as error:
        if named:
            raise
        raise InputError(f"{name}: {error}") from error
    except Exception as error:
        raise InputError(f"{name}: {vips.reason(error)}") from error


def _format(file: BinaryIO) -> str:
    start = heads.read_at(file, 0, foreign.HEAD)
    if not start:
        raise InputError("the file is empty")
    format = detect(start)
    if format is None:
        raise InputError(foreign.refusal(start, "a picture", CODECS))
    return format
