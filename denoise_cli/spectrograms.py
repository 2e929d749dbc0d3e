"""Spectrograms of recordings, with axes of time and frequency: before and after, and sheets of many.

Drawn with Pillow alone, as pictures.py draws. A drawing has the same size for a second and for ten hours: each
column of pixels averages the power of its own part of the recording, looked at through a few frames of 32 ms, so
memory and time do not grow with the length.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from denoise_cli.charts import ticks
from denoise_cli.pictures import HAIRLINE, INK, MARGIN, PAPER, QUIET, typeface

FRAME = 0.032  # seconds under the Hann window
FRAMES = 16  # at most, in a column; spread evenly over it
FLOOR_DB = -120.0  # digital silence
RANGE_DB = 80  # from the brightest colour to black: what 16 bits hold of one frequency, and nobody hears more

# Every 17th of the 256 colours of "magma", by S. van der Walt and N. Smith (2015, CC0): as bright as loud, for
# colour-blind readers and on gray paper too. In between, straight lines stay within 1 % of theirs.
MAGMA = np.array([
    tuple(bytes.fromhex(colour)) for colour in (
        "000004", "0b0924", "20114b", "3b0f70", "57157e", "721f81", "8c2981", "a8327d",
        "c43c75", "de4968", "f1605d", "fa7f5e", "fe9f6d", "febf84", "fddea0", "fcfdbf",
    )
])  # fmt: skip

# Room around the panels, in pixels.
LEFT, RIGHT, GAP = 74, 126, 30  # frequencies; scale of the colours; between two columns
HEADING, BELOW, CAPTION, LEADING = 34, 28, 26, 12  # over a row; times; line of text; between two rows
BAR = 14  # width of the scale of colours

STEPS = (
    *(m * 10.0**e for e in range(-5, 1) for m in (1, 2, 5)), 10.0, 15.0, 30.0,
    *(60.0 * m for m in (1, 2, 5, 10, 15, 30)), *(3600.0 * h for h in (1, 2, 3, 6, 12, 24, 48, 120, 240)),
)  # fmt: skip


@dataclass(frozen=True)
class Spectrogram:
    """Power over time and frequency, one number a pixel."""

    levels: np.ndarray  # (rows, columns) float32, dB of a sine of full scale; the first row is the highest band
    seconds: float  # from the left edge to the right one
    rate: int  # samples per second: the top edge is half of it


def spectrogram(x: np.ndarray, rate: int, *, size: tuple[int, int] = (900, 270)) -> Spectrogram:
    """Look at a (C, T) recording at `rate`; `size` is (columns, rows). Channels are averaged, as powers.

    Raises
    ------
    ValueError
        x is not (C, T), or empty.
    """
    if x.ndim != 2 or x.size == 0:
        raise ValueError(f"a recording is (C, T) and not empty, not {x.shape}")
    return of_blocks([x], x.shape[1], rate, size=size)


def of_blocks(
    blocks: Iterable[np.ndarray], samples: int, rate: int, *, size: tuple[int, int] = (900, 270)
) -> Spectrogram:
    """The same of consecutive blocks (C, n), `samples` in all: one of them is in memory, and one frame."""
    columns, rows = size
    length = max(4, round(FRAME * rate) // 2 * 2)
    count = min(max(1, math.ceil(samples / columns / (length / 2))), FRAMES)
    centres = (np.arange(columns * count) + 0.5) * (samples / (columns * count))
    starts = np.clip(np.rint(centres - length / 2).astype(np.int64), 0, max(0, samples - length))
    window = np.hanning(length + 1)[:-1].astype(np.float32)
    power = np.zeros((columns, length // 2 + 1))  # of the frames of each column together
    done, first, held = 0, 0, np.empty((1, 0), np.float32)  # frames; the sample at which `held` begins
    for block in blocks:
        held = np.concatenate([held, block], axis=1) if held.shape[1] else block
        if samples < length:
            held = np.pad(block, ((0, 0), (0, length - samples)))
        ready = int(np.searchsorted(starts, first + held.shape[1] - length, side="right"))
        several = max(1, (1 << 19) // (len(held) * length))  # frames at a time
        for some in range(done, ready, several):
            places = starts[some : min(some + several, ready), None] - first + np.arange(length)
            spectra = np.square(np.abs(np.fft.rfft(held[:, places] * window))).mean(axis=0)
            np.add.at(power, np.arange(some, some + len(spectra)) // count, spectra)
        done = max(done, ready)
        if done == len(starts):
            break
        passed = min(held.shape[1], int(starts[done]) - first)
        first, held = first + passed, held[:, passed:].copy()
    power = (power / count).astype(np.float32) @ _bands(length, rows)
    power *= (4 / length) ** 2  # a sine of amplitude 1 under a Hann window has L / 4 in its bin
    levels = 10 * np.log10(np.maximum(power, 10 ** (FLOOR_DB / 10)))
    return Spectrogram(np.ascontiguousarray(levels.T[::-1]), samples / rate, rate)


def _bands(length: int, rows: int) -> np.ndarray:
    """(bins, rows) weights: the mean over the bins, each one bin wide, that a row of pixels covers."""
    bins = np.arange(length // 2 + 1)[:, None]
    edges = np.linspace(0, length / 2, rows + 1)
    overlap = np.minimum(edges[1:], bins + 0.5) - np.maximum(edges[:-1], bins - 0.5)
    return (np.clip(overlap, 0, None) / np.diff(edges)).astype(np.float32)


def before_after(
    before: np.ndarray,
    after: np.ndarray,
    rate: int,
    *,
    titles: Sequence[str] = ("noisy", "denoised"),
    captions: Sequence[str] = (),
) -> Image.Image:
    """Two (C, T) recordings at `rate`, one above the other on one scale of colours.

    Raises
    ------
    ValueError
        The shapes differ, or are not (C, T).
    """
    if before.shape != after.shape:
        raise ValueError(f"cannot compare shapes {before.shape} and {after.shape}")
    return compared(spectrogram(before, rate), spectrogram(after, rate), titles=titles, captions=captions)


def compared(
    before: Spectrogram,
    after: Spectrogram,
    *,
    titles: Sequence[str] = ("noisy", "denoised"),
    captions: Sequence[str] = (),
) -> Image.Image:
    """What `before_after` draws, of spectrograms of one size."""
    return _page([[before], [after]], [[text] for text in titles], [[text] for text in captions])


def sheet(
    rows: Sequence[Sequence[Spectrogram]], titles: Sequence[str] = (), captions: Sequence[Sequence[str]] = ()
) -> Image.Image:
    """Spectrograms in rows and columns, on one scale of colours.

    Parameters
    ----------
    rows
        One recording a row, of any length and rate, such as original, noisy, denoised; all of one size in pixels.
    titles
        A word over each column.
    captions
        A line under each spectrogram, in rows as they are: "SI-SDR 13.5 dB". Missing ones stay empty.
    """
    return _page(rows, [titles], captions)


def _page(
    rows: Sequence[Sequence[Spectrogram]], headings: Sequence[Sequence[str]], captions: Sequence[Sequence[str]]
) -> Image.Image:
    """Place the panels, with headings over and captions under them, and the scale of colours at the right."""
    if not any(rows):
        raise ValueError("a sheet needs at least one spectrogram")
    # Whole tens, so that the scale has round numbers; the loudest pixel is the brightest.
    top = 10 * math.ceil(max(float(s.levels.max()) for row in rows for s in row) / 10)
    span = (top - RANGE_DB, top)
    height, width = next(s.levels.shape for row in rows for s in row)
    above = [HEADING if r < len(headings) and any(headings[r]) else 0 for r in range(len(rows))]
    below = [BELOW + (CAPTION if r < len(captions) and any(captions[r]) else 0) for r in range(len(rows))]
    columns = max(map(len, rows))
    page = Image.new(
        "RGB",
        (
            LEFT + columns * width + (columns - 1) * GAP + RIGHT,
            2 * MARGIN + sum(above) + sum(below) + len(rows) * height + (len(rows) - 1) * LEADING,
        ),
        PAPER,
    )
    draw = ImageDraw.Draw(page)
    y = MARGIN
    for r, row in enumerate(rows):
        y += above[r]
        for c, panel in enumerate(row):
            x = LEFT + c * (width + GAP)
            _draw(page, panel, (x, y), span, frequencies=c == 0)
            middle = x + width / 2
            if r < len(headings) and c < len(headings[r]):
                draw.text((middle, y - HEADING / 2 - 2), headings[r][c], INK, typeface(20), anchor="mm")
            if r < len(captions) and c < len(captions[r]):
                under = y + height + BELOW + CAPTION / 2 - 1
                draw.text(
                    (middle, under), _short(captions[r][c], width + GAP // 2), QUIET, typeface(16), anchor="mm"
                )
        if r == 0:
            _scale(page, (page.width - RIGHT + 24, y), height, span)
        y += height + below[r] + LEADING
    return page


def _draw(
    page: Image.Image, panel: Spectrogram, corner: tuple[int, int], span: tuple[int, int], *, frequencies: bool
) -> None:
    """One panel with its upper left corner there, a frame, and ticks below and, where asked for, on the left."""
    draw, small = ImageDraw.Draw(page), typeface(15)
    left, top = corner
    height, width = panel.levels.shape
    page.paste(_coloured(panel.levels, span), corner)
    draw.rectangle((left - 1, top - 1, left + width, top + height), outline=HAIRLINE)
    for part, text in _times(panel.seconds).items():
        x = left + part * (width - 1)
        draw.line((x, top + height + 1, x, top + height + 5), QUIET)
        draw.text((x, top + height + 16), text, INK, small, anchor="mm")
    if frequencies:
        for part, text in _frequencies(panel.rate).items():
            y = top + (1 - part) * (height - 1)
            draw.line((left - 6, y, left - 2, y), QUIET)
            draw.text((left - 11, y), text, INK, small, anchor="rm")


def _scale(page: Image.Image, corner: tuple[int, int], height: int, span: tuple[int, int]) -> None:
    draw, small = ImageDraw.Draw(page), typeface(15)
    left, top = corner
    low, high = span
    ramp = np.linspace(high, low, height, dtype=np.float32)[:, None].repeat(BAR, axis=1)
    page.paste(_coloured(ramp, span), corner)
    draw.rectangle((left - 1, top - 1, left + BAR, top + height), outline=HAIRLINE)
    for value in range(high, low - 1, -20):
        y = top + (high - value) / (high - low) * (height - 1)
        draw.line((left + BAR + 1, y, left + BAR + 5, y), QUIET)
        text = f"{value} dBFS" if value == high else f"{value}"
        draw.text((left + BAR + 10, y), text, INK, small, anchor="lm")


def _short(text: str, width: int) -> str:
    """A caption that fits: of a name too long, its end, which tells files apart."""
    if typeface(16).getlength(text) <= width:
        return text
    while text and typeface(16).getlength(f"...{text}") > width:
        text = text[1:]
    return f"...{text}"


def _coloured(levels: np.ndarray, span: tuple[int, int]) -> Image.Image:
    """(rows, columns) dB -> RGB, dark at the low end of the span and bright at the high one."""
    low, high = span
    place = np.clip((levels - low) / (high - low), 0, 1) * (len(MAGMA) - 1)
    channels = [np.interp(place, np.arange(len(MAGMA)), MAGMA[:, c]) for c in range(3)]
    return Image.fromarray(np.rint(np.stack(channels, axis=-1)).astype(np.uint8))


def _frequencies(rate: int) -> dict[float, str]:
    """Round frequencies from 0 to half the rate, as parts of that; the highest names the unit."""
    top = rate / 2000
    unit, scale = ("kHz", 1) if top >= 1 else ("Hz", 1000)
    texts = {v / (top * scale): text for v, text in ticks(0, top * scale).items() if v <= top * scale * 1.0001}
    return _with_unit(texts, unit)


def _times(seconds: float) -> dict[float, str]:
    """At most seven round moments from 0 to the end, as parts of the whole; the last names the unit."""
    step = next((s for s in STEPS if seconds / s <= 6), seconds)
    moments = [i * step for i in range(math.floor(seconds / step * 1.0001) + 1)]
    if seconds < 120:
        decimals = max(0, -math.floor(math.log10(step) + 1e-9))
        return _with_unit({t / seconds: f"{t:.{decimals}f}" for t in moments}, "s")
    unit, small = ("min", 1) if seconds < 2 * 3600 else ("h", 60)
    parts = {t / seconds: divmod(round(t / small), 60) for t in moments}
    return _with_unit({part: f"{whole}:{rest:02d}" for part, (whole, rest) in parts.items()}, unit)


def _with_unit(texts: dict[float, str], unit: str) -> dict[float, str]:
    last = max(texts)
    return texts | {last: f"{texts[last]} {unit}"}
