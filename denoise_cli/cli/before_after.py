"""``denoise run --compare``: a before / after picture, or a pair of spectrograms, beside every result."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from denoise_cli.errors import DenoiseError, NoSpaceError, RefusedError, UsageError, printable

if TYPE_CHECKING:
    from denoise_cli.media.files import Job
    from denoise_cli.media.limits import Limits
    from denoise_cli.pipeline import Result


def places(jobs: Sequence[Job], folder: Path) -> dict[Job, Path]:
    """Where the before / after picture of each job goes; what cannot be compared is refused before any work."""
    from denoise_cli.media.guard import identity

    places: dict[Path, Job] = {}
    for job in jobs:
        if job.source is None or job.target is None:
            raise UsageError("--compare reads files again, so it does not go with - for stdin or stdout")
        place = folder / job.relative.with_name(f"{job.relative.name}.compare.png")
        if (other := places.setdefault(place, job)) is not job:
            both = f"{printable(other.source or '')} and {printable(job.source)}"
            raise RefusedError(f"{both} would both be compared in {printable(place)}; run them one by one")
    folders = {job.source.parents[len(job.relative.parts) - 1] for job in jobs if job.resume and job.source}
    if identity(folder) in map(identity, folders):
        raise RefusedError(
            f"--compare {printable(folder)} is an input: the next run would take its sheets for pictures"
        )
    return {job: place for place, job in places.items()}


def drawn(results: Iterator[Result], sheets: dict[Job, Path], limits: Limits) -> Iterator[Result]:
    """Draw the before / after picture of every file as it is done; one that fails is a failure of its file."""
    from denoise_cli import media, pictures

    with closing(results) as stream:  # type: ignore[type-var]
        for result in stream:
            if result.error is not None:
                yield result
                continue
            try:
                pictures.save(_before_after(result, limits), sheets[result.job])
            except NoSpaceError:
                raise
            except Exception as error:
                reason = str(error) if isinstance(error, DenoiseError) else media.describe(error)
                result = replace(result, error=f"denoised, but not compared: {reason}")
            yield result


def _before_after(result: Result, limits: Limits) -> Any:
    import numpy as np

    from denoise_cli import pictures, spectrograms
    from denoise_cli.media import audio, files, image

    source, target = result.job.source, result.job.target
    assert source is not None and target is not None, "only such jobs have sheets"  # noqa: PT018
    if result.kind == "image":
        before, after = (image.shown(image.read(path, limits=limits)).data for path in (source, target))
        # A gray picture in a format that knows colours alone has three equal channels.
        return pictures.before_after(np.broadcast_to(before, after.shape), after)

    def opened(path: Path) -> Any:
        return closing(audio.open_audio(files.open_input(path), str(path), limits=limits))

    drawn = []
    for path in (source, target):
        with opened(path) as recording:
            length = recording.header.length or result.size
            length = length or sum(block.shape[1] for block in recording.blocks())
        with opened(path) as recording:
            blocks = (block[:, :, 0] for block in recording.blocks())
            drawn.append(spectrograms.of_blocks(blocks, length, recording.header.rate))
    return spectrograms.compared(*drawn)
