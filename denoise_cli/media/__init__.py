"""Files as streams of blocks: the right Source and Sink for each kind of file.

files.py    find inputs, name targets            beside.py   write beside, then rename
image.py    pictures through libvips             pillow.py   pictures that only Pillow reads
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from denoise_cli.media.files import Job, Replacing, Stdout, open_input, printable
from denoise_cli.media.formats import IMAGE_SUFFIXES, format_of

if TYPE_CHECKING:
    from denoise_cli.media.image import ImageSink, ImageSource

SUFFIXES = IMAGE_SUFFIXES  # what is taken from folders


def open_source(job: Job) -> ImageSource:
    """Open the input of a job; raises InputError, in one line that names it."""
    from denoise_cli.media import image

    name = "-" if job.source is None else printable(job.source)
    return image.open_image(open_input(job.source), name)


def open_sink(job: Job, source: ImageSource, *, floating: bool = False) -> ImageSink:
    """Begin the output of a job: in the input's format, or in the one that the suffix of its target asks for.

    `floating` writes unclipped float samples, as TIFF. Raises OutputError where the format cannot hold
    what the source has.
    """
    named = None if job.target is None or job.resume else format_of(job.target)
    target = Stdout() if job.target is None else Replacing(job.target)
    try:
        if floating:
            return source.save_to(target, format="tiff", depth="float")
        return source.save_to(target, format=named)
    except BaseException:
        target.discard()
        raise


def describe(error: Exception) -> str:
    """One line for an error that nobody foresaw."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
