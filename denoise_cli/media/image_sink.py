"""A picture in the making: rows of pixels, then alpha and metadata of the source, into a file of the same make."""

from __future__ import annotations

import io
import math
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import numpy as np

from denoise_cli import memory
from denoise_cli.errors import OutputError
from denoise_cli.media import heads, left, mpf, tiff, tiff_tags, vips
from denoise_cli.media.beside import Target, writing
from denoise_cli.media.formats import CODECS, Traits, fit
from denoise_cli.media.samples import DEPTHS, Depth, to_rows

if TYPE_CHECKING:
    from denoise_cli.media.image import ImageSource

KEEP_NONE, KEEP_EXIF, KEEP_ALL = 0, 0b000001, 0b111111  # VipsForeignKeep
NO_RESOLUTION = (0, 1, 2.834)  # pixels a millimetre: what libvips says where a file tells none

# Fields that tell how the input was stored, not what it is; the output is stored in its own way.
STRUCTURE = {
    *("width", "height", "bands", "format", "coding", "interpretation", "xoffset", "yoffset", "xres", "yres"),
    *("filename", "vips-loader", "vips-sequential", "palette", "gif-palette", "bits-per-sample", "interlaced"),
    *("jpeg-multiscan", "jpeg-chroma-subsample", "heif-primary", "heif-compression", "heif-bitdepth"),
}


HUNGRY = ("avif", "webp")  # encoders that want a whole picture, several times


