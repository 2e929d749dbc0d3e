"""Files as streams of blocks: the right Source and Sink for each kind of file.

files.py    find inputs, name targets                 beside.py      write beside, then rename
image.py    pictures read, image_sink.py: written     formats.py     what pictures can be
vips.py     libvips, set up once                      pillow.py      pictures that only Pillow reads
tiff.py     a TIFF's directories, tiff_tags.py: kept  probe.py       what decoders do not tell
samples.py  samples of pictures, levels.py: of sound  resample.py    another rate
webp.py     animations, frame for frame, and EXIF     heads.py       what stands before the pixels
mpf.py      pictures behind the first one of a JPEG
audio.py    recordings read, audio_sink.py: written   containers.py  what recordings can be
sndfile.py  libsndfile, set up once                   chunks.py      headers that lie about their length
ogg.py, mp3.py  what libsndfile does not do of those  ancillary.py   what goes along beside the samples
left.py         what does not, by name                foreign.py     what is not read, by name
orientation.py  how pixels are turned when shown
speakers.py     for which each channel of a WAV is
table.py    tables and series, which layout.py describes; delimited.py, cells.py, matrices.py, parquet.py read them
course.py   how columns run                           arrays.py, npy.py  stacks of small pictures
limits.py   how much is too much                      guard.py       what is refused before any work
"""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from denoise_cli.errors import InputError, OutputError, printable
from denoise_cli.media import containers, foreign, formats
from denoise_cli.media.containers import AUDIO_SUFFIXES, AudioOptions
from denoise_cli.media.files import Job, Replacing, Stdout, open_input
from denoise_cli.media.foreign import HEAD as HEAD
from denoise_cli.media.formats import IMAGE_SUFFIXES
from denoise_cli.media.layout import TABLE_SUFFIXES as TABLE_SUFFIXES
from denoise_cli.media.layout import TABULAR, Layout, is_table
from denoise_cli.media.limits import Limits

if TYPE_CHECKING:
    from denoise_cli.media.audio import AudioSink, AudioSource
    from denoise_cli.media.image import ImageSink, ImageSource
    from denoise_cli.media.table import TableSink, TableSource
    from denoise_cli.signal import Kind

SUFFIXES = IMAGE_SUFFIXES | AUDIO_SUFFIXES  # what is taken from folders, but where a model is for tables


def kind_of(path: Path) -> Kind:
    """Return what a file is by its name alone; what it really is, its content decides."""
    if is_table(path):
        return "table"
    return "audio" if containers.format_of(path) else "image"


def open_source(
    job: Job, layout: Layout | None = None, limits: Limits = Limits()
) -> ImageSource | AudioSource | TableSource:
    """Open the input of a job by its content; raises InputError, in one line that names it.

    A table has no magic number: it is told by its name, or taken for one where `layout` says that one is wanted.
    """
    name = "-" if job.source is None else printable(job.source)
    file = open_input(job.source)
    start = file.read(HEAD)
    if start and (layout is not None if job.source is None else is_table(job.source)):
        return _open_table(file, name, layout)
    if formats.detect(start):
        from denoise_cli.media import image

        return image.open_image(file, name, limits=limits)
    if containers.detect(start):
        from denoise_cli.media import audio

        return audio.open_audio(file, name, limits=limits)
    if start and layout is not None:
        return _open_table(file, name, layout)
    file.close()
    if not start:
        raise InputError(f"{name}: the file is empty")
    known = (*formats.CODECS, *containers.CONTAINERS)
    raise InputError(f"{name}: {foreign.refusal(start, 'a picture and not a recording', known)}")


def open_sink(
    job: Job,
    source: ImageSource | AudioSource | TableSource,
    *,
    floating: bool = False,
    audio: AudioOptions | None = None,
    quality: int | None = None,
) -> ImageSink | AudioSink | TableSink:
    """Begin the output of a job: in the input's format, or in the one that the suffix of its target asks for.

    `floating` writes unclipped float samples, as TIFF or as WAV. `audio` says how recordings are written where not
    as they came, `quality`, 1 to 100, is that of JPEG, WebP and AVIF. Raises OutputError where the format cannot
    hold what the source has.
    """
    if source.header.kind in TABULAR:
        return _table_sink(job, cast("TableSource", source))
    recording = source.header.kind == "audio"
    named = None
    if job.target is not None and not job.resume:
        ours, others = (containers, formats) if recording else (formats, containers)
        named = ours.format_of(job.target)
        other = others.format_of(job.target) or (job.target.suffix.lower() if is_table(job.target) else None)
        if named is None and other:
            what = "recording" if recording else "picture"
            raise OutputError(f"{printable(job.target)}: a {what} cannot be written as {other}")
        if job.target.suffix.lower() == ".pgm" and source.header.channels > 1:
            raise OutputError(f"{printable(job.target)}: pgm holds gray levels; name it .ppm for colours")
    target = _target(job, source)
    try:
        if not recording:
            picture = cast("ImageSource", source)
            if floating:
                return picture.save_to(target, format="tiff", depth="float")
            return picture.save_to(target, format=named, quality=quality)
        heard, wanted = cast("AudioSource", source), audio or AudioOptions()
        if floating:
            named, wanted = "wav", replace(wanted, bit_depth="float")
        return heard.save_to(target, format=named, **asdict(wanted))
    except BaseException:
        target.discard()
        raise


def _open_table(file: BinaryIO, name: str, layout: Layout | None) -> TableSource:
    from denoise_cli.media import table

    return table.open_table(file, name, layout)


def _table_sink(job: Job, source: TableSource) -> TableSink:
    """A table keeps its format; only its name may change."""
    suffix = "" if job.target is None or job.resume else job.target.suffix.lower()
    if suffix in SUFFIXES:
        raise OutputError(f"{printable(job.target or '')}: a table cannot be written as {suffix}")
    target = _target(job, source)
    try:
        return source.save_to(target, suffix=suffix)
    except BaseException:
        target.discard()
        raise


def _target(job: Job, source: ImageSource | AudioSource | TableSource) -> Replacing | Stdout:
    if job.target is None:
        return Stdout()
    return Replacing(job.target, like=None if job.source is None else source.file)


def describe(error: Exception) -> str:
    """One line for an error that nobody foresaw."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
