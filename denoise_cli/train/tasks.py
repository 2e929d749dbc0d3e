"""What a training of pictures and one of recordings do differently: their data, their score, their sheet.

fit.py  ->  Task.stream -> loop.py          Task.validate, Task.sheet: pictures.py, sounds.py
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from PIL.Image import Image
from torch import nn

from denoise_cli.errors import TrainingError, UsageError
from denoise_cli.media import files
from denoise_cli.train.loop import Options
from denoise_cli.train.stream import Stream

T = TypeVar("T")

LeftOut = tuple[Path, str]  # a file or folder, and why
HELD_OUT = 90  # without --val, one file in so many is held out (at least one, if there are four or more)


class Task(Protocol):
    """Made from folders, which it lists and refuses; `load` then reads them."""

    metric: str  # what `validate` returns, in dB: "PSNR"
    options: Options  # as given, with what the files decide filled in
    count: int  # files to train on
    files: list[Path]  # all that it reads

    @property
    def kind(self) -> str:
        """That of the card."""
        ...

    @property
    def stream(self) -> Stream[Any]:
        """What to train on; after `load`."""
        ...

    def check(self, net: nn.Module) -> None:
        """Raise UsageError where the net cannot be trained with these options."""
        ...

    def load(self, net: nn.Module, device: torch.device, say: Callable[[str], None]) -> None: ...

    def card(self) -> dict[str, Any]:
        """Fields of the card that depend on the kind of file."""
        ...

    def validate(self, net: nn.Module) -> float | None:
        """Mean score of `net` on the held-out files, dB; None where there are none."""
        ...

    def scores(self, net: nn.Module) -> dict[str, float]:
        """Every score that is to be had, by name, for the end of a training; empty without held-out files."""
        ...

    def sheet(self, net: nn.Module) -> Image | None:
        """Original / noisy / denoised, drawn; None where there are no held-out files."""
        ...


def listing(root: Path, suffixes: frozenset[str], left_out: list[LeftOut]) -> list[Path]:
    """Files below a folder that end in one of the suffixes, sorted; UsageError where there is no such folder.

    What is not entered or cannot be read is added to `left_out`.
    """
    if not root.exists():
        raise UsageError(f"{root}: no such file or folder")
    found = files.find([str(root)], None, suffixes=suffixes)
    left_out += [*found.skipped, *((Path(name), reason) for name, reason in found.missing)]
    return [job.source for job in found.jobs if job.source is not None]


def split(
    clean: Path, val: Path | None, suffixes: frozenset[str], what: str, left_out: list[LeftOut]
) -> tuple[list[Path], list[Path]]:
    """Files to train on and files to validate on; `what` they are, for messages. `left_out` as for `listing`."""
    everything = listing(clean, suffixes, left_out)
    if not everything:
        raise TrainingError(f"{clean}: no {what} to train on; --kind says what to look for")
    if val is not None:
        inside = listing(val, suffixes, left_out)
        if not inside:
            raise UsageError(f"--val {val}: no {what} in it")
        taken = {path.resolve() for path in inside}
        rest = [path for path in everything if path.resolve() not in taken]
        if not rest:
            raise UsageError(f"--val {val}: holds all {what} of {clean}, and none is left to train on")
        return rest, inside
    held = held_out(everything)
    return [path for path in everything if path not in set(held)], held


def to_validate(read: Callable[[], list[T]], val: Path | None, say: Callable[[str], None]) -> list[T]:
    """What `read` gives of the files held out; [] where it can read none, UsageError if `val` named them."""
    try:
        return read()
    except TrainingError:
        if val is not None:
            raise UsageError(f"--val {val}: nothing in it can be read") from None
        say("nothing that was held out can be read, so nothing is validated")
        return []


def held_out(paths: Sequence[T]) -> list[T]:
    return list(paths[::HELD_OUT]) if len(paths) >= 4 else []


def skipping(say: Callable[[str], None], left_out: Sequence[LeftOut] = ()) -> Callable[[Path, str], None]:
    """A callback that says which file is left out, and why, in one line; first those that are known already."""

    def skip(path: Path, reason: str) -> None:
        say(f"left out: {reason if str(path) in reason else f'{path}: {reason}'}")

    for path, reason in left_out:
        skip(path, reason)
    return skip
