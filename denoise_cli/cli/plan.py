"""What a training is to do, by the command line, by the model that it begins with, and by the kind of files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from denoise_cli.cli import architectures, screen
from denoise_cli.cli import options as opt
from denoise_cli.errors import UsageError, choice
from denoise_cli.media.layout import TABULAR

if TYPE_CHECKING:
    from denoise_cli.train import loop


class Precision(StrEnum):
    float = "float"
    int8 = "int8"


class Kind(StrEnum):
    image = "image"
    audio = "audio"
    table = "table"
    series = "series"


def refuse(kind: Kind, noise_dir: Path | None, column: list[str], noise: list[str] | None, fgsm: float) -> None:
    """Options that do not go with this kind of files."""
    sound, tabular = kind is Kind.audio, kind.value in TABULAR
    if noise_dir is not None and not sound:
        raise UsageError("--noise-dir goes with --kind audio")
    if column and not tabular:
        raise UsageError("--column goes with --kind table or series")
    if twice := [name for name in column if column.count(name) > 1]:
        raise UsageError(f"--column {twice[0]} is given twice")
    if noise and sound:
        raise UsageError("--noise is for pictures; recordings are mixed with those of --noise-dir")
    if fgsm > (full := 1 if sound else 255):
        raise UsageError(f"--fgsm {fgsm:g} is beyond full scale, which is {full} for {kind.value} files")
    if tabular and fgsm:
        raise UsageError("--fgsm is for pictures and recordings: the columns of a table have units of their own")


def halves(context: typer.Context, amp: bool | None, device: str) -> bool:
    """Whether to train in bfloat16; where that is slow only if the command line says so."""
    from denoise_cli import processor

    amp = device == "cuda" if amp is None else amp
    if amp and device == "cpu" and not processor.multiplies_halves():
        amp = opt.given(context, "amp")
        slow = "--amp will be slow" if amp else "training in float"
        screen.say(f"this processor has no arithmetic for bfloat16: {slow}")
    return amp


def settings(values: dict[str, Any], before: Mapping[str, Any]) -> loop.Options:
    """The options of a training by those of the command line, by `before`, what --init is, or by the kind."""
    from denoise_cli import nets
    from denoise_cli.train import loop, tables
    from denoise_cli.train.sounds import SEGMENT

    kind = values["kind"].value
    if before.get("kind", kind) != kind:  # a model says so, a checkpoint does not
        of = f"a model for files of another kind; give --kind {before['kind']}"
        raise UsageError(f"--init {values['init']}: {of}")
    usual: dict[str, Any] = {"arch": "unet", "batch_size": 16}
    usual |= {"noise": loop.Options.noise, "patch": loop.Options.patch}
    if kind == "audio":
        usual |= {"arch": "band-mixer", "noise": "", "patch": SEGMENT}
    elif kind in TABULAR:
        usual = {"arch": tables.ARCH[kind], "noise": tables.NOISE[kind], "patch": tables.SEGMENT,
                 "batch_size": tables.BATCH[kind], "optimiser": tables.OPTIMISER}  # fmt: skip
        usual |= {"lr": tables.RATE} if values["optimiser"] is None else {}

    def said(name: str) -> Any:
        return usual.get(name, getattr(loop.Options, name, None)) if values[name] is None else values[name]

    arch = values["arch"] or before.get("arch") or usual["arch"]
    if arch not in nets.NETS:
        raise UsageError(choice("architecture", arch, nets.NETS))
    if getattr(nets.NETS[arch], "kind", "image") not in (kind, None):  # None: known when it is built
        raise UsageError(f"{arch} is not a net for {kind}; see --kind and --arch")
    net = before["net"] if arch == before.get("arch") else {}
    same = ("ema", "amp", "seed", "weight_noise", "param_noise", "fgsm", "augment", "epochs", "steps")
    return loop.Options(
        arch=arch,
        net=net | architectures.net_options(values["net"] or []),
        noise=usual["noise"] and "+".join(values["noise"] or [before.get("noise") or usual["noise"]]),
        loss=values["loss"] or before.get("loss") or nets.NETS[arch].default_loss,
        **{name: said(name) for name in ("optimiser", "lr", "batch_size", "patch")},
        gray=values["gray"] if kind == "image" else 0,
        int8=values["precision"] is Precision.int8,
        max_time=None if values["max_time"] is None else duration(values["max_time"]),
        **{name: values[name] for name in same},
    )


def duration(text: str) -> float:
    """``90``, ``90s``, ``20m``, ``1h30m`` -> seconds."""
    match = re.fullmatch(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?", text.strip())
    if match is None or not any(match.groups()):
        raise UsageError(f'"{text}" is not a time; write 90s, 20m or 1h30m')
    hours, minutes, seconds = (float(group or 0) for group in match.groups())
    return hours * 3600 + minutes * 60 + seconds
