"""``denoise average``: several models as one."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from denoise_cli.cli import options as opt
from denoise_cli.cli import screen
from denoise_cli.errors import BackendError, UsageError


def average(
    models: Annotated[
        list[str], typer.Argument(metavar="MODEL...", help="Two or more: .onnx files, or shipped names.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The model to write, .onnx.")],
    weights: Annotated[
        bool,
        typer.Option(
            "--weights",
            help="The mean of their weights: one net, as fast as each. Of trainings that went on from one model.",
        ),
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output.")] = False,
    quiet: opt.Quiet = False,
) -> None:
    """Join models for the same files into one that gives the mean of what they give.

    Models that were trained apart are wrong in different ways, so their mean is nearer to the clean file than they
    are on average; it takes as long as all of them. Trainings that went on from one model (denoise train --init)
    may have their weights averaged instead. Measure it with denoise eval. The result is a model like any other:
    denoise train --init OUTPUT trains all of its nets on together.
    """
    from denoise_cli import shipped
    from denoise_cli.media.files import keep_apart
    from denoise_cli.train.paths import check_output

    if len(models) < 2:
        raise UsageError("an average is of two models or more")
    sources = [shipped.locate(model) for model in models]
    keep_apart([output], sources)
    check_output(output, False, overwrite, parts=sources)
    write(sources, output, weights=weights, quiet=quiet)


def write(sources: list[Path], output: Path, *, weights: bool = False, quiet: bool) -> None:
    """Write the average, and say so."""
    try:
        from denoise_cli.train import average as means
    except ImportError as error:
        raise BackendError(f'averaging needs {error.name}; run: pip install "denoise-cli[train]"') from None

    join = means.average_weights if weights else means.average
    join(sources, output, name=output.stem, command=shlex.join(["denoise", *sys.argv[1:]]))
    if not quiet:
        what = f"the weights of {len(sources)} models" if weights else f"{len(sources)} models"
        screen.say(f"{output}: the mean of {what}, {output.stat().st_size / 1e6:.1f} MB")
