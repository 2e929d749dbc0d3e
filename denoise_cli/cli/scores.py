"""What ``denoise eval`` shows: tables, plain values for JSON and CSV, sheets, each kind of file apart; and what is
held against them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from denoise_cli.cli import screen
from denoise_cli.errors import RefusedError, UsageError
from denoise_cli.report import finite

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

    from PIL.Image import Image

    from denoise_cli.evaluate import AnyRow, Scored
    from denoise_cli.signal import Kind

SHEET_ROWS = 8  # of each kind
PANEL = 380, 190  # columns and rows of a spectrogram on the sheet, pixels

Scores = dict[str, Any]  # numbers by name; None or NaN where there is none
Groups = dict[tuple["Kind", str], list["AnyRow"]]  # rows that are averaged, by kind of file and noise


def check_csv(path: Path | None) -> None:
    """Raise RefusedError where a table would be written over a file that by its name is none: a slip."""
    if path is not None and path.suffix.lower() != ".csv" and path.exists():
        raise RefusedError(f"--csv {path} is there already, and is no .csv")


def grouped(rows: Iterable[AnyRow]) -> Groups:
    """Pictures first; within a kind, noises in the order in which they came."""
    groups: Groups = {}
    for row in sorted(rows, key=lambda row: row.kind != "image"):
        groups.setdefault((row.kind, row.noise), []).append(row)
    return groups


def plain(values: dict[str, Any]) -> dict[str, Any]:
    """Rounded, and without infinity, which JSON does not know: the PSNR of equal pictures is written as null."""
    return {
        key: float(f"{value:.7g}") if isinstance(value, float) else value for key, value in finite(values).items()
    }


def means_of(groups: Groups) -> list[dict[str, Any]]:
    """One dict a group; those of recordings say so, as their rows do."""
    from denoise_cli.evaluate import means

    return [
        {"noise": label, **({"kind": kind} if kind != "image" else {}), **finite(means(rows))}
        for (kind, label), rows in groups.items()
    ]


def show(name: str, groups: Groups, *, per_file: bool, baseline: bool) -> None:
    """Print a table for each kind: every file and the mean, or, of a sweep, the mean of each noise.

    Of a baseline there is nothing to show after the denoiser.
    """
    from denoise_cli.evaluate import means

    for index, kind in enumerate(dict.fromkeys(kind for kind, _ in groups)):
        ours = {label: rows for (of, label), rows in groups.items() if of == kind}
        headings, lines_of = _FORMS[kind]
        lines: list[list[str]] = []
        for label, rows in ours.items():
            if per_file:
                for row in rows:
                    lines += lines_of(row.file, row.scores(), baseline)
            lines += lines_of(f"mean of {len(rows)}" if per_file else label, means(rows), baseline)
        if index:
            screen.put("\n")
        first = next(iter(ours.values()))[0]
        screen.table(["file" if per_file else "noise", *headings(first.scores())], lines, title=f"model {name}")
        if kind == "table" and per_file and sum(map(len, ours.values())) == 1:
            columns = [[title, "-" if value is None else f"{value:.4f}"] for title, value in first.columns.items()]  # type: ignore[attr-defined]
            screen.put("\n")
            screen.table(["column", "RMSE"], columns, title="where it was touched, in standard deviations")


def _picture_headings(scores: Scores) -> list[str]:
    return ["noisy dB", "noisy SSIM", "PSNR dB", "SSIM", "s/MP"]


def _picture_lines(label: str, scores: Scores, baseline: bool) -> list[list[str]]:
    from denoise_cli.evaluate import METRICS

    noisy_psnr, noisy_ssim, psnr, ssim, pace = (scores[metric] for metric in METRICS)
    cells = [(noisy_psnr, 2), (noisy_ssim, 4), (psnr, 2), (ssim, 4), (pace, 3)]
    return [[label, *(_number(value, digits) for value, digits in cells)]]


def _sound_headings(scores: Scores) -> list[str]:
    from denoise_cli.evaluate.sounds import METRICS

    return ["signal", *(metric.heading for name, metric in METRICS.items() if name in scores), "RTF"]


def _sound_lines(label: str, scores: Scores, baseline: bool) -> list[list[str]]:
    """Two lines, so that a column is one metric, before and after; of a baseline only the first."""
    from denoise_cli.evaluate.sounds import METRICS

    def cells(prefix: str) -> list[str]:
        return [_number(scores[prefix + name], metric.digits) for name, metric in METRICS.items() if name in scores]

    before = [label, "noisy", *cells("noisy_"), "-"]
    return [before] if baseline else [before, [label, "denoised", *cells(""), f"{scores['real_time_factor']:.3f}"]]


def _table_headings(scores: Scores) -> list[str]:
    return ["noisy RMSE", "RMSE", "noisy SNR dB", "SNR dB", "holes, mean", "holes"]


def _table_lines(label: str, scores: Scores, baseline: bool) -> list[list[str]]:
    from denoise_cli.evaluate.tables import METRICS

    return [[label, *(_number(scores[name], 2 if name.endswith("snr") else 4) for name in METRICS)]]


def _number(value: float | None, digits: int) -> str:
    """A dash where there is no such score."""
    return "-" if value is None or math.isnan(value) else f"{value:.{digits}f}"


_FORMS = {
    "image": (_picture_headings, _picture_lines),
    "audio": (_sound_headings, _sound_lines),
    "table": (_table_headings, _table_lines),
}


class Sheet:
    """The first few of each kind that were scored: only what is drawn of them, however large they are."""

    def __init__(self) -> None:
        self._pictures: list[tuple[list[Any], list[str]]] = []  # centres and captions
        self._sounds: list[tuple[list[Any], list[str]]] = []  # spectrograms and captions

    def add(self, item: Scored) -> None:
        if item.row.kind == "image" and len(self._pictures) < SHEET_ROWS:
            from denoise_cli.pictures import CELL, centre

            row = item.row
            parts = [centre(x, CELL).copy() for x in (item.clean, item.noisy, item.denoised)]
            self._pictures.append((parts, [item.pair.name, f"{row.noisy_psnr:.2f} dB", f"{row.psnr:.2f} dB"]))
        if item.row.kind == "audio" and len(self._sounds) < SHEET_ROWS:
            from denoise_cli.evaluate.sounds import caption
            from denoise_cli.spectrograms import spectrogram

            row = item.row
            drawn = [spectrogram(x, row.rate, size=PANEL) for x in (item.clean, item.noisy, item.denoised)]
            self._sounds.append((drawn, [item.pair.name, caption(row.noisy), caption(row.denoised)]))

    def drawn(self) -> Image:
        from denoise_cli import pictures, spectrograms

        titles = ["original", "noisy", "denoised"]
        pages = []
        if shown := self._pictures:
            centres, captions = zip(*shown, strict=True)
            pages.append(pictures.sheet(centres, titles, captions))
        if self._sounds:
            panels, captions = zip(*self._sounds, strict=True)
            pages.append(spectrograms.sheet(panels, titles, captions))
        return pages[0] if len(pages) == 1 else pictures.stacked(pages)


def threshold(text: str) -> tuple[str, float]:
    """``psnr=28`` -> the metric, and what its mean must reach. Raises UsageError."""
    from denoise_cli.evaluate import sounds

    metric, _, value = text.partition("=")
    metric = metric.replace("-", "_")
    known = ["psnr", "ssim", *(name for name, one in sounds.METRICS.items() if one.rising)]
    try:
        if metric not in known or not math.isfinite(float(value)):
            raise ValueError
        return metric, float(value)
    except ValueError:
        choices = ", ".join(map(sounds.spelled, known))
        raise UsageError(f'--fail-under "{text}": write psnr=28; the metrics are {choices}') from None


def check_threshold(metric: str, kinds: Collection[Kind], names: Collection[str]) -> None:
    """Refuse a threshold that nothing could be held against, before any work."""
    if metric not in names and metric not in ("psnr", "ssim"):
        raise UsageError(f"--fail-under {metric}: it is not among the metrics that are computed")
    if metric == "snr" and "table" in kinds:
        return
    kind, what = ("audio", "recordings") if metric in names else ("image", "pictures")
    if kind not in kinds:
        raise UsageError(f"--fail-under {metric}: there are no {what}")


def reached(metric: str, least: float, groups: Groups) -> bool:
    """Whether every mean is at least so high; says so where one is not."""
    from denoise_cli.evaluate import means, sounds

    every = [mean[metric] for mean in map(means, groups.values()) if metric in mean]
    worst = min(every, key=lambda mean: -math.inf if math.isnan(mean) else mean, default=math.nan)
    if worst >= least:
        return True
    name = sounds.spelled(metric)
    screen.say(f"no file has a {name}" if math.isnan(worst) else f"{name} {worst:.4g} is under {least:g}")
    return False
