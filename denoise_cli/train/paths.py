"""Where a training writes, and whether it may; known before torch is loaded."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from denoise_cli.errors import RefusedError, UsageError, printable
from denoise_cli.media import files

LONGEST_NAME = 255  # bytes, of nearly every file system


@dataclass(frozen=True)
class Paths:
    """Everything a training writes, named after the model."""

    model: Path

    @property
    def checkpoint(self) -> Path:
        return self.model.with_suffix(".ckpt")

    @property
    def curve(self) -> Path:
        return self.model.with_suffix(".curve.png")

    @property
    def sheet(self) -> Path:
        return self.model.with_suffix(".sheet.png")

    @property
    def all(self) -> list[Path]:
        return [self.model, self.checkpoint, self.curve, self.sheet]


def check_name(output: Path) -> None:
    """Raise UsageError where `output` is no name of a model."""
    if output.suffix != ".onnx":
        raise UsageError(f"-o {output}: a model is an .onnx file")


def check_output(
    output: Path, resume: bool, overwrite: bool, *, sheet: bool = True, parts: Sequence[Path] | None = None
) -> None:
    """Raise UsageError or RefusedError where a training cannot write `output` and what stands beside it.

    `sheet` is whether its kind has one. A model that is made of others, `parts`, has nothing beside it, and
    `resume` goes on from them.
    """
    paths = Paths(output)
    check_name(output)
    if parts is None and max(len(os.fsencode(path.name)) for path in paths.all) > LONGEST_NAME:
        raise UsageError(f"-o {printable(output)}: too long a name for what stands beside the model")
    if overwrite and resume:
        raise UsageError("--resume goes on and --overwrite starts anew: give one of them")
    if parts is None:
        begun, written = [paths.checkpoint], [path for path in paths.all if sheet or path != paths.sheet]
    else:
        begun, written = [path for part in parts for path in (part, Paths(part).checkpoint)], [paths.model]
    files.check_writable(written)
    if overwrite or (resume and any(path.exists() for path in begun)):
        return
    for path in written:
        if os.path.lexists(path):
            also = "--resume goes on from it, --overwrite starts anew"
            way = also if path == paths.checkpoint else "--overwrite replaces it"
            none = f"there is no {printable(paths.checkpoint)} to go on from, and " if resume and not parts else ""
            raise RefusedError(f"{none}{printable(path)} exists already; {way}")
