"""``denoise quantise``: the int8 form of a model."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from denoise_cli.cli import options as opt
from denoise_cli.cli import screen
from denoise_cli.errors import BackendError, RefusedError, UsageError


def quantise(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A float model for pictures: .onnx, or a shipped name.")
    ],
    clean: Annotated[Path, typer.Argument(metavar="PICTURES", help="A folder of clean pictures, for the ranges.")],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="The model to write.", show_default="MODEL.int8.onnx, which run finds"),
    ] = None,
    seed: opt.Seed = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output.")] = False,
    quiet: opt.Quiet = False,
) -> None:
    """Turn a model into 8-bit integers: two to three times faster on processors with VNNI or dot products.

    denoise run --precision int8 -m MODEL then finds it beside MODEL. It costs quality, the more
    the fainter the noise: measure both forms with denoise eval.
    """
    try:
        from denoise_cli.train.quantise import quantise as to_int8
    except ImportError as error:
        raise BackendError(f'quantising needs {error.name}; run: pip install "denoise-cli[train]"') from None

    from denoise_cli import shipped
    from denoise_cli.media.files import check_writable, keep_apart

    target = output or Path(model).with_suffix(".int8.onnx")  # of a shipped name: in the working folder
    source = shipped.locate(model)
    if target.suffix != ".onnx":
        raise UsageError(f"-o {target}: a model is an .onnx file")
    keep_apart([target], [source])
    if target.exists() and not overwrite:
        raise RefusedError(f"{target} is there already; --overwrite replaces it")
    check_writable([target])
    command = shlex.join(["denoise", *sys.argv[1:]])
    to_int8(source, clean, target, seed=seed, command=command, say=screen.say)
    if not quiet:
        screen.say(
            f"{target}: {target.stat().st_size / 1e6:.1f} MB in int8; {source.stat().st_size / 1e6:.1f} in float"
        )
