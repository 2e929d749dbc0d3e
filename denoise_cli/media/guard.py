"""What is refused before any work: outputs over inputs, through links, in a folder's place, or nowhere to write."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from denoise_cli.errors import RefusedError, UsageError, printable


def identity(path: Path) -> object:
    """Return what two names of one file have in common; for a file yet to come, its folder's and its name."""
    try:
        status = path.stat()
    except OSError:
        return (os.path.realpath(path.parent), path.name)
    return (status.st_dev, status.st_ino)


def keep_apart(
    extra: Iterable[Path | None], inputs: Iterable[Path | None], outputs: Iterable[Path | None] = ()
) -> None:
    """Refuse a report, table or sheet that would be written over an input, over an output, or over another one.

    Raises RefusedError naming both.
    """
    taken = {identity(path): f"the output {printable(path)}" for path in outputs if path is not None}
    taken |= {identity(path): f"the input {printable(path)}" for path in inputs if path is not None}
    for path in extra:
        if path is None:
            continue
        if (other := taken.get(key := identity(path))) is not None:
            raise RefusedError(f"output {printable(path)} is {other}")
        taken[key] = f"the output {printable(path)}"


def refuse_links(folder: Path, targets: Iterable[Path]) -> None:
    """Raise RefusedError where a link to a folder stands between `folder` and a target below it."""
    inside: set[Path] = set()
    for target in targets:
        refuse_link(target, len(target.relative_to(folder).parts) - 1, inside)


def refuse_link(target: Path, depth: int, inside: set[Path]) -> None:
    """Refuse a target if one of the `depth` folders above it is a link: it might lead out of the output folder."""
    for folder in list(target.parents)[:depth]:
        if folder in inside:
            return
        if folder.is_symlink():
            raise RefusedError(f"output folder {printable(folder)} is a link; remove it, or name another -o")
        inside.add(folder)


def check_writable(targets: Iterable[Path | None]) -> None:
    """Raise UsageError unless each target's folder, or the nearest that exists above it, lets us write.

    RefusedError where something other than a file is in a target's place.
    """
    named = [target for target in targets if target is not None]
    for target in named:
        try:
            mode = target.stat().st_mode
        except (OSError, ValueError):  # not there, or of a name that no file can have
            continue
        if not stat.S_ISREG(mode):
            what = "a folder" if stat.S_ISDIR(mode) else "there, and not a regular file"
            raise RefusedError(f"output {printable(target)} is {what}")
    for folder in dict.fromkeys(target.parent for target in named):
        nearest = folder
        while not os.path.lexists(nearest) and nearest != nearest.parent:
            nearest = nearest.parent
        if not nearest.is_dir():
            raise UsageError(f"{printable(nearest)} is not a folder, so nothing can be written inside it")
        if not os.access(nearest, os.W_OK | os.X_OK):
            raise UsageError(f"folder {printable(nearest)} is not writable")
