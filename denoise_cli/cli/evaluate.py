"""``denoise eval``: score a model on pairs of files, or on clean files and a noise."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from denoise_cli.cli import anomaly as anomalies
from denoise_cli.cli import options as opt
from denoise_cli.cli import scores as forms
from denoise_cli.cli import screen, stacks

if TYPE_CHECKING:
    from denoise_cli.corrupt import Chain
    from denoise_cli.denoise import Options
    from denoise_cli.evaluate import AnyRow, Denoiser, Failed, Pair, Scored
    from denoise_cli.models import Models
    from denoise_cli.signal import Kind


def evaluate(
    context: typer.Context,
    noisy: Annotated[
        Path | None, typer.Argument(metavar="NOISY", help="Noisy file or folder; left out with --noise.")
    ] = None,
    clean: Annotated[Path | None, typer.Argument(metavar="CLEAN", help="Clean file or folder.")] = None,
    noise: opt.Noise = None,
    model: opt.Model = None,
    baseline: Annotated[
        str | None, typer.Option("--baseline", help='"noisy" scores the input itself, without a model.')
    ] = None,
    sweep: Annotated[
        str | None, typer.Option("--sweep", metavar="KEY=A,B,C", help="Repeat with each value, e.g. std=15,25,50.")
    ] = None,
    clip: Annotated[
        bool, typer.Option("--clip/--no-clip", help="Clip and round the made noise as a file would.")
    ] = True,
    seed: opt.Seed = 0,
    std: opt.Std = None,
    strength: opt.Strength = 1.0,
    ensemble: opt.Ensemble = 1,
    device: opt.Device = "auto",
    precision: opt.Precision = "auto",
    threads: opt.Threads = None,
    tile: opt.Tile = None,
    metrics: Annotated[
        str | None,
        typer.Option("--metrics", metavar="LIST", help="For recordings, e.g. si-sdr,stoi.", show_default="all"),
    ] = None,
    sheet: Annotated[
        Path | None, typer.Option("--sheet", metavar="FILE", help="Draw original, noisy, denoised: .png or .jpg.")
    ] = None,
    csv: Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Write the rows.")] = None,
    json: opt.Json = False,
    fail_under: Annotated[
        list[str] | None,
        typer.Option("--fail-under", metavar="psnr=28", help="Exit 1 if a mean is lower; may be given again."),
    ] = None,
    anomaly: Annotated[
        Path | None,
        typer.Option("--anomaly", metavar="NORMAL", help="Tell anomalous files from these, which are normal."),
    ] = None,
    test: Annotated[
        Path | None, typer.Option("--test", metavar="DIR", help="Files to tell apart, in normal/ and others.")
    ] = None,
    false_alarm_rate: Annotated[
        float, typer.Option("--false-alarm-rate", help="Share of normal files that may be called anomalous.")
    ] = 0.01,
    normal_label: Annotated[
        str, typer.Option("--normal-label", help="The folder below --test whose files are normal.")
    ] = "normal",
    store: Annotated[
        bool, typer.Option("--store", help="Write the threshold into the model, for run --flag-anomalies.")
    ] = False,
    quiet: opt.Quiet = False,
) -> None:
    """Measure PSNR, SSIM and speed of pictures; SI-SDR, SNR, LSD, STOI, PESQ and speed of recordings; tables.

    denoise eval NOISY CLEAN: pairs by relative path; the model cleans NOISY first. With --baseline noisy the files
    are scored as they are, which is how to score what was cleaned before.

    denoise eval CLEAN --noise gaussian:std=25: the noise is made here, clipped and rounded as in a file.

    Of an array file (mnist.npz, mnist.npz:x_test, t10k-images-idx3-ubyte.gz) all pictures are one row, with PSNR
    and MSE as mean and standard deviation. std is in 8-bit steps; with fs behind it, of full scale:
    --sweep std=0.5fs,1fs.

    Tables and series (.csv, .npy, .parquet, with -m) are scored in standard deviations of their clean columns: what
    is known, and apart from it what was missing and has been filled, beside the columns' means.

    denoise eval --anomaly NORMAL --test DIR -m MODEL: the score of a file is the mean squared difference between it
    and what the model makes of it; printed are the area under the ROC curve and the threshold.

    Recordings are scored at their own rate and length, and no delay is forgiven. --metrics chooses from si-sdr,
    snr, seg-snr, lsd, and, with pip install "denoise-cli[speech]", stoi, estoi, pesq-wb, pesq-nb.
    """
    from denoise_cli import denoise
    from denoise_cli import evaluate as library
    from denoise_cli import report as reports
    from denoise_cli.cli import jobs as listing
    from denoise_cli.errors import UsageError
    from denoise_cli.media import SUFFIXES, arrays
    from denoise_cli.media.files import check_writable, keep_apart
    from denoise_cli.media.layout import TABLE_SUFFIXES
    from denoise_cli.model_file import layout as model_layout
    from denoise_cli.models import Models

    if csv is not None and str(csv) == "-":
        raise UsageError("--csv takes the name of a file; --json writes to standard output")
    if anomaly is not None:
        if noisy is not None or noise or sweep or baseline or sheet or fail_under or strength != 1:
            raise UsageError("--anomaly goes with --test, -m, --false-alarm-rate, --store, --csv and --json")
        if metrics is not None or tile is not None or precision != "auto" or ensemble != 1:
            raise UsageError(
                "--anomaly judges what -m names: leave --metrics, --tile, --ensemble and --precision out"
            )
        check_writable([csv])
        raise typer.Exit(
            anomalies.evaluate(
                anomalies.Asked(
                    anomaly, test, model, false_alarm_rate, normal_label, store, device, std, threads,
                    csv, json, quiet,
                )
            )
        )  # fmt: skip
    if test is not None or store:
        raise UsageError("--test and --store go with --anomaly NORMAL")
    noisy_root, clean_root, chain = _sides(noisy, clean, noise, sweep, std)
    if baseline not in (None, "noisy"):
        raise UsageError(f'unknown baseline "{baseline}"; choose from noisy')
    if baseline and (model or strength != 1 or ensemble != 1 or std is not None or tile is not None):
        raise UsageError(
            "--baseline scores without a model: leave -m, --strength, --ensemble, --std and --tile out"
        )
    thresholds = [forms.threshold(text) for text in fail_under or ()]
    if sheet is not None:
        from denoise_cli import pictures

        pictures.check(sheet)
    check_writable([csv, sheet])
    stores = [arrays.split(root)[0] for root in (noisy_root, clean_root) if root is not None]
    keep_apart([csv, sheet], [*stores, *listing.weights(model, precision)])
    levels = [("", chain)] if sweep is None or chain is None else library.sweep(chain, sweep)
    settings = denoise.Options(
        strength=strength, std=std, ensemble=ensemble, tile=denoise.TILE if tile is None else tile,
        threads=threads, gentle=True,  # as in run
    )  # fmt: skip
    layout = model_layout(model)
    if layout is None and any(path is not None and arrays.is_array(path) for path in (noisy_root, clean_root)):
        forms.check_csv(csv)
        raise typer.Exit(
            stacks.evaluate(
                stacks.Asked(
                    noisy_root, clean_root, levels, model, baseline, device, precision, settings, seed, clip,
                    sheet, csv, json, thresholds, quiet,
                )
            )
        )  # fmt: skip
    matched = library.pairs(noisy_root, clean_root, TABLE_SUFFIXES if layout else SUFFIXES, screen.say)
    keep_apart([csv, sheet], [path for pair in matched for path in (pair.clean, pair.noisy)])
    forms.check_csv(csv)
    kinds = list(dict.fromkeys(pair.kind for pair in matched))
    if sheet is not None and kinds == ["table"]:
        raise UsageError("--sheet draws pictures and recordings, not tables")
    names = _metrics(metrics, kinds, quiet)
    for line in () if quiet else opt.idle(context, kinds):
        screen.say(line)
    for metric, _ in thresholds:
        forms.check_threshold(metric, kinds, names)
    models = None if baseline else Models(model, precision, device, kinds, told=std is not None)
    denoiser = None if models is None else _denoiser(models, settings)

    items = (
        item
        for label, one in levels
        for item in library.evaluate(matched, denoiser, one, label=label, seed=seed, clip=clip, metrics=names,
                                     layout=layout)
    )  # fmt: skip
    shown = forms.Sheet()
    rows: list[AnyRow] = []
    served: list[str] = []  # the model of each row
    with screen.bar(total := len(matched) * len(levels), f"/{total} files", quiet=quiet or json) as bar:
        failed: set[Pair] = set()
        for item in _followed(items, bar, failed, quiet):
            rows.append(item.row)
            served.append("noisy" if models is None else models.latest)
            if sheet is not None:
                shown.add(item)
    if not rows:
        raise typer.Exit(1)
    groups = forms.grouped(rows)
    name = ", ".join(sorted(set(served)))
    table = [{**forms.plain(row.flat()), "model": who} for row, who in zip(rows, served, strict=True)]
    if csv is not None:
        reports.put(csv, reports.as_csv(table))
    if sheet is not None:
        pictures.save(shown.drawn(), sheet)
    if json:
        screen.put(reports.as_json({"model": name, "seed": seed, "files": len(matched), "failed": len(failed),
                                          "mean": forms.means_of(groups), "rows": table}))  # fmt: skip
    elif not quiet:
        forms.show(name, groups, per_file=sweep is None, baseline=baseline is not None)
    reached = [forms.reached(*threshold, groups) for threshold in thresholds]
    raise typer.Exit(1 if failed or not all(reached) else 0)


def _sides(
    noisy: Path | None, clean: Path | None, noise: list[str] | None, sweep: str | None, std: float | None
) -> tuple[Path | None, Path, Chain | None]:
    """Where the noisy files are, None where they are made here; the clean ones; and by what noise."""
    from denoise_cli.corrupt import Chain, Gaussian, parse
    from denoise_cli.errors import UsageError

    if noisy is None:
        raise UsageError("give NOISY and CLEAN, one CLEAN with --noise SPEC, or --anomaly NORMAL")
    if clean is not None:
        if noise or sweep:
            raise UsageError("--noise and --sweep make the noise themselves: leave NOISY out")
        return noisy, clean, None
    if noise or sweep:
        return None, noisy, parse(noise) if noise else Chain((Gaussian(),))
    add = "" if std is None else f"; --std only tells a model the level, --noise gaussian:std={std:g} adds it"
    raise UsageError(f"give NOISY and CLEAN, or one CLEAN with --noise SPEC{add}")


def _followed(
    items: Iterable[Scored | Failed], bar: screen.Bar, failed: set[Pair], quiet: bool
) -> Iterator[Scored]:
    """What could be scored; of the rest, and of scores that are missing, a line, once for all levels of a sweep."""
    from denoise_cli import evaluate as library

    told: set[tuple[Pair, str]] = set()

    def tell(pair: Pair, message: str) -> None:
        if (pair, message) not in told:
            told.add((pair, message))
            bar.say(message if pair.name in message else f"{pair.name}: {message}")

    for item in items:
        if isinstance(item, library.Failed):
            if item.pair not in failed:  # a bad file is as bad at every level of a sweep
                tell(item.pair, item.error)
            failed.add(item.pair)
            bar.update(advance=1)
            continue
        for note in () if quiet else item.notes:
            tell(item.pair, note)
        yield item
        bar.update(advance=1, note=item.row.headline)


def _denoiser(models: Models, settings: Options) -> Denoiser:
    from denoise_cli import denoise, memory

    memory.keep_freed()
    models.open()  # before a clock runs
    return lambda noisy: denoise.signal(noisy, models.choice, settings)


def _metrics(text: str | None, kinds: Collection[Kind], quiet: bool) -> list[str]:
    """The metrics for recordings; by default all, and a line on those whose packages are missing."""
    from denoise_cli.errors import UsageError
    from denoise_cli.evaluate import sounds
    from denoise_cli.metrics.speech import MEND

    if text is not None:
        if "audio" not in kinds:
            raise UsageError("--metrics chooses those of recordings, and there are none")
        return sounds.chosen(text)
    names = sounds.installed()
    missing = [metric.heading for name, metric in sounds.METRICS.items() if name not in names]
    if missing and "audio" in kinds and not quiet:
        screen.say(f"left out: {', '.join(missing)}; {MEND}")
    return names
