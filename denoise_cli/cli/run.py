"""``denoise run``, also ``denoise denoise``: clean files, folders and pipes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from denoise_cli.cli import before_after, screen
from denoise_cli.cli import options as opt
from denoise_cli.errors import UsageError, printable

if TYPE_CHECKING:
    from denoise_cli.card import ModelCard
    from denoise_cli.media.files import Job
    from denoise_cli.session import Session
    from denoise_cli.signal import Header


def run(
    context: typer.Context,
    inputs: opt.Inputs = None,
    output: opt.Output = None,
    model: opt.Model = None,
    files_from: Annotated[
        str | None, typer.Option("--files-from", help="Read input names, a line each, from this file or -.")
    ] = None,
    strength: opt.Strength = 1.0,
    ensemble: opt.Ensemble = 1,
    std: opt.Std = None,
    link: Annotated[
        bool, typer.Option("--link/--no-link", help="Recordings: one gain for all channels, or each for itself.")
    ] = True,
    atten_lim: Annotated[
        float | None,
        typer.Option(
            "--atten-lim",
            metavar="DB",
            help="Recordings: lower noise by at most this much; inf for all the model gives.",
            show_default="to 56 dB below the voice, by 8 to 52",
        ),
    ] = None,
    sample_rate: Annotated[
        int | None,
        typer.Option(
            "--sample-rate", metavar="HZ", help="Recordings: write at this rate.", show_default="the input's"
        ),
    ] = None,
    bit_depth: Annotated[
        str | None,
        typer.Option("--bit-depth", help="Recordings: 8, 16, 24, 32 or float.", show_default="the input's"),
    ] = None,
    clip: Annotated[
        opt.Clip,
        typer.Option("--clip", help="Recordings: what exceeds full scale is cut, or the whole file lowered."),
    ] = opt.Clip.clamp,
    impute: Annotated[
        bool | None,
        typer.Option(
            "--impute/--no-impute",
            help="Tables: replace missing values only, or every value.",
            show_default="impute where a file holds missing ones",
        ),
    ] = None,
    mask: Annotated[
        Path | None,
        typer.Option(
            "--mask",
            metavar="FILE",
            help="Fill holes of one picture, white in this one, as both are shown, and keep the rest; -m trained "
            "with masking noise.",
        ),
    ] = None,
    quality: Annotated[
        int | None,
        typer.Option(
            "--quality",
            min=1,
            max=100,
            metavar="1..100",
            help="Pictures: of JPEG, and of WebP and AVIF, which are lossy then.",
            show_default="95, AVIF 90; lossless stays so",
        ),
    ] = None,
    device: opt.Device = "auto",
    precision: opt.Precision = "auto",
    threads: opt.Threads = None,
    batch: opt.Batch = None,
    tile: opt.Tile = None,
    max_pixels: opt.MaxPixels = None,
    max_hours: opt.MaxHours = None,
    on_exists: opt.Exists = None,
    flag_anomalies: Annotated[
        bool,
        typer.Option(
            "--flag-anomalies",
            help="Mark files that the model gives back badly: see eval --anomaly --store.",
        ),
    ] = False,
    dry_run: opt.DryRun = False,
    compare: Annotated[
        Path | None, typer.Option("--compare", metavar="DIR", help="Write before / after pictures there.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE", help="Write a report, .json or .csv.")
    ] = None,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = False,
) -> None:
    """Clean pictures and recordings, and with a model of yours tables: files, whole folders or a pipe.

    folder/ becomes folder.denoised/, x.png becomes x.denoised.png; finished files of a folder are skipped,
    so a stopped run goes on where it was. Exit codes: 0 done, 1 some files failed, 2 usage, 3 no model.
    """
    from denoise_cli import denoise, media, memory, shipped
    from denoise_cli import report as reports
    from denoise_cli.cli import jobs as listing
    from denoise_cli.media import files
    from denoise_cli.media.containers import AudioOptions
    from denoise_cli.media.layout import TABLE_SUFFIXES, is_table
    from denoise_cli.media.limits import Limits
    from denoise_cli.model_file import layout as model_layout
    from denoise_cli.models import Models
    from denoise_cli.pipeline import Result

    settings = denoise.Options(
        strength=strength,
        ensemble=ensemble,
        std=std,
        tile=denoise.TILE if tile is None else tile,
        batch=batch,
        threads=threads,
        link=link,
        atten_lim=atten_lim,
        gentle=atten_lim is None and not flag_anomalies,
        impute=impute,
        flag=flag_anomalies,
    )
    limits = Limits.of(max_pixels, max_hours)
    if report is not None:
        reports.check(report)
    if dry_run and json:
        raise UsageError("--json tells what was done, and --dry-run does nothing: give one of them")
    tabular = model_layout(model) is not None
    beside = [mask, Path(files_from) if files_from else None, *listing.weights(model, precision)]  # read, no inputs
    found, todo, skipped = listing.plan(
        inputs, files_from, output, on_exists, read=beside, tag="denoised", binary_out=not json, quiet=quiet,
        suffixes=TABLE_SUFFIXES if tabular else media.SUFFIXES, apart=compare,
    )  # fmt: skip
    if model is None and any(job.source is not None and is_table(job.source) for job in todo):
        raise UsageError(shipped.NO_TABLES)
    if tabular and compare is not None:
        raise UsageError("--compare draws pictures and recordings, not tables")
    if compare is not None and sample_rate is not None:
        raise UsageError("--compare lays recordings on each other: leave --sample-rate out")
    if mask is not None and (found.jobs or not found.missing):
        _check_mask(len(found.jobs), strength, flag_anomalies)
    holes = None
    if mask is not None:
        from denoise_cli.holes import Holes

        holes = Holes.read(mask, limits)
    sheets = {} if compare is None else before_after.places([*todo, *skipped], compare)
    late = [job for job in skipped if job in sheets and not sheets[job].exists()]  # stopped between the two
    sheets = {job: sheets[job] for job in (*todo, *late) if job in sheets}
    besides = [report, *sheets.values()]
    files.check_writable(besides)
    read = [job.source for job in found.jobs]
    files.keep_apart(besides, [*read, *beside], [job.target for job in found.jobs])

    def opened(session: Session) -> None:
        settings.check(session.card)
        if session.fell_back and not quiet:
            screen.say("the GPU could not be opened; running on the processor")

    kinds = {media.kind_of(job.source) for job in todo if job.source is not None}

    def spread(header: Header, card: ModelCard) -> int:
        return denoise.spread(header, card, settings) if len(todo) == 1 else 1

    def chosen() -> Models:
        models = Models(model, precision, device, kinds, opened, spread, told=std is not None)
        if std is not None or flag_anomalies:
            models.open()  # what no model of ours takes is refused before an output folder is made
        return models

    failures = len(found.missing)
    if dry_run:
        if todo:
            chosen()
        listing.show(todo, skipped)
        raise typer.Exit(1 if failures else 0)
    if todo and not quiet and all(job.source is not None for job in todo):  # of stdin the kind is not known yet
        for line in opt.idle(context, kinds):
            screen.say(line)
        if quality is not None and "image" in kinds and not any(map(_has_quality, todo)):
            screen.say("--quality is for JPEG, WebP and AVIF, and there are none")
    about: dict[str, Any] = {"model": model or "as the files ask", "strength": strength, "ensemble": ensemble}
    done = (Result(job, kind=media.kind_of(job.source)) for job in late if job.source is not None)
    drawn_late = before_after.drawn(done, sheets, limits) if late else ()
    undrawn = [result for result in drawn_late if result.error is not None]
    for result in undrawn:
        screen.say(f"{printable(result.job.source or '')}: {result.error}")
        skipped.remove(result.job)
    if not todo:
        if not quiet and not undrawn:
            screen.say(listing.nothing(found, skipped, "tables" if tabular else "pictures or recordings"))
        _report(reports.document(undrawn, 0.0, skipped, found.missing, **about), report, json)
        raise typer.Exit(1 if failures or undrawn else 0)

    memory.keep_freed()
    models = chosen()
    began = time.perf_counter()
    written = AudioOptions(sample_rate, bit_depth, clip.value)
    stream = denoise.run(todo, models.choice, settings, written, limits, holes, quality)
    if compare is not None:
        stream = before_after.drawn(stream, sheets, limits)
    results = undrawn + listing.follow(stream, len(todo), quiet, verbose, unclipped="--clip rescale")
    seconds = time.perf_counter() - began
    failures += sum(result.error is not None for result in results)

    about["model"] = ", ".join(sorted({result.model for result in results} - {""})) or about["model"]
    _report(reports.document(results, seconds, skipped, found.missing, **about), report, json)
    if not quiet:
        listing.summary(results, len(skipped), len(found.missing), seconds)
    raise typer.Exit(1 if failures else 0)


def _has_quality(job: Job) -> bool:
    from denoise_cli.media.formats import format_of

    name = job.target or job.source
    return name is not None and format_of(name) in ("jpeg", "webp", "avif")


def _check_mask(files: int, strength: float, flag_anomalies: bool) -> None:
    """Refuse what does not go with a mask."""
    if files != 1:
        raise UsageError("--mask goes with one picture")
    if strength != 1:
        raise UsageError("--mask fills holes and keeps the rest: leave --strength out")
    if flag_anomalies:
        raise UsageError("--flag-anomalies judges whole files: leave --mask out")


def _report(document: dict[str, Any], path: Path | None, json: bool) -> None:
    from denoise_cli import report as reports

    if path is not None:
        reports.write(path, document)
    if json:
        screen.put(reports.as_json(document))