class ImageSink:
    """A picture in the making; a ``Sink``. A small one waits in memory, a big one in an unnamed file."""

    def __init__(
        self,
        source: ImageSource,
        target: Target,
        *,
        format: str | None = None,
        depth: Literal[8, 16, "float"] | None = None,
        quality: int | None = None,
    ):
        self._source, self._target = source, target
        name = format or source.traits.format
        wanted = source.traits.bits if depth is None else 32 if depth == "float" else depth
        bits = fit(name, replace(source.traits, bits=wanted))
        self._traits = replace(source.traits, format=name, bits=bits, quality=quality)
        self.left = left.of_picture(source.fields, source.traits.format, name, source.traits.frames)
        self._depth = DEPTHS[bits]
        self._height = source.traits.height * source.traits.frames
        self._written = 0  # rows
        self._parts: list[np.ndarray] = []
        self._spool: BinaryIO | None = None
        self._saving: vips.Image | None = None  # what is being encoded
        self._behind: mpf.Behind | None = None  # a JPEG's other pictures
        if not source.is_small:
            with writing(target, vips.reason):
                self._spool = tempfile.TemporaryFile(dir=target.folder)  # noqa: SIM115

    def write(self, block: np.ndarray) -> None:
        with writing(self._target, vips.reason):
            rows = to_rows(block, self._depth)
            self._written += len(rows)
            if self._spool is None:
                self._parts.append(rows)
            else:
                self._spool.write(rows.data)

    @property
    def hungry(self) -> bool:
        """Whether encoding takes several times the picture: of a large one as much memory as all windows do."""
        return self._spool is not None and self._traits.format in HUNGRY

    def commit(self) -> None:
        with writing(self._target, vips.reason):
            if self._written != self._height:
                raise ValueError(f"{self._written} of {self._height} rows were written")
            if self._spool is not None:  # a big one: some encoders hold several copies of it
                memory.give_back()
            self._saving = self._image()
            self._save(self._saving)
            self._target.commit()
        self._drop()

    def cancel(self) -> None:
        """Let ``commit``, in another thread, fail as soon as libvips asks for rows: between frames, not in AVIF."""
        if (image := self._saving) is not None:
            image.set_kill(True)

    def discard(self) -> None:
        self._drop()
        self._target.discard()

    def _drop(self) -> None:
        self._parts.clear()
        self._saving = None
        if self._spool is not None:
            self._spool.close()

    def _image(self):
        """Put together pixels, alpha and metadata."""
        traits = self._traits
        image = self._pixels()
        if traits.alpha:
            if traits.format == "gif" != self._source.traits.format and self._is_soft():
                raise OutputError("gif cannot hold an alpha channel of more than two levels; png, tiff, webp can")
            image = image.bandjoin(_rescaled(self._source.alpha(), self._source.depth, self._depth))
        origin = self._source._image
        image = image.copy(interpretation=_interpretation(traits), xres=origin.xres, yres=origin.yres)
        for name, value in self._source.fields.items():
            if name not in STRUCTURE:
                vips.set_field(image, name, value)
        if self._exif:
            image.set_type(vips.GValue.blob_type, "exif-data", self._exif)
        if "orientation" not in self._source.fields:  # libvips reads it from the EXIF again
            image.remove("orientation")
            image.remove("exif-ifd0-Orientation")
        if traits.format in left.BARE and traits.frames == 1 and self._source.orientation != 1:
            image = image.copy_memory().autorot()
        return image

    def _is_soft(self) -> bool:
        """Whether anything is neither opaque nor transparent."""
        alpha = self._source.alpha()
        return bool(((alpha > 0) & (alpha < (self._source.depth.scale or 1))).max())

    @cached_property
    def _exif(self) -> bytes:
        """What a TIFF has in tags of its own and other formats in EXIF; libvips carries neither to the other."""
        source = self._source
        return tiff_tags.exif(source.file) if source.traits.format == "tiff" != self._traits.format else b""

    @property
    def _bare(self) -> bool:
        """Whether there is nothing to say in EXIF."""
        return "exif-data" not in self._source.fields and not self._exif and self._source.orientation == 1

    @property
    def _resolved(self) -> bool:
        """Whether the source tells how large its pixels are."""
        if self._source.traits.format == "tiff":
            return "resolution-unit" in self._source.fields
        return not any(math.isclose(self._source._image.xres, value) for value in NO_RESOLUTION)

    def _pixels(self):
        width, channels = self._traits.width, self._source.header.channels
        if self._spool is None:
            rows = self._parts[0] if len(self._parts) == 1 else np.concatenate(self._parts)
            return vips.from_array(rows)
        self._spool.flush()
        return vips.from_spool(self._spool.fileno(), (self._height, width, channels), np.dtype(self._depth.dtype))

    def _save(self, image) -> None:
        codec = CODECS[self._traits.format]
        if codec.saver:
            keep, mend = self._head()
            options = {**codec.options(self._traits), "keep": keep}
            if self._traits.format == "webp":
                self._save_webp(image, options)
                return
            save = getattr(image, f"{codec.saver}_target")
            if mend is not None:
                with vips.Mending(self._target.fileno(), mend) as target:
                    save(target, **options)
            else:
                save(vips.target(self._target.fileno()), **options)
            if self._traits.format == "tiff":
                self._mend(self._target.file)
            if self._behind is not None:
                self._behind.attach(self._target.file)
        else:
            from denoise_cli.media import pillow

            array = image.numpy().reshape(image.height, image.width, image.bands)
            pillow.save(array, self._target.file, self._traits.format, (image.xres * 25.4, image.yres * 25.4))

    def _save_webp(self, image, options: dict[str, Any]) -> None:
        from denoise_cli.media import webp

        if self._traits.frames > 1:
            webp.save(image, self._target, options)
        else:
            image.webpsave_target(vips.target(self._target.fileno()), **options)
        source = self._source
        if source.traits.format == "webp" and "exif-data" in source.fields:
            webp.put_exif(self._target.file, source.fields["exif-data"].get())

    def _mend(self, file: BinaryIO) -> None:
        """What libvips cannot say of a TIFF."""
        if not self._resolved:
            tiff.without_unit(file)
        if "+" in self._traits.colour:
            tiff.without_alpha(file)
        source = self._source
        if source.traits.format == "tiff":
            tiff_tags.carry(source.file, file)
        elif "exif-data" in source.fields:
            exif = source.fields["exif-data"].get().removeprefix(tiff_tags.EXIF)
            tiff_tags.carry(io.BytesIO(exif), file, pages=1)

    def _head(self) -> tuple[int, Callable[[bytes], bytes | None] | None]:
        """What libvips is to keep of the metadata, and what becomes of the first bytes that it writes.

        None: they are as they should be.
        """
        source, format = self._source, self._traits.format
        same = format == source.traits.format
        without_exif = KEEP_ALL & ~KEEP_EXIF  # else libvips makes up a block with the resolution in it
        if same and format == "png":  # all goes along as it stands, keywords that libvips refuses too
            return KEEP_NONE, partial(heads.with_chunks, extra=heads.kept(source.file))
        if same and format == "jpeg":
            self._behind = mpf.behind(source.file)
            extra = heads.segments(source.file) + self._behind.head
            return without_exif, partial(heads.with_segments, extra=extra)
        if not self._bare:
            return KEEP_ALL, None
        if format == "jpeg" and self._traits.colour != "CMYK":
            image = source._image
            dpi = (image.xres * 25.4, image.yres * 25.4) if self._resolved else None
            return without_exif, partial(heads.with_segments, extra=heads.jfif(dpi))
        return without_exif, None


def _interpretation(traits: Traits) -> str:
    colour = traits.colour.partition("+")[0]
    if colour == "gray":
        return "grey16" if 8 < traits.bits <= 16 else "b-w"
    if colour == "RGB":
        return {8: "srgb", 32: "scrgb"}.get(traits.bits, "rgb16")
    return "cmyk" if colour == "CMYK" else "multiband"


def _rescaled(alpha, old: Depth, new: Depth):
    if (old.scale, old.dtype) == (new.scale, new.dtype):
        return alpha
    scaled = alpha.cast("float") * ((new.levels or 1) / (old.scale or 1))
    return (scaled.rint() * (1 << new.shift) if new.levels else scaled).cast(vips.FORMATS[np.dtype(new.dtype).name])
