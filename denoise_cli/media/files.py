"""Files: find the inputs, name the targets, and write beside a target before it is replaced.

    photos/             ->  photos.denoised/          the tree mirrored, names unchanged, finished files skipped
    x.png               ->  x.denoised.png
    x.png -o y.png      ->  y.png
    x.png a/ -o out     ->  out/x.png, out/...        the tree of a/ straight into out/
    -                   ->  standard output

Everything that can be refused is refused before any work, here and in guard.py.
"""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from denoise_cli.errors import RefusedError, UsageError, printable
from denoise_cli.media.beside import PART_PREFIX, PART_SUFFIX, Replacing, Stdout, open_input, spool
from denoise_cli.media.guard import check_writable, identity, keep_apart, refuse_link

__all__ = [
    "Found", "Job", "OnExists", "Replacing", "Stdout",
    "below", "check_writable", "find", "keep_apart", "left_out", "open_input", "printable", "settle", "spool",
]  # fmt: skip

OnExists = Literal["error", "skip", "overwrite"]

APPLE_DOUBLE = "._"  # macOS puts beside each file, on disks that are not its own, what it knows of it


@dataclass(frozen=True)
class Job:
    source: Path | None  # None: standard input
    target: Path | None  # None: standard output
    relative: Path  # the short name: below the folder that was named, or the file's own
    resume: bool = False  # found in a folder: a target that is there was finished by an earlier run


@dataclass
class Found:
    jobs: list[Job] = field(default_factory=list)
    skipped: list[tuple[Path, str]] = field(default_factory=list)  # met in a folder and left out: why
    others: list[Path] = field(default_factory=list)  # met in a folder, of suffixes that are not asked for
    missing: list[tuple[str, str]] = field(default_factory=list)  # named and not to be had: why


def unsaid(line: str) -> None:
    """A `say` for those who do not ask."""


def below(root: Path, suffixes: frozenset[str], say: Callable[[str], None] = unsaid) -> list[Job]:
    """A file, or those in a folder, to be read and nothing else; `say` is told what is left out.

    Raises UsageError where the root, or a folder in it, is not there or cannot be read.
    """
    if not root.exists():
        raise UsageError(f"{root}: no such file or folder")
    found = find([str(root)], None, suffixes=suffixes)
    for name, reason in found.missing:
        raise UsageError(f"{printable(name)}: {reason}")
    for line in left_out(found):
        say(line)
    return found.jobs


def left_out(found: Found) -> list[str]:
    """A line for each file or folder that was met and passed by, though its suffix was asked for."""
    return [f"{printable(path)}: left out, {reason}" for path, reason in found.skipped]


def find(
    inputs: Sequence[str],
    output: str | None,
    *,
    tag: str = "denoised",
    suffixes: frozenset[str],
    suffix: Callable[[str], str] | None = None,
    apart: Path | None = None,
    mirrored: Collection[str] = (),
) -> Found:
    """Turn what was named on the command line into jobs.

    Parameters
    ----------
    inputs
        Files, folders, patterns that the shell left alone, ``-`` for standard input.
    output
        A file, a folder, ``-`` for standard output, or None for names made with ``tag``.
    suffixes
        Lower-case suffixes with their dot; inside folders only files that end in one are taken.
    suffix
        Gives targets that we name another suffix, by that of the input: ``.png`` -> ``.tif``.
    apart
        A folder that is not entered, as that of the outputs is not.
    mirrored
        Inputs of a list: in the folder of ``output`` those that are files lie as they do below the folder that is
        common to all of them; other files lie in it by their names alone.

    Raises
    ------
    RefusedError
        Two inputs would meet in one output, or an output is one of the inputs.
    UsageError
        ``output`` does not go with the inputs.
    """
    found = Found()
    paths = list(_expand(inputs, found))
    into = _into(paths, len(inputs), output, suffixes)
    folders = [path for path in paths if path is not None and path.is_dir()]
    outputs = {identity(into or _beside_folder(folder, tag)) for folder in folders}
    outputs |= {identity(apart)} if apart is not None else set()
    names = set(map(Path, mirrored))
    listed = {path for path in paths if path is not None and path in names and not path.is_dir()}
    places = _places(listed)
    files: list[Job] = []
    for path in paths:
        if path is None:
            files.append(_stdin_job(output, into))
        elif path.is_dir():
            root = into or _beside_folder(path, tag)
            for file in _walk(path, suffixes, outputs, found):
                relative = file.relative_to(path)
                files.append(Job(file, root / _with_suffix(relative, suffix), relative, resume=True))
        else:
            name = places[path] if path in places and into else Path(path.name)
            if into:
                target: Path | None = into / _with_suffix(name, suffix)
            elif output is not None:
                target = None if output == "-" else Path(output)
            else:
                stem, end = os.path.splitext(path.name)  # noqa: PTH122  (Path.suffix changed in 3.14)
                target = path.with_name(f"{stem}.{tag}{suffix(end) if suffix else end}")
            files.append(Job(path, target, name))
    once: dict[tuple[Path | None, Path | None], Job] = {}  # `*.png a.png` names a.png twice and means it once
    for job in files:
        once.setdefault((job.source, job.target), job)
    found.jobs = list(once.values())
    _refuse_clashes(found.jobs)
    return found


