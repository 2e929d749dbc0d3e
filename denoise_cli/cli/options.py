"""Option types that commands share."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from denoise_cli.signal import Kind

KINDS: dict[str, Kind] = {"Pictures": "image", "Recordings": "audio", "Tables": "table"}  # how a help text begins


class OnExists(StrEnum):
    error = "error"
    skip = "skip"
    overwrite = "overwrite"


class Clip(StrEnum):
    clamp = "clamp"
    rescale = "rescale"


Inputs = Annotated[
    list[str] | None,
    typer.Argument(metavar="INPUT...", help="Files, folders, globs, or - for stdin.", show_default=False),
]
Output = Annotated[
    str | None, typer.Option("-o", "--output", help="A file, a folder, or - for stdout.", show_default=False)
]
Model = Annotated[
    str | None,
    typer.Option(
        "-m",
        "--model",
        help="image, gray, image-white, gray-white, speech, speech-fast, or an .onnx file.",
        show_default="by what the file is, and its noise",
    ),
]
Device = Annotated[str, typer.Option("-d", "--device", help="auto, cpu, cuda or cuda:N.")]
Precision = Annotated[
    str,
    typer.Option(
        "--precision",
        help="float, int8, fp16, or auto: of a shipped model the form that suits the device, if it has one.",
    ),
]
Batch = Annotated[
    int | None,
    typer.Option("-b", "--batch", help="Tiles in one call of the model.", show_default="1 on cpu, 8 on cuda"),
]
Tile = Annotated[int | None, typer.Option("-t", "--tile", help="Pictures: side of a tile.", show_default="1120")]
Threads = Annotated[int | None, typer.Option("--threads", help="Tiles at once.", show_default="all cores")]
Strength = Annotated[float, typer.Option("--strength", help="0 leaves the input, 1 is all the model gives.")]
Ensemble = Annotated[
    int,
    typer.Option(
        "--ensemble", metavar="1|2|4|8", help="Pictures: mean over this many mirrored copies; better, and slower."
    ),
]
Std = Annotated[
    float | None,
    typer.Option(
        "--std",
        help="Noise level in 8-bit steps, for a model that is told it; those that ship find it themselves.",
        show_default="blind",
    ),
]
_IF_THERE = "What to do if an output exists."
Exists = Annotated[
    OnExists | None, typer.Option("--on-exists", help=_IF_THERE, show_default="skip in folders, else error")
]
NeverSkipped = Annotated[OnExists | None, typer.Option("--on-exists", help=_IF_THERE, show_default="error")]
_NOISE = "A corruption, e.g. salt-pepper:amount=0.1; repeat to compose. All are listed by denoise corrupt --help."
Noise = Annotated[list[str] | None, typer.Option("--noise", metavar="SPEC", help=_NOISE)]
TrainingNoise = Annotated[
    list[str] | None,
    typer.Option(
        "--noise",
        metavar="SPEC",
        help=_NOISE,
        show_default="gaussian:std=0-55+quantise:p=0.7; tables masking, series gaussian and masking",
    ),
]
MaxPixels = Annotated[
    int | None,
    typer.Option(
        "--max-pixels",
        metavar="N",
        help="Pictures: refuse larger ones, all frames together.",
        show_default="178 million, 67 million where a format is decoded whole",
    ),
]
MaxHours = Annotated[
    float | None,
    typer.Option("--max-hours", metavar="H", help="Recordings: refuse longer ones.", show_default="100"),
]
DryRun = Annotated[bool, typer.Option("-n", "--dry-run", help="Say what would be done, and do nothing.")]

Json = Annotated[bool, typer.Option("--json", help="Print the results as JSON on stdout.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Only errors.")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="A line for every file.")]
Seed = Annotated[int, typer.Option("--seed", min=0, max=2**63 - 1, help="Seed of the noise.")]


def given(context: typer.Context, name: str) -> bool:
    """Whether an option stands on the command line."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def idle(context: typer.Context, kinds: Collection[Kind]) -> Iterator[str]:
    """Yield a line for each option given that is for files of a kind of which there are none, as its help says."""
    for parameter in context.command.params:
        word = (getattr(parameter, "help", None) or "").partition(":")[0]
        name = parameter.name or ""
        if KINDS.get(word) not in (None, *kinds) and given(context, name):
            names = parameter.secondary_opts if context.params[name] is False else parameter.opts
            yield f"{names[-1]} is for {word.lower()}, and there are none"
