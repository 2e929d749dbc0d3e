"""``denoise quantise``: a model in another precision."""

from __future__ import annotations

import enum
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from denoise_cli.cli import options as opt
from denoise_cli.cli import screen
from denoise_cli.errors import BackendError, UsageError


class To(enum.StrEnum):
    int8 = "int8"
    fp16 = "fp16"


def quantise(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A float model for pictures: .onnx, or a shipped name.")
    ],
    clean: Annotated[
        Path | None,
        typer.Argument(metavar="PICTURES", help="For int8: a folder of clean ones.", show_default=False),
    ] = None,
    to: Annotated[To, typer.Option("--to", help="The precision.", show_choices=True)] = To.int8,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="The model to write.",
            show_default="MODEL.int8.onnx or .fp16.onnx",
        ),
    ] = None,
    seed: opt.Seed = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output.")] = False,
    quiet: opt.Quiet = False,
) -> None:
    """Turn a model into 8-bit integers, two to three times faster on processors with VNNI or dot products, or, with
    --to fp16, into half precision, for GPUs.

    denoise run --precision int8 -m MODEL then finds it beside a MODEL of yours, as --precision fp16 does; that of a
    shipped model is named itself, -m image.int8.onnx. int8 costs quality, the more the fainter the noise: measure
    both forms with denoise eval. denoise train --precision int8 --init MODEL wins some of it back.
    """
    try:
        from denoise_cli.train.half import halve
        from denoise_cli.train.quantise import quantise as to_int8
    except ImportError as error:
        raise BackendError(f'quantising needs {error.name}; run: pip install "denoise-cli[train]"') from None

    from denoise_cli import shipped
    from denoise_cli.media.files import keep_apart
    from denoise_cli.model_file import ModelFile
    from denoise_cli.train.paths import check_output

    if to is To.int8 and clean is None:
        raise UsageError("int8 takes its ranges from pictures: denoise quantise MODEL PICTURES")
    if to is To.fp16 and clean is not None:
        raise UsageError("fp16 needs no pictures: denoise quantise MODEL --to fp16")
    target = output or Path(model).with_suffix(f".{to.value}.onnx")  # of a shipped name: in the working folder
    source = shipped.locate(model)
    keep_apart([target], [source])
    check_output(target, False, overwrite, parts=[source])
    command = shlex.join(["denoise", *sys.argv[1:]])
    if clean is None:
        halve(source, target, command=command)
    else:
        to_int8(source, clean, target, seed=seed, command=command, say=screen.say)
    if not quiet and ModelFile.read(source).card.anomaly:
        screen.say("the threshold for anomalies is not that of this form: denoise eval --anomaly --store finds one")
    if not quiet:
        size, before = (path.stat().st_size / 1e3 for path in (target, source))
        use = "" if target.parent.resolve() == source.parent.resolve() else f"; denoise run -m {target} takes it"
        screen.say(f"{target}: {size:,.0f} kB in {to.value}; {before:,.0f} in float{use}")
