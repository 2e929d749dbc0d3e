"""What a recording holds besides what the model hears: the band above, and how it is cleaned.

    x ----------- at the model's rate -- model -- back ---- + -- y
    |                    |                                  |
    + - (minus) -------- back ---- rest ---- * gain ------- +

The rest keeps whatever stands out above its own floor of the last and the next half second (consonants, breath,
cymbals). The floor itself is lowered as far as the model lowered the noise that it heard meanwhile: to nothing
where it took all, not at all where it changed nothing. So a 48 kHz file comes back as one, with the hiss gone.
"""

from __future__ import annotations

import numpy as np

FRAME = 0.016  # seconds over which energies are measured
REACH = 40  # frames to either side in which the floor is looked for
FLOOR = 25  # per cent of these frames lie on the floor or below: speech has that many pauses and dark vowels
LOWERED = 10  # per cent of them tell what the model does to noise alone
ABOVE = 3.0  # times the floor's energy: what is below counts as noise
SPAN = FRAME * (REACH + 3)  # seconds beyond which nothing changes a gain


def restored(x: np.ndarray, heard: np.ndarray, said: np.ndarray, rate: int, model_rate: int) -> np.ndarray:
    """Bring `said`, the answer of the model to what it `heard`, (C, m), to the rate and length of x, (C, n)."""
    if rate == model_rate:
        return said
    length = x.shape[1]
    both = _fitted(resampled(np.concatenate([heard, said]), model_rate, rate), length)
    heard_again, said_again = both[: len(x)], both[len(x) :]
    rest = x - heard_again
    g = gain(rest, heard, said, rate, model_rate)
    for y, more, one in zip(said_again, rest, g, strict=True):
        y += more * glided(one, rate, length)
    return said_again


def gain(rest: np.ndarray, heard: np.ndarray, said: np.ndarray, rate: int, model_rate: int) -> np.ndarray:
    """Gain of the rest, 0..1, (C, frames) of `FRAME` seconds.

    a + (1 - a) max(0, 1 - 3 N / E), with E the energy of a frame and its neighbours, N the floor of it and a the
    gain that the model gave to the treble in its hardest moments: quantiles over `REACH` frames to either side.
    (Spectral subtraction of energies, Berouti et al. 1979; the floor after Martin 2001, minimum statistics.)
    """
    frames = frame_count(rest.shape[1], rate)
    energy = _neighbourly(energies(rest, rate, frames))
    # Second differences of samples are treble: where there is no consonant, they are noise between any vowels.
    before, after = (
        _neighbourly(energies(np.diff(v, 2, prepend=0, append=0), model_rate, frames)) for v in (heard, said)
    )
    lowered = running_quantile(np.sqrt(np.minimum(1, (after + 1e-12) / (before + 1e-12))), LOWERED)
    kept = np.maximum(0, 1 - ABOVE * running_quantile(energy, FLOOR) / np.maximum(energy, 1e-12))
    return lowered + (1 - lowered) * kept


def frame_count(length: int, rate: int) -> int:
    """Frames of `FRAME` seconds in so many samples; the rest of them belongs to the last one."""
    return max(1, int(length / (rate * FRAME)))


def frame_centres(frames: int, rate: int) -> np.ndarray:
    """Where the middles of so many frames lie, in samples, (frames,)."""
    return (np.arange(frames) + 0.5) * FRAME * rate


def glided(values: np.ndarray, rate: int, length: int) -> np.ndarray:
    """(frames,) values at the middles of frames -> (length,) float32 at every sample.

    In straight lines from each to the next, level before the first and after the last: what np.interp gives, which
    looks each sample up.
    """
    step = FRAME * rate
    starts = np.minimum(np.ceil(frame_centres(len(values), rate)).astype(int), length)  # of each line
    counts = np.diff(starts)
    out = np.empty(length, np.float32)
    out[: starts[0]], out[starts[-1] :] = values[0], values[-1]
    if len(counts):
        along = (starts[:-1] - frame_centres(len(counts), rate)) / step
        slopes = np.diff(values).astype(np.float32)
        first = (values[:-1] + along * slopes).astype(np.float32)
        lines = first[:, None] + slopes[:, None] * (np.arange(counts.max(), dtype=np.float32) / np.float32(step))
        whole = counts.min() == counts.max()
        out[starts[0] : starts[-1]] = lines.ravel() if whole else lines[np.arange(counts.max()) < counts[:, None]]
    return out


def energies(x: np.ndarray, rate: int, frames: int) -> np.ndarray:
    """Sums of squares, (C, n) -> (C, frames); frames begin at whole multiples of `FRAME`, whatever the rate."""
    edges = np.minimum(np.round(np.arange(frames) * FRAME * rate).astype(int), x.shape[1] - 1)
    return np.add.reduceat(np.square(x, dtype=np.float64), edges, axis=1)


def _neighbourly(energy: np.ndarray) -> np.ndarray:
    around = np.pad(energy, ((0, 0), (1, 1)), mode="edge")
    return around[:, :-2] + around[:, 1:-1] + around[:, 2:]


def running_quantile(values: np.ndarray, percent: float) -> np.ndarray:
    """Of each of the (C, frames) values and its `REACH` neighbours to either side, by the nearest rank."""
    around = np.pad(values, ((0, 0), (REACH, REACH)), mode="reflect" if values.shape[1] > REACH else "edge")
    windows = np.lib.stride_tricks.sliding_window_view(around, 2 * REACH + 1, axis=1)
    rank = round(percent / 100 * 2 * REACH)
    return np.partition(windows, rank, axis=2)[:, :, rank]


def resampled(x: np.ndarray, rate: int, new_rate: int) -> np.ndarray:
    """(C, n) at `rate` -> (C, ceil(n new_rate / rate)) at `new_rate`, without delay."""
    if rate == new_rate:
        return x
    import soxr

    y = soxr.resample(x.T, rate, new_rate, quality="HQ")
    return _fitted(np.ascontiguousarray(y.T, dtype=np.float32), -(-x.shape[1] * new_rate // rate))


def _fitted(x: np.ndarray, length: int) -> np.ndarray:
    return x[:, :length] if x.shape[1] >= length else np.pad(x, ((0, 0), (0, length - x.shape[1])))
