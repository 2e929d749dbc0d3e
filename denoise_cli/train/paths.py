"""Where a training writes, and whether it may; known before torch is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from denoise_cli.errors import RefusedError, UsageError


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


def check_output(output: Path, resume: bool, overwrite: bool) -> None:
    """Raise UsageError or RefusedError where the model cannot be written to `output`."""
    paths = Paths(output)
    if paths.model.suffix != ".onnx":
        raise UsageError(f"-o {paths.model}: a model is an .onnx file")
    if overwrite and resume:
        raise UsageError("--resume goes on and --overwrite starts anew: give one of them")
    if overwrite or resume:
        return
    if paths.model.exists():
        raise RefusedError(f"{paths.model} is there already; --overwrite replaces it")
    if paths.checkpoint.exists():
        raise RefusedError(
            f"{paths.checkpoint} is there already; --resume goes on from it, --overwrite starts anew"
        )
