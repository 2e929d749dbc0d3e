"""``denoise corrupt``: add noise to files, folders and pipes."""

from __future__ import annotations

import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from denoise_cli.cli import options as opt
from denoise_cli.cli import screen


class Tabular(StrEnum):
    table = "table"
    series = "series"


def corrupt(
    inputs: opt.Inputs = None,
    output: opt.Output = None,
    std: Annotated[
        str | None,
        typer.Option(
            "--std",
            help="White noise: in 8-bit steps for pictures, e.g. 50; full scale = 1 for recordings, e.g. 0.05. "
            "A range such as 0-55 is drawn from for every file.",
        ),
    ] = None,
    mean: Annotated[str, typer.Option("--mean", help="Mean of the white noise, in the unit of --std.")] = "0",
    snr: Annotated[
        str | None,
        typer.Option(
            "--snr",
            metavar="DB",
            help="White noise, or that of --noise-file, so far below a recording's active level.",
        ),
    ] = None,
    noise_file: Annotated[
        Path | None,
        typer.Option(
            "--noise-file",
            metavar="FILE|DIR",
            help="Mix a noise recording into recordings, at --snr: looped, from a random place on.",
        ),
    ] = None,
    noise: opt.Noise = None,
    clip: Annotated[
        bool,
        typer.Option("--clip/--no-clip", help="Clip and round to the file's depth, or write float TIFF and WAV."),
    ] = True,
    kind: Annotated[
        Tabular | None,
        typer.Option(
            "--kind", help="Take tables from folders, or arrays as series: channels x time.", show_default="by name"
        ),
    ] = None,
    seed: opt.Seed = 0,
    workers: Annotated[int, typer.Option("-j", "--jobs", min=1, help="Files at once.")] = 2,
    max_pixels: opt.MaxPixels = None,
    max_hours: opt.MaxHours = None,
    on_exists: opt.Exists = None,
    dry_run: opt.DryRun = False,
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = False,
) -> None:
    """Add noise: folder/ becomes folder.noisy/, x.png becomes x.noisy.png.

    For both: gaussian:std=25,mean=0  uniform:width=25  speckle:std=0.2  salt-pepper:amount=0.1,salt=0.5
    masking:amount=0.25,size=1,value=0  quantise:bits=8. A value is from 0, black, to 1, white. In recordings
    full scale is 1 and a size is in ms.

    For pictures: poisson:peak=100  jpeg:quality=75  camera:shot=0.0001-0.012,luma=0-1,chroma=0-4.

    For recordings: pink:std=0.05  brown:std=0.05  hum:frequency=50,std=0.05,harmonics=8
    clicks:rate=5,level=0.5,width=3  dropouts:rate=2,length=20  clipping:threshold=0.5 (or crest=DB).
    Of these pink, brown and hum, and gaussian and uniform, take snr=DB instead of a strength, against the level of
    the file where it is not silent.

    For tables, in standard deviations of each column: gaussian uniform salt-pepper (stuck 3 from the mean), and
    masking:amount=0.2,size=1, after which values are missing.

    The numbers shown hold where none is given, but those of gaussian and uniform for pictures alone. Any may be a
    range, as in gaussian:std=0-55, and p=0.5 applies it to half of the files.
    For pictures a strength in 8-bit steps may be a part of full scale: gaussian:std=0.5fs is std=127.5.
    "camera+jpeg" is one after the other, as is --noise given twice; "gaussian|camera" is one of them for each file,
    and binds closer: "gaussian|camera+jpeg" is one of the two, and then JPEG; "gaussian|(camera+jpeg)" is not.
    The same seed and file give the same noise, whatever else is done.
    """
    from denoise_cli import noising
    from denoise_cli.cli import jobs as listing
    from denoise_cli.corrupt import Chain, Gaussian, parse
    from denoise_cli.errors import UsageError
    from denoise_cli.media import SUFFIXES
    from denoise_cli.media.layout import TABLE_SUFFIXES, Layout
    from denoise_cli.media.limits import Limits

    layout = None if kind is None else Layout("series" if kind is Tabular.series else "table")
    if kind is not None and any("fs" in part for part in (*(noise or ()), std or "", mean)):
        raise UsageError("tables have no full scale: strengths are in standard deviations of each column")
    chain = parse(noise or [])
    noises: tuple[Path, ...] = ()
    if noise_file is not None:
        from denoise_cli.noise_file import NoiseFile

        if snr is None:
            raise UsageError("--noise-file needs a loudness: --snr 10")
        recorded = NoiseFile.of(noise_file, snr)
        chain, noises = Chain((recorded, *chain.parts)), recorded.paths
    if std is not None and snr is not None and noise_file is None:
        raise UsageError("white noise takes --std or --snr, not both")
    if std is not None:
        chain = Chain((Gaussian(std=std, mean=mean), *chain.parts))
    elif snr is not None and noise_file is None:
        chain = Chain((Gaussian(snr=snr, mean=mean), *chain.parts))
    elif mean != "0":
        raise UsageError("--mean goes with --std, or with --snr for white noise")
    if not chain.parts:
        raise UsageError("say what noise: --std 25, --snr 10 or --noise SPEC")
    limits = Limits.of(max_pixels, max_hours)
    found, todo, skipped = listing.plan(
        inputs, None, output, on_exists, read=noises, tag="noisy", quiet=quiet,
        suffix=None if clip else _float_suffix, suffixes=TABLE_SUFFIXES if kind else SUFFIXES,
    )  # fmt: skip
    if not clip:
        for job in todo:
            listing.check_floating(job)
    if dry_run:
        listing.show(todo, skipped)
        raise typer.Exit(1 if found.missing else 0)
    if not todo:
        if not quiet:
            screen.say(listing.nothing(found, skipped, "tables" if kind else "pictures or recordings"))
        raise typer.Exit(1 if found.missing else 0)
    began = time.perf_counter()
    results = listing.follow(
        noising.run(todo, chain, seed=seed, hands=workers, floating=not clip, limits=limits, layout=layout),
        len(todo), quiet, verbose, unclipped="--no-clip",
    )  # fmt: skip
    if not quiet:
        listing.summary(results, len(skipped), len(found.missing), time.perf_counter() - began)
    raise typer.Exit(1 if found.missing or any(result.error for result in results) else 0)


def _float_suffix(suffix: str) -> str:
    """What holds unclipped samples: float WAV for recordings, float TIFF for all else."""
    from denoise_cli import media

    if suffix.lower() in media.TABLE_SUFFIXES:
        return suffix
    return ".wav" if suffix.lower() in media.AUDIO_SUFFIXES else ".tif"
