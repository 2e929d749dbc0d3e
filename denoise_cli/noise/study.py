"""One network, one clean picture, many noisy draws: what becomes of the noise in every layer, and what theory says.

    for a group of layers that fit in memory:
        run the clean picture, then every draw, the same ones for each group; meters take what comes out
        predict each layer twice: from the input all the way down, and from what was measured one layer before

The first prediction shows how far independent Gaussian noise carries; the second, at which layer it goes wrong.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from denoise_cli.errors import ModelError, UsageError
from denoise_cli.noise.measure import Meter, Noise
from denoise_cli.noise.network import Network
from denoise_cli.noise.predict import Belief, Predictor

GROUP = 8 << 20  # values of all layers measured at a time: three float32 each, and one more from onnxruntime
BINS = np.linspace(-5, 5, 81)  # of the histograms, in standard deviations


@dataclass(frozen=True)
class LayerNoise:
    """A row of the table. See measure.Noise for the figures that carry its names."""

    name: str
    op: str
    inputs: tuple[str, ...]
    shape: tuple[int, ...]
    std: float
    shift: float
    snr: float
    skewness: float
    skewness_size: float
    kurtosis: float
    ks: float
    ks_channel: float
    neighbours: float
    channels: float
    silent: float
    predicted: float | None  # std by moment propagation from the input on
    predicted_here: float | None  # std from the measured mean and variance of every input of this layer
    restarted: bool  # no rule for this operator: the prediction goes on from what was measured
    gain: float  # dB by which the SNR here is above that of the best input of this layer
    histogram: tuple[float, ...]  # density over BINS of the noise of the units, each standardised


@dataclass(frozen=True)
class Study:
    rows: list[LayerNoise]
    std: float  # of the noise on the picture, in [0, 1]
    draws: int
    clean: np.ndarray  # (C, H, W), the picture
    noisy: np.ndarray  # the first draw
    restored: np.ndarray  # and what the network made of it
    psnr: tuple[float, float]  # dB, of input and output against the clean picture, over all draws; nothing clipped


def noisy_draw(clean: np.ndarray, std: float, seed: int, index: int, gray: bool) -> np.ndarray:
    """Clean (1, C, H, W) plus Gaussian noise, not clipped; `gray`: the same noise in all channels."""
    rng = np.random.default_rng([seed, index])
    shape = (1, 1, *clean.shape[2:]) if gray else clean.shape
    return clean + rng.normal(0, std, shape).astype(np.float32)


def study(
    data: bytes,
    clean: np.ndarray,
    std: float,
    draws: int = 32,
    *,
    seed: int = 0,
    gray: bool = False,
    progress: Callable[[float, str], None] = lambda fraction, note: None,
) -> Study:
    """Run the model in `data` on `clean`, (C, H, W) in [0, 1], and `draws` noisy versions of it.

    `std` is in [0, 1] too. Raises BackendError without onnx, ModelError for a model that this cannot run.
    """
    if draws < 8:
        raise UsageError(f"--draws {draws}: 8 or more")
    x = np.ascontiguousarray(clean[None], np.float32)
    network = Network(data, x.shape, sigma=std)
    network.learn_constants(x)
    watch = _Watch(network, x, std)
    groups = list(_groups(network))
    first: tuple[np.ndarray, np.ndarray] = (x, x)
    errors = np.zeros(2)
    for g, names in enumerate(groups):
        run = network.open([name for name in names if name != network.input] or [network.output])
        values = {**run(x), network.input: x}
        meters = {name: Meter(values[name], draws, seed) for name in names}
        del values
        for i in range(draws):
            progress((g + i / draws) / len(groups), f"draw {i + 1} of {draws}, layers {g + 1} of {len(groups)}")
            noisy = noisy_draw(x, std, seed, i, gray)
            values = {**run(noisy), network.input: noisy}
            for name in names:
                meters[name].add(values[name])
            if network.output in values:
                y = values[network.output]
                if y.shape != x.shape:
                    raise ModelError(f"the model turned {x.shape} into {y.shape}")
                errors += [np.square(noisy - x).mean(), np.square(y - x).mean()]
                first = (noisy, y) if i == 0 else first
            del values
        for name in names:
            watch.finish(name, meters.pop(name).result())
    before, after = (-10 * math.log10(e) if e > 0 else math.inf for e in errors / draws)
    return Study(watch.rows, std, draws, clean, first[0][0], first[1][0], (before, after))


def _groups(network: Network) -> Iterator[Sequence[str]]:
    """The input and every node's output, in order, cut where they would fill the memory."""
    names: list[str] = []
    filled = 0
    for name in (network.input, *(node.output for node in network.nodes)):
        size = network.size(name)
        if names and filled + size > GROUP:
            yield names
            names, filled = [], 0
        names.append(name)
        filled += size
    yield names


class _Watch:
    """Follows measured and predicted moments from layer to layer, as long as a later layer needs them."""

    def __init__(self, network: Network, x: np.ndarray, std: float):
        self._nodes = {node.output: node for node in network.nodes}
        self._last = {name: i for i, node in enumerate(network.nodes) for name in node.inputs}
        self._order = {node.output: i for i, node in enumerate(network.nodes)}
        self._predict = Predictor(network.opsets, network.constants)
        self._measured: dict[str, Belief] = {}
        self._chain: dict[str, Belief] = {network.input: (x, np.full_like(x, std**2))}
        self._snr: dict[str, float] = {}
        self.rows: list[LayerNoise] = []

    def finish(self, name: str, noise: Noise) -> None:
        """Add the row of a layer; its inputs have had theirs."""
        node = self._nodes.get(name)
        measured: Belief = (noise.mean, noise.variance)
        here = None if node is None else self._predict(node, self._measured)
        chained = self._chain.get(name) if node is None else self._predict(node, self._chain)
        restarted = chained is None
        self._measured[name] = measured
        self._chain[name] = measured if chained is None else chained
        self._snr[name] = noise.snr
        before = [self._snr[i] for i in (node.inputs if node else ()) if not math.isnan(self._snr.get(i, math.nan))]
        counts = np.histogram(noise.sample, BINS)[0] / max(noise.sample.size, 1) / (BINS[1] - BINS[0])
        self.rows.append(LayerNoise(
            name, node.op if node else "input", node.inputs if node else (), noise.mean.shape,
            noise.std, noise.shift, noise.snr, noise.skewness, noise.skewness_size, noise.kurtosis,
            noise.ks, noise.ks_channel, noise.neighbours, noise.channels, noise.silent,
            predicted=_std(chained), predicted_here=_std(here), restarted=restarted,
            gain=noise.snr - max(before) if before else math.nan, histogram=tuple(counts.tolist()),
        ))  # fmt: skip
        done = self._order.get(name, -1)
        for spent in [key for key in self._measured if self._last.get(key, -1) <= done]:
            del self._measured[spent], self._chain[spent]


def _std(belief: Belief | None) -> float | None:
    return None if belief is None else math.sqrt(max(float(belief[1].mean(dtype=np.float64)), 0.0))
