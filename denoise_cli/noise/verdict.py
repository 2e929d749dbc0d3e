"""The answer in words: where the noise is Gaussian, where it is not, and where the network takes it away.

Every sentence is made from the figures of the study; nothing is said of networks in general.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from itertools import pairwise

from denoise_cli.noise.study import LayerNoise, Study

CLOSE, FAR = 0.01, 0.05  # Kolmogorov-Smirnov distances: Gaussian for every practical end; visibly something else
TOLERANCE = 0.25  # by which a predicted standard deviation may be off and still be of use


def words(study: Study) -> list[tuple[str, str]]:
    """(heading, paragraph) pairs, in the order in which they are to be read."""
    rows = study.rows
    return [
        ("Does it still work?", _works(study)),
        ("Where the Gaussian assumption holds", _holds(rows)),
        ("Where it breaks", _breaks(rows)),
        ("One Gaussian for a whole channel", _channel(rows)),
        ("Independence", _independence(rows)),
        ("What moment propagation predicts", _prediction(rows)),
        ("Where the network kills the noise", _kill(study)),
    ]


def _works(study: Study) -> str:
    before, after = study.psnr
    change = "better" if after > before else "worse"
    return (
        f"{study.draws} draws of Gaussian noise of {255 * study.std:g} 8-bit steps put the picture at {before:.2f} "
        f"dB; the network's output is at {after:.2f} dB, {abs(after - before):.2f} dB {change}."
    )


def _holds(rows: Sequence[LayerNoise]) -> str:
    close = [row for row in rows if row.ks < CLOSE]
    parts = []
    for op in dict.fromkeys(row.op for row in rows):
        distances = [row.ks for row in rows if row.op == op and not math.isnan(row.ks)]
        if distances:
            middle, worst = statistics.median(distances), max(distances)
            spread = f"median {middle:.4f}, worst {worst:.4f}" if len(distances) > 1 else f"{worst:.4f}"
            parts.append(f"{op} ({len(distances)}): {spread}")
    return (
        f"In {len(close)} of {len(rows)} layers the noise of a unit is within a Kolmogorov-Smirnov distance of "
        f"{CLOSE:g} of the Gaussian of its own mean and variance. By operator: {'; '.join(parts)}."
    )


def _breaks(rows: Sequence[LayerNoise]) -> str:
    far = [row for row in rows if row.ks >= FAR]
    if not far:
        worst = max(rows, key=lambda row: _finite(row.ks))
        return f"Nowhere by more than {FAR:g}; the furthest is {worst.ks:.4f}, behind {worst.name} ({worst.op})."
    worst = max(far, key=lambda row: row.ks)
    text = (
        f"In {_count(len(far), 'layer')} by {FAR:g} or more, behind {_listed(row.op for row in far)}. First at "
        f"{far[0].name}, most at {worst.name} ({worst.op}): distance {worst.ks:.3f}, skewness "
        f"{worst.skewness:.2f}, "
        f"excess kurtosis {worst.kurtosis:.2f}."
    )
    after = [(a, b) for a, b in pairwise(rows) if a.ks >= FAR]
    healed = [(a, b) for a, b in after if b.ks < a.ks / 3]
    if healed:
        a, b = max(healed, key=lambda pair: pair[0].ks / pair[1].ks)
        text += (
            f" The layer after heals it in {len(healed)} of {len(after)} cases, by summing many units: behind "
            f"{b.name} ({b.op}) {a.ks:.3f} has become {b.ks:.4f}."
        )
    return text


def _channel(rows: Sequence[LayerNoise]) -> str:
    mixed = [row for row in rows if row.ks_channel >= CLOSE > row.ks]
    worst = max(mixed or rows, key=lambda row: _finite(row.ks_channel))
    return (
        f"In {_count(len(mixed), 'layer')} every unit's noise is Gaussian and that of the channel is not: its "
        f"strength depends on what the picture shows there, and a mixture of Gaussians is none. The furthest is "
        f"{worst.name} ({worst.op}) at {worst.ks_channel:.3f}, where the distance of the units is {worst.ks:.4f}."
    )


def _independence(rows: Sequence[LayerNoise]) -> str:
    text = ""
    near = max(rows, key=lambda row: _finite(row.neighbours))
    across = max(rows, key=lambda row: _finite(row.channels))
    if not math.isnan(near.neighbours):
        middle = statistics.median(row.neighbours for row in rows if not math.isnan(row.neighbours))
        text += (
            f"The noise comes in with a correlation of {rows[0].neighbours:.3f} between neighbours; the median "
            f"layer has {middle:.2f}, {near.name} ({near.op}) the most, {near.neighbours:.2f}."
        )
    if not math.isnan(across.channels):
        text += f" Between channels it is {across.channels:.2f} at most, at {across.name} ({across.op})."
    ratios = [(row, r) for row in rows if (r := _ratio(row.predicted_here, row.std)) is not None]
    if ratios:
        parts = []
        for op in dict.fromkeys(row.op for row, _ in ratios):
            found = sorted(r for row, r in ratios if row.op == op)
            parts.append(f"{op} {found[0]:.2f}" + (f" to {found[-1]:.2f}" if len(found) > 1 else ""))
        wrong = [row for row, r in ratios if abs(math.log(r)) > math.log(1.1)]
        text += (
            f" Taken for independent Gaussians, the measured inputs of one layer give this many times the measured "
            f"standard deviation of its output: {'; '.join(parts)}. It is off by more than a tenth in "
            f"{len(wrong)} of {_count(len(ratios), 'layer')}"
            f"{f' ({_listed(row.op for row in wrong)})' if wrong else ''}."
        )
    return text.strip()


def _prediction(rows: Sequence[LayerNoise]) -> str:
    ratios = [(row, r) for row in rows[1:] if (r := _ratio(row.predicted, row.std)) is not None]
    if not ratios:
        return "No operator here has a rule."
    good = [row for row, r in ratios if abs(r - 1) <= TOLERANCE]
    lost = next((row for row, r in ratios if abs(r - 1) > TOLERANCE), None)
    last, at_end = ratios[-1]
    text = (
        f"Followed from the picture on, the predicted standard deviation is within {TOLERANCE:.0%} of the measured "
        f"one in {len(good)} of {len(ratios)} layers"
    )
    text += f"; it first leaves that at {lost.name} ({lost.op}). " if lost else ". "
    text += f"At the end, {last.name} ({last.op}), it is {at_end:.3g} times what was measured."
    restarted = [row.op for row in rows if row.restarted]
    if restarted:
        text += (
            f" There is no rule for {_listed(restarted)}; the prediction goes on from the measured moments there."
        )
    return text


def _kill(study: Study) -> str:
    rows = study.rows
    first, last = rows[0], rows[-1]
    best = max(rows, key=lambda row: _finite(row.gain))
    text = f"From {255 * first.std:.2f} 8-bit steps at the input to {255 * last.std:.2f} at the output."
    if not math.isnan(best.gain):
        text += (
            f" The signal-to-noise ratio goes from {first.snr:.1f} to {last.snr:.1f} dB; the largest step is "
            f"{best.name} ({best.op}): {best.gain:+.1f} dB over the best of its inputs."
        )
    inner = [row.snr for row in rows[1:-1] if not math.isnan(row.snr)]
    if inner:
        text += f" Between them the ratio runs from {min(inner):.1f} to {max(inner):.1f} dB."
    meeting = _correlation(best, rows)
    if meeting is not None and meeting > 0.5:
        text += (
            f" There two noises meet that are correlated by {meeting:.3f}, so that their difference is small: the "
            f"network's estimate of the noise is taken from the noise. A theory of independent noise adds the two "
            f"variances and expects {_ratio(best.predicted_here, best.std) or math.nan:.1f} times as much."
        )
    text += (
        f" In the mean over the draws the output differs from that on the clean picture by {255 * last.shift:.2f} "
        f"steps (rms): what the network takes away, or adds, because there is noise."
    )
    return text


def _correlation(row: LayerNoise, rows: Sequence[LayerNoise]) -> float | None:
    """Of the two inputs of a difference: Var(a - b) = Var a + Var b - 2 Cov(a, b)."""
    std = {other.name: other.std for other in rows}
    if row.op != "Sub" or any(not std.get(name) for name in row.inputs):
        return None
    a, b = (std[name] for name in row.inputs)
    return (a * a + b * b - row.std**2) / (2 * a * b)


def _ratio(predicted: float | None, measured: float) -> float | None:
    return predicted / measured if predicted and measured > 0 else None


def _finite(value: float) -> float:
    return -math.inf if math.isnan(value) else value


def _listed(ops: Iterable[str]) -> str:
    counts: dict[str, int] = {}
    for op in ops:
        counts[op] = counts.get(op, 0) + 1
    return ", ".join(op if n == 1 else f"{n} {op}" for op, n in counts.items())


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"