def _places(paths: Collection[Path]) -> dict[Path, Path]:
    """Where each file lies below the folder common to all; links are followed only where ``..`` is in a name."""
    roots = {path: path.absolute() for path in paths}
    if any(".." in root.parts for root in roots.values()):
        roots = {path: root.parent.resolve() / root.name for path, root in roots.items()}
    common = os.path.commonpath([root.parent for root in roots.values()]) if roots else ""
    return {path: root.relative_to(common) for path, root in roots.items()}


def _expand(inputs: Sequence[str], found: Found) -> Iterator[Path | None]:
    for text in inputs:
        if text == "-":
            yield None
            continue
        names = [text]
        if "\0" not in text and not os.path.lexists(text) and glob.has_magic(text):
            names = sorted(glob.glob(text, recursive=True)) or names  # noqa: PTH207  (keeps the spelling)
            if "**" in text:  # it meets each file below a folder by itself
                names = [name for name in names if not os.path.isdir(name)] or [text]  # noqa: PTH112
        for name in names:
            reason = _unreadable(name)
            if reason:
                found.missing.append((name, reason))
            else:
                yield Path(name)


def _unreadable(name: str) -> str | None:
    try:
        mode = os.stat(name).st_mode  # noqa: PTH116  (Path("") is the working directory)
    except FileNotFoundError:
        return "dangling link" if os.path.islink(name) else "no such file or folder"  # noqa: PTH114
    except (OSError, ValueError) as error:
        return (getattr(error, "strerror", None) or str(error)).lower()
    return None if stat.S_ISREG(mode) or stat.S_ISDIR(mode) else "not a regular file"


def _into(paths: Sequence[Path | None], named: int, output: str | None, suffixes: frozenset[str]) -> Path | None:
    """Return the folder that ``-o`` means, or None where it means a file or was not given."""
    if output is None:
        return None
    if not output:
        raise UsageError("-o is empty")
    many = named > 1 or len(paths) > 1 or any(path is not None and path.is_dir() for path in paths)
    if output == "-":
        if many:
            raise UsageError("-o - takes one input; name a folder for several")
        return None
    folder = Path(output)
    if not (many or folder.is_dir() or output.endswith(os.sep)):
        return None
    named_as_file = folder.suffix.lower() in suffixes and not (folder.is_dir() or output.endswith(os.sep))
    if named_as_file or (os.path.lexists(folder) and not folder.is_dir()):
        raise UsageError(f"-o {printable(output)} is not a folder, and these inputs need one")
    return folder


def _stdin_job(output: str | None, into: Path | None) -> Job:
    if into:
        raise UsageError(f"standard input has no name to take inside {printable(into)}; give -o a file")
    return Job(None, None if output in (None, "-") else Path(str(output)), Path("stdin"))


