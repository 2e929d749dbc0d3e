"""The study as one HTML file that stands alone: pictures inside it, nothing fetched, no script."""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Sequence

from PIL import Image

from denoise_cli import charts, gaussian, pictures
from denoise_cli.noise.study import BINS, LayerNoise, Study
from denoise_cli.noise.verdict import words

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1f2937; max-width: 1180px; margin: 32px auto; padding: 0 20px }
h1 { font-size: 26px } h2 { font-size: 19px; margin-top: 34px } h3 { font-size: 15px; margin: 18px 0 2px }
p { max-width: 80ch; margin: 4px 0 } figure { margin: 12px 0 } figcaption { color: #6b7280 } img { max-width: 100% }
.wide { overflow-x: auto } table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums }
th, td { padding: 3px 9px; text-align: right; border-bottom: 1px solid #e5e7eb; white-space: nowrap }
th:first-child, td:first-child, th:nth-child(2), td:nth-child(2) { text-align: left }
th { position: sticky; top: 0; background: #fff } .panels img { width: 49%; min-width: 320px }
"""

COLUMNS: dict[str, str] = {  # heading -> what it is
    "layer": "the tensor's name in the model",
    "operator": "what computes it",
    "std": "standard deviation of the noise, root of the mean over the units",
    "shift": "rms over the units of what the noise adds to their mean",
    "SNR": "variance of the clean activation over that of the noise, dB",
    "skew": "skewness of the noise of a unit, mean over the units",
    "kurt": "excess kurtosis of the noise of a unit, mean over the units",
    "KS": "Kolmogorov-Smirnov distance from a Gaussian of units standardised by their own mean and variance",
    "KS ch": "the same with one mean and variance for a whole channel",
    "corr nb": "rms correlation of next neighbours",
    "corr ch": "rms correlation of two channels at one place",
    "predicted": "standard deviation by moment propagation from the picture on",
    "/std": "that over the measured one; * where the prediction started again from measured moments",
    "one layer": "predicted from the measured moments of this layer's inputs, over the measured one",
}  # fmt: skip


def cells(row: LayerNoise) -> list[str]:
    """One row under COLUMNS."""

    def number(value: float | None, form: str) -> str:
        return "" if value is None or math.isnan(value) else format(value, form)

    def ratio(value: float | None) -> str:
        return number(value / row.std if value is not None and row.std > 0 else None, ".3g")

    return [
        row.name, row.op, number(row.std, ".4g"), number(row.shift, ".3g"), number(row.snr, "z.1f"),
        number(row.skewness, "z.3f"), number(row.kurtosis, "z.3f"),
        number(row.ks, ".4f"), number(row.ks_channel, ".4f"),
        number(row.neighbours, ".3f"), number(row.channels, ".3f"),
        number(row.predicted, ".4g"), ratio(row.predicted) + "*" * row.restarted, ratio(row.predicted_here),
    ]  # fmt: skip


def page(study: Study, model: str, picture: str, notes: Sequence[str] = ()) -> str:
    """The whole document; `model` and `picture` are names to show, `notes` lines for its head."""
    e = html.escape
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><title>Noise through "
        f"{e(model)}</title><style>{STYLE}</style>",
        f"<h1>Gaussian noise through {e(model)}</h1>",
        f"<p>{e(picture)}, {study.clean.shape[2]} x {study.clean.shape[1]} pixels, noise of {255 * study.std:g} "
        "8-bit "
        f"steps (not clipped), {study.draws} draws.</p>",
        *(f"<p>{e(note)}</p>" for note in notes),
        _figure(_sheet(study), "the first draw"),
        "<h2>The answer</h2>",
        *(f"<h3>{e(head)}</h3><p>{e(text)}</p>" for head, text in words(study)),
        "<h2>Layer by layer</h2>",
        *(_figure(drawn, text) for drawn, text in _curves(study.rows)),
        "<h2>Distributions of the noise of a unit</h2>",
        "<p>Bars: the noise of each unit over the draws, less its mean, over its standard deviation. Line: N(0, "
        "1).</p>",
        "<div class=panels>", *(_image(drawn) for drawn in _panels(study.rows)), "</div>",
        "<h2>Figures</h2>", _table(study.rows), "<h3>Columns</h3>",
        *(f"<p><b>{e(name)}</b>: {e(text)}</p>" for name, text in COLUMNS.items()),
        "</html>",
    ]  # fmt: skip
    return "\n".join(parts) + "\n"


def _sheet(study: Study) -> Image.Image:
    row = [study.clean, study.noisy, study.restored]
    captions = ["", *(f"{psnr:.2f} dB" for psnr in study.psnr)]
    return pictures.sheet([row], ["clean", "noisy", "network's output"], [captions], cell=256, fit="shrink")


def _curves(rows: Sequence[LayerNoise]) -> list[tuple[Image.Image, str]]:
    def line(values: Sequence[float | None]) -> list[tuple[float, float]]:
        return [(float(i), math.nan if value is None else value) for i, value in enumerate(values)]

    std = {
        "measured": line([row.std for row in rows]),
        "predicted from the picture on": line([row.predicted for row in rows]),
        "predicted from one layer before": line([row.predicted_here for row in rows]),
    }
    distance = {"unit": line([row.ks for row in rows]), "channel": line([row.ks_channel for row in rows])}
    related = {
        "neighbours": line([row.neighbours for row in rows]), "channels": line([row.channels for row in rows])
    }  # fmt: skip
    ratio = {"SNR": line([row.snr for row in rows])}
    where, size = "layer, in the order of the table", (1100, 420)
    return [
        (charts.curve(std, "Standard deviation of the noise", where, "std", log=True, size=size), ""),
        (charts.curve(distance, "Distance from Gaussian", where, "KS", log=True, size=size), ""),
        (charts.curve(related, "Correlation of the noise", where, "rms correlation", size=size), ""),
        (charts.curve(ratio, "Signal to noise", where, "dB", size=size), ""),
    ]


def _panels(rows: Sequence[LayerNoise], most: int = 8) -> list[Image.Image]:
    """Input, output, and the furthest from Gaussian, each with the layer that follows it."""
    furthest = sorted(range(len(rows)), key=lambda i: -1 if math.isnan(rows[i].ks) else rows[i].ks, reverse=True)
    chosen = {0, len(rows) - 1}
    for i in furthest:
        if len(chosen | {i, min(i + 1, len(rows) - 1)}) > most:
            break
        chosen |= {i, min(i + 1, len(rows) - 1)}
    edges = BINS.tolist()
    line = list(zip(edges, gaussian.pdf(BINS).tolist(), strict=True))
    return [
        charts.distribution(
            edges, rows[i].histogram, line, title=f"{rows[i].name} ({rows[i].op})",
            note=f"skewness {rows[i].skewness:z.3f}   excess kurtosis {rows[i].kurtosis:z.3f}   "
            f"KS {rows[i].ks:.4f}",
        )
        for i in sorted(chosen)
    ]  # fmt: skip


def _table(rows: Sequence[LayerNoise]) -> str:
    head = "".join(f'<th title="{html.escape(text)}">{html.escape(name)}</th>' for name, text in COLUMNS.items())
    body = "".join("<tr>" + "".join(f"<td>{html.escape(c)}</td>" for c in cells(row)) + "</tr>\n" for row in rows)
    return f"<div class=wide><table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table></div>"


def _figure(drawn: Image.Image, caption: str) -> str:
    return f"<figure>{_image(drawn)}<figcaption>{html.escape(caption)}</figcaption></figure>"


def _image(drawn: Image.Image) -> str:
    data = io.BytesIO()
    drawn.save(data, "PNG", optimize=True)
    return f'<img alt="" src="data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}">'
