"""Where a training writes, and whether it may; known before torch is loaded."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from denoise_cli.errors import RefusedError, UsageError
from denoise_cli.media import files
from denoise_cli.media.beside import printable

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
    """Raise UsageError where `output` cannot be the name of a model with what stands beside it."""
    if output.suffix != ".onnx":
        raise UsageError(f"-o {output}: a model is an .onnx file")
    if max(len(os.fsencode(path.name)) for path in Paths(output).all) > LONGEST_NAME:
        raise UsageError(f"-o {printable(output)}: too long a name for what stands beside the model")


def check_output(output: Path, resume: bool, overwrite: bool, *, sheet: bool = True, alone: bool = False) -> None:
    """Raise UsageError or RefusedError where a training cannot write `output` and what stands beside it.

    `sheet` is whether its kind has one; `alone`, whether nothing stands beside it.
    """
    paths = Paths(output)
    check_name(output)
    if overwrite and resume:
        raise UsageError("--resume goes on and --overwrite starts anew: give one of them")
    written = [path for path in paths.all if sheet or path != paths.sheet] if not alone else [paths.model]
    files.check_writable(written)
    if overwrite or (resume and paths.checkpoint.exists()):
        return
    for path in written:
        if os.path.lexists(path):
            also = "--resume goes on from it, --overwrite starts anew"
            way = also if path == paths.checkpoint else "--overwrite replaces it"
            none = f"there is no {printable(paths.checkpoint)} to go on from, and " if resume else ""
            raise RefusedError(f"{none}{printable(path)} exists already; {way}")