def _beside_folder(folder: Path, tag: str) -> Path:
    named = folder if folder.name not in ("", "..") else folder.resolve()
    if not named.name:
        raise UsageError(f"{printable(folder)} has no name to put .{tag} behind; give -o a folder")
    return named.with_name(f"{named.name}.{tag}")


def _with_suffix(path: Path, suffix: Callable[[str], str] | None) -> Path:
    return path.with_suffix(suffix(path.suffix)) if suffix else path


def _walk(folder: Path, suffixes: frozenset[str], outputs: set[object], found: Found) -> Iterator[Path]:
    """Yield the regular files below a folder, sorted; never leave it through a link, never enter our own output."""

    def blocked(error: OSError) -> None:
        found.missing.append((str(error.filename), (error.strerror or str(error)).lower()))

    files = []
    for top, folders, names in os.walk(folder, onerror=blocked):
        names.sort()
        here = Path(top)
        for name in sorted(folders):
            if (here / name).is_symlink():  # os.walk lists it here and does not follow it
                found.skipped.append((here / name, "link to a folder"))
        folders[:] = [name for name in folders if identity(here / name) not in outputs]
        for name in names:
            unfinished = name.startswith(PART_PREFIX) and name.endswith(PART_SUFFIX)
            if unfinished or name.startswith(APPLE_DOUBLE):
                continue
            if not name.lower().endswith(tuple(suffixes)):
                if not name.startswith("."):
                    found.others.append(here / name)
                continue
            reason = _unreadable(os.path.join(top, name))  # noqa: PTH118
            if reason:
                found.skipped.append((here / name, reason))
            else:
                files.append(here / name)
    yield from sorted(files)


def _refuse_clashes(jobs: Sequence[Job]) -> None:
    sources = {identity(job.source): job.source for job in jobs if job.source}
    targets: dict[object, Job] = {}
    for job in jobs:
        if job.target is None:
            key: object = None
        else:
            key = identity(job.target)
            if key in sources:
                both = f"output {printable(job.target)} is the input {printable(sources[key])}"
                raise RefusedError(f"{both}; name another -o, or leave earlier outputs out of the inputs")
        other = targets.setdefault(key, job)
        if other is not job:
            names = " and ".join(printable(each.source or "-") for each in (other, job))
            raise RefusedError(f"{names} would both be written to {printable(job.target or 'standard output')}")


def settle(jobs: Iterable[Job], on_exists: OnExists | None = None) -> tuple[list[Job], list[Job]]:
    """Split jobs into those to do and those whose target is there already.

    By default the files of a folder are skipped, so that a run that was stopped goes on, and a file that was
    named is refused, so that nothing is lost.

    Raises
    ------
    RefusedError
        Naming the first target that would be overwritten, or written through a link out of the output folder.
    """
    todo: list[Job] = []
    skipped: list[Job] = []
    refused: list[Job] = []
    inside: set[Path] = set()  # folders of the output that are no links
    for job in jobs:
        if job.resume and job.target is not None:
            refuse_link(job.target, len(job.relative.parts) - 1, inside)
        # A link that leads nowhere is no file that an earlier run has finished; it is replaced, not followed.
        there = job.target is not None and (os.path.exists if job.resume else os.path.lexists)(job.target)
        if job.target is None or not there:
            todo.append(job)
            continue
        if job.target.is_dir() and not job.target.is_symlink():
            raise RefusedError(f"output {printable(job.target)} is a folder")
        if job.resume and not job.target.is_file():
            raise RefusedError(f"output {printable(job.target)} is there, and not a regular file")
        action = on_exists or ("skip" if job.resume else "error")
        {"skip": skipped, "overwrite": todo, "error": refused}[action].append(job)
    if refused:
        name = printable(refused[0].target or "")
        those = f"{name} and {len(refused) - 1} more exist" if len(refused) > 1 else f"{name} exists"
        raise RefusedError(f"output {those}; use --on-exists skip or --on-exists overwrite")
    return todo, skipped
