"""``denoise corrupt``: add noise to files, folders and pipes."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from denoise_cli.cli import options as opt


def corrupt(
    inputs: opt.Inputs = None,
    output: opt.Output = None,
    std: Annotated[
        str | None,
        typer.Option("--std", help="Gaussian noise, in 8-bit steps: 50, or a range 0-55 drawn per file."),
    ] = None,
    mean: Annotated[str, typer.Option("--mean", help="Mean of the Gaussian noise, in 8-bit steps.")] = "0",
    noise: opt.Noise = None,
    clip: Annotated[
        bool, typer.Option("--clip/--no-clip", help="Clip and round to the file's depth, or write float TIFF.")
    ] = True,
    seed: opt.Seed = 0,
    workers: Annotated[int, typer.Option("-j", "--jobs", min=1, help="Files at once.")] = 2,
    on_exists: opt.Exists = None,
    dry_run: opt.DryRun = False,
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = False,
) -> None:
    """Add noise: folder/ becomes folder.noisy/, x.png becomes x.noisy.png.

    Noise specs: gaussian:std=25,mean=0  uniform:width=25  speckle:std=0.2  poisson:peak=100
    salt-pepper:amount=0.1,salt=0.5  masking:amount=0.25,size=1,value=0  jpeg:quality=75  quantise:bits=8.
    Any number may be a range, as in gaussian:std=0-55, and p=0.5 applies it to half of the files.
    The same seed and file give the same noise, whatever else is done.
    """
    from denoise_cli import noising
    from denoise_cli.cli import jobs as listing
    from denoise_cli.corrupt import Chain, Gaussian, parse
    from denoise_cli.errors import UsageError

    chain = parse(noise or [])
    if std is not None:
        chain = Chain((Gaussian(std=std, mean=mean), *chain.parts))
    elif mean != "0":
        raise UsageError("--mean goes with --std")
    if not chain.parts:
        raise UsageError("say what noise: --std 25, or --noise SPEC")
    found, todo, skipped = listing.plan(
        inputs, None, output, on_exists, tag="noisy", suffix=None if clip else ".tif"
    )
    if dry_run:
        listing.show(todo, skipped)
        raise typer.Exit(1 if found.missing else 0)
    began = time.perf_counter()
    results = listing.follow(
        noising.run(todo, chain, seed=seed, hands=workers, floating=not clip), len(todo), quiet, verbose
    )
    if not quiet:
        listing.summary(results, len(skipped), len(found.missing), time.perf_counter() - began)
    raise typer.Exit(1 if found.missing or any(result.error for result in results) else 0)
