"""``denoise eval``: score a model on pairs of files, or on clean files and a noise."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from denoise_cli.cli import options as opt
from denoise_cli.cli import screen

if TYPE_CHECKING:
    from denoise_cli.evaluate import Row, Scored

SHEET_ROWS = 8


def evaluate(
    noisy: Annotated[Path, typer.Argument(metavar="NOISY", help="Noisy file or folder; left out with --noise.")],
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
    device: opt.Device = "auto",
    threads: opt.Threads = None,
    tile: opt.Tile = None,
    sheet: Annotated[
        Path | None, typer.Option("--sheet", metavar="FILE", help="Draw original, noisy, denoised: .png or .jpg.")
    ] = None,
    csv: Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Write the rows.")] = None,
    json: opt.Json = False,
    fail_under: Annotated[
        str | None, typer.Option("--fail-under", metavar="psnr=28", help="Exit 1 if a mean is lower.")
    ] = None,
    quiet: opt.Quiet = False,
) -> None:
    """Measure PSNR, SSIM and speed.

    denoise eval NOISY CLEAN: pairs by relative path.

    denoise eval CLEAN --noise gaussian:std=25: the noise is made here, clipped and rounded as in a file.
    """
    from denoise_cli import evaluate as library
    from denoise_cli import report as reports
    from denoise_cli.corrupt import Chain, Gaussian, parse
    from denoise_cli.errors import UsageError
    from denoise_cli.media.files import Replacing, check_writable

    if clean is None:
        noisy_root, clean_root = None, noisy
        chain = parse(noise) if noise else Chain((Gaussian(),)) if sweep else None
        if chain is None:
            raise UsageError("give NOISY and CLEAN, or one CLEAN with --noise SPEC")
    else:
        noisy_root, clean_root, chain = noisy, clean, None
        if noise or sweep:
            raise UsageError("--noise and --sweep make the noise themselves: leave NOISY out")
    if baseline not in (None, "noisy"):
        raise UsageError(f'unknown baseline "{baseline}"; choose from noisy')
    if baseline and model:
        raise UsageError("--baseline scores without a model: leave -m out")
    threshold = _threshold(fail_under)
    if sheet is not None:
        from denoise_cli import pictures

        pictures.check(sheet)
    check_writable([path for path in (csv, sheet) if path is not None])
    levels = [("", chain)] if sweep is None or chain is None else library.sweep(chain, sweep)
    matched = library.pairs(noisy_root, clean_root)
    name, denoiser = ("noisy", None) if baseline else _denoiser(model, device, strength, std, tile, threads)

    rows: list[Row] = []
    shown: list[Scored] = []  # with their pictures, so only as many as a sheet has room for
    failed = 0
    with screen.bar(total := len(matched) * len(levels), f"/{total} files", quiet=quiet or json) as bar:
        for label, one in levels:
            for item in library.evaluate(matched, denoiser, one, label=label, seed=seed, clip=clip):
                if isinstance(item, library.Failed):
                    failed += 1
                    bar.say(item.error if item.pair.name in item.error else f"{item.pair.name}: {item.error}")
                    continue
                rows.append(item.row)
                if sheet is not None and len(shown) < SHEET_ROWS:
                    shown.append(item)
                bar.update(completed=len(rows) + failed, note=f"{item.row.psnr:.2f} dB")
    if not rows:
        raise typer.Exit(1)
    groups = {
        label: [row for row in rows if row.noise == label] for label in dict.fromkeys(row.noise for row in rows)
    }
    table = [_plain(row) for row in rows]
    if csv is not None:
        with Replacing(csv) as target:
            target.file.write(reports.as_csv(table).encode("utf-8", "backslashreplace"))
            target.commit()
    if sheet is not None:
        _draw(shown, sheet)
    if json:
        mean = [{"noise": label, **_finite(library.means(group))} for label, group in groups.items()]
        screen.put(reports.as_json({"model": name, "seed": seed, "files": len(matched), "failed": failed,
                                          "mean": mean, "rows": table}))  # fmt: skip
    elif not quiet:
        _show(name, groups, per_file=sweep is None)
    if threshold is not None:
        metric, least = threshold
        worst = min(library.means(group)[metric] for group in groups.values())
        if worst < least:
            screen.say(f"{metric} {worst:.4g} is under {least:g}")
            raise typer.Exit(1)
    raise typer.Exit(1 if failed else 0)


def _denoiser(
    model: str | None, device: str, strength: float, std: float | None, tile: int | None, threads: int | None
):
    from denoise_cli import denoise, memory, shipped
    from denoise_cli.session import Session

    memory.keep_freed()
    settings = denoise.Options(
        strength=strength, std=std, tile=denoise.TILE if tile is None else tile, threads=threads
    )
    session = Session(shipped.locate(model or shipped.DEFAULTS["image"]), device)
    return session.card.name, lambda noisy: denoise.signal(noisy, session, settings)


def _threshold(text: str | None) -> tuple[str, float] | None:
    from denoise_cli.errors import UsageError

    if text is None:
        return None
    metric, _, value = text.partition("=")
    try:
        if metric not in ("psnr", "ssim"):
            raise ValueError
        return metric, float(value)
    except ValueError:
        raise UsageError(f'--fail-under "{text}": write psnr=28 or ssim=0.9') from None


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    """JSON knows no infinity: the PSNR of equal pictures is written as null."""
    return {
        k: None if isinstance(v, float) and v in (float("inf"), float("-inf")) else v for k, v in values.items()
    }


def _plain(row: Row) -> dict[str, Any]:
    values = asdict(row) | {"seconds_per_megapixel": row.seconds_per_megapixel}
    return _finite({k: round(v, 5) if isinstance(v, float) else v for k, v in values.items()})


def _show(name: str, groups: dict[str, list[Row]], per_file: bool) -> None:
    from denoise_cli import evaluate as library

    headings = ["file" if per_file else "noise", "noisy dB", "noisy SSIM", "PSNR dB", "SSIM", "s/MP"]

    def cells(first: str, values: dict[str, float]) -> list[str]:
        noisy_psnr, noisy_ssim, psnr, ssim, pace = (values[metric] for metric in library.METRICS)
        return [first, f"{noisy_psnr:.2f}", f"{noisy_ssim:.4f}", f"{psnr:.2f}", f"{ssim:.4f}", f"{pace:.3f}"]

    lines = []
    for label, rows in groups.items():
        if per_file:
            lines += [cells(row.file, {m: getattr(row, m) for m in library.METRICS}) for row in rows]
        mean = library.means(rows)
        lines.append(cells(f"mean of {len(rows)}" if per_file else label, mean))
    screen.table(headings, lines, title=f"model {name}")


def _draw(shown: list[Scored], path: Path) -> None:
    from denoise_cli import pictures

    sheet = pictures.sheet(
        [[item.clean, item.noisy, item.denoised] for item in shown],
        ["original", "noisy", "denoised"],
        [[item.pair.name, f"{item.row.noisy_psnr:.2f} dB", f"{item.row.psnr:.2f} dB"] for item in shown],
    )
    pictures.save(sheet, path)
