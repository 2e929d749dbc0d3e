"""Files as streams of blocks: the right Source and Sink for each kind of file.

files.py    find inputs, name targets            beside.py      write beside, then rename
image.py    pictures through libvips             pillow.py      pictures that only Pillow reads
audio.py    recordings through libsndfile        chunks.py      headers that lie about their length
formats.py  what pictures can be                 containers.py  what recordings can be
"""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from denoise_cli.errors import InputError, OutputError
from denoise_cli.media import containers, formats
from denoise_cli.media.containers import AUDIO_SUFFIXES, AudioOptions
from denoise_cli.media.files import Job, Replacing, Stdout, open_input, printable
from denoise_cli.media.formats import IMAGE_SUFFIXES

if TYPE_CHECKING:
    from denoise_cli.media.audio import AudioSink, AudioSource
    from denoise_cli.media.image import ImageSink, ImageSource
    from denoise_cli.signal import Kind

SUFFIXES = IMAGE_SUFFIXES | AUDIO_SUFFIXES  # what is taken from folders
HEAD = 512  # bytes by which a format is told


def kind_of(path: Path) -> Kind:
    """Return what a file is by its name alone; what it really is, its content decides."""
    return "audio" if containers.format_of(path) else "image"


def open_source(job: Job) -> ImageSource | AudioSource:
    """Open the input of a job by its content; raises InputError, in one line that names it."""
    name = "-" if job.source is None else printable(job.source)
    file = open_input(job.source)
    start = file.read(HEAD)
    if formats.detect(start):
        from denoise_cli.media import image

        return image.open_image(file, name)
    if containers.detect(start):
        from denoise_cli.media import audio

        return audio.open_audio(file, name)
    file.close()
    if not start:
        raise InputError(f"{name}: the file is empty")
    known = ", ".join((*formats.CODECS, *containers.CONTAINERS))
    raise InputError(f"{name}: not a picture and not a recording in a format that we read; they are {known}")


def open_sink(
    job: Job, source: ImageSource | AudioSource, *, floating: bool = False, audio: AudioOptions | None = None
) -> ImageSink | AudioSink:
    """Begin the output of a job: in the input's format, or in the one that the suffix of its target asks for.

    `floating` writes unclipped float samples, as TIFF or as WAV. `audio` says how recordings are written where not
    as they came. Raises OutputError where the format cannot hold what the source has.
    """
    recording = source.header.kind == "audio"
    named = None
    if job.target is not None and not job.resume:
        ours, others = (containers, formats) if recording else (formats, containers)
        named = ours.format_of(job.target)
        if named is None and (other := others.format_of(job.target)):
            what = "recording" if recording else "picture"
            raise OutputError(f"{printable(job.target)}: a {what} cannot be written as {other}")
    target = Stdout() if job.target is None else Replacing(job.target)
    try:
        if not recording:
            picture = cast("ImageSource", source)
            options = {"format": "tiff", "depth": "float"} if floating else {"format": named}
            return picture.save_to(target, **options)
        heard, wanted = cast("AudioSource", source), audio or AudioOptions()
        if floating:
            named, wanted = "wav", replace(wanted, bit_depth="float")
        return heard.save_to(target, format=named, **asdict(wanted))
    except BaseException:
        target.discard()
        raise


def describe(error: Exception) -> str:
    """One line for an error that nobody foresaw."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
