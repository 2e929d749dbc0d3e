"""A picture model in 8-bit integers: two to three times faster where a processor multiplies bytes.

    x - conv - blocks [ int8 conv - leaky - int8 conv - + ] - conv - y       weights: int8, a scale a channel
                                                                             activations: uint8, a scale a tensor

Ranges of activations come from noisy pictures that run through the float model. The first and last layer stay in
float: they see the picture itself, and their rounding would stay in it; so does the sum of each block, which would
gather the rounding of all blocks before it.
After: H. Wu et al., "Integer quantization for deep learning inference: principles and empirical evaluation", 2020.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx
import torch
from onnxruntime import quantization

from denoise_cli import corrupt, media
from denoise_cli.card import MADE_FROM, ModelCard
from denoise_cli.errors import ModelError, TrainingError
from denoise_cli.model_file import ModelFile
from denoise_cli.train import data, tasks
from denoise_cli.train.export import write

STEPS, BATCH, SIDE = 16, 8, 256  # calls, patches in each and their side, that the ranges are taken from
GRAY = 0.4  # share of them in gray
INTEGER = ["Conv", "LeakyRelu", "Resize"]
# One patch with an outlier would make every step coarse: ranges are averaged over calls. Each shows several
# patches, or faint noise would make them too narrow for strong noise.
RANGES = {"CalibMovingAverage": True, "CalibMovingAverageConstant": 0.05}
Range = tuple[float, float]  # of an activation: its smallest and its largest value


class _Calibration(quantization.CalibrationDataReader):
    """Noisy patches, as onnxruntime wants to be given them."""

    def __init__(self, patches: Iterator[dict[str, np.ndarray]]):
        self.patches = patches

    def get_next(self) -> dict[str, np.ndarray] | None:  # type: ignore[override]
        return next(self.patches, None)


def quantise(
    model: Path, clean: Path, output: Path, *, seed: int = 0, command: str = "", say: Callable[[str], None] = print
) -> ModelCard:
    """Write the int8 form of `model` to `output`; ranges from the pictures in `clean`. Returns its card.

    Raises ModelError for what is not a model for pictures in float, TrainingError where no picture can be read.
    """
    file = ModelFile.read(model)
    card, graph = file.card, onnx.load_from_string(file.data)
    if card.kind != "image" or (card.noise_input and not card.noise_optional):
        raise ModelError(f"{model}: only blind models for pictures can be quantised yet")
    if card.precision != "float" or len(_convolutions(graph)) < 3:
        raise ModelError(f"{model}: not a float model of three convolutions or more")
    return write_form(to_integers(graph, _patches(card, clean, seed, say)), file, "int8", output, command)


def to_integers(
    graph: onnx.ModelProto, shown: Iterator[dict[str, np.ndarray]], ranges: Mapping[str, Range] | None = None
) -> onnx.ModelProto:
    """The int8 form of a graph of three convolutions or more.

    Ranges come from what it is shown, by the names of its inputs; those in `ranges`, by the name of the value, are
    taken instead.
    """
    convolutions = _convolutions(graph)
    given = {n: [{"rmin": np.float32(low), "rmax": np.float32(high)}] for n, (low, high) in (ranges or {}).items()}
    with tempfile.TemporaryDirectory() as folder, _silence():
        quantised = Path(folder) / "quantised.onnx"
        quantization.quantize_static(
            graph, quantised, _Calibration(shown), quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=INTEGER, per_channel=True, weight_type=quantization.QuantType.QInt8,
            activation_type=quantization.QuantType.QUInt8, calibrate_method=quantization.CalibrationMethod.MinMax,
            nodes_to_exclude=[convolutions[0], convolutions[-1]],
            extra_options={**RANGES, "TensorQuantOverrides": given},
        )  # fmt: skip
        result = onnx.load(quantised)
    _spare_sums(result.graph)
    return result


def _spare_sums(graph: onnx.GraphProto) -> None:
    """Give sums what was there before it was rounded for the next convolution, where that is in float."""
    makers = {name: node for node in graph.node for name in node.output}

    def rounded(name: str) -> bool:
        return name in makers and makers[name].op_type == "DequantizeLinear"

    for node in graph.node:
        for i, name in enumerate(node.input):
            if node.op_type == "Add" and rounded(name):
                value = makers[makers[name].input[0]].input[0]
                maker = makers[value]
                if maker.op_type not in INTEGER or not rounded(maker.input[0]):  # computed in float
                    node.input[i] = value


def _convolutions(graph: onnx.ModelProto) -> list[str]:
    return [node.name for node in graph.graph.node if node.op_type == "Conv"]


def write_form(graph: onnx.ModelProto, file: ModelFile, precision: str, output: Path, command: str) -> ModelCard:
    """Write `graph`, made from the float model `file`, with a card that says so; returns the card.

    Metrics and a threshold for anomalies are left out of it: they are not those of this form.
    """
    training = {**file.card.training, MADE_FROM: file.fingerprint}
    card = dataclasses.replace(
        file.card, precision=precision, metrics={}, anomaly={}, training=training,
        command=command or file.card.command,
    )  # fmt: skip
    write(graph, card, output)
    return card


def _patches(
    card: ModelCard, clean: Path, seed: int, say: Callable[[str], None]
) -> Iterator[dict[str, np.ndarray]]:
    """What the model is fed: (BATCH, C, SIDE, SIDE), with the noise of its training, and the levels or none."""
    left_out: list[tasks.LeftOut] = []
    paths = tasks.listing(clean, media.IMAGE_SUFFIXES, left_out)
    skip = tasks.skipping(say, left_out)
    if not paths:
        raise TrainingError(f"{clean}: no pictures to take ranges from")
    chosen = np.random.default_rng(seed).permutation(len(paths))[: STEPS * BATCH]
    read = [paths[i] for i in sorted(chosen)]
    try:
        pool = data.load(read, card.channels, skip, least=SIDE, seed=seed)
    except TrainingError:  # it speaks of training
        raise TrainingError(f"{clean}: no picture that can be read to take ranges from") from None
    gray = GRAY if card.channels == 3 else 0.0
    stream = data.Patches(pool, corrupt.parse(card.noise), SIDE, BATCH, seed, gray, told=card.noise_input)
    generator = torch.Generator()
    for step in range(STEPS):
        generator.manual_seed(seed + step)
        pair = stream.pair(stream.batch(step), torch.device("cpu"), generator)
        feed = {"x": pair.noisy.contiguous().numpy()}
        yield feed if pair.level is None else {**feed, "sigma": pair.level.float().numpy()}


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Onnxruntime's advice, on the root logger, is about pre-processing that our exporter has done."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
