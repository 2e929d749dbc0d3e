"""Weights to one ONNX file with its card, and a check that onnxruntime computes what torch does."""

from __future__ import annotations

import copy
import dataclasses
import logging
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

from denoise_cli import processor
from denoise_cli.card import LATENT, METADATA_KEY, UNTOLD, ModelCard
from denoise_cli.errors import TrainingError
from denoise_cli.media.files import Replacing
from denoise_cli.media.layout import TABULAR
from denoise_cli.model_file import ModelFile

TOLERANCE = 1e-4  # largest allowed difference between torch and onnxruntime, in units of the signal; tables: of std


def export(net: nn.Module, card: ModelCard, path: Path) -> tuple[ModelCard, float]:
    """Write `net` to `path`; returns the card as written (with its halo) and the parity.

    The parity is the largest absolute difference between torch and onnxruntime on a noisy example;
    TrainingError if it is above `TOLERANCE`.
    """
    net = net.cpu().to(memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
    model = _to_onnx(net, card)
    halo: int = receptive_radius(net, card) if card.kind == "image" else net.halo  # type: ignore[assignment]
    card = dataclasses.replace(card, halo=halo)
    difference = parity(net, model, card)
    if not difference < TOLERANCE:
        raise TrainingError(
            f"export: onnxruntime differs from torch by {difference:.2e}, more than {TOLERANCE:.0e}"
        )
    write(model, card, path)
    return card, difference


def write(graph: onnx.ModelProto, card: ModelCard, output: Path) -> None:
    """Write a graph with its card, in place of one that it had."""
    del graph.metadata_props[:]
    entry = graph.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, card.to_json()
    written = graph.SerializeToString()
    ModelFile.parse(written, output)  # what could not be opened afterwards is not written
    with Replacing(output) as target:
        target.file.write(written)
        target.commit()


def _to_onnx(net: nn.Module, card: ModelCard) -> onnx.ModelProto:
    dynamic = torch.export.Dim.DYNAMIC
    if card.kind == "audio":
        inputs: tuple[torch.Tensor, ...] = (torch.rand(2, 2, 8 * card.multiple),)
        names, shapes = ["x"], [{0: dynamic, 1: dynamic, 2: dynamic}]
    elif card.kind == "series":
        inputs = (torch.rand(2, card.channels, 8 * card.multiple),)
        names, shapes = ["x"], [{0: dynamic, 2: dynamic}]
    elif card.kind == "table":
        inputs, names, shapes = (torch.rand(8, card.channels),), ["x"], [{0: dynamic}]
    else:
        side = 8 * card.multiple
        inputs = (torch.rand(2, card.channels, side, side + card.multiple),)
        names, shapes = ["x"], [{0: dynamic, 2: dynamic, 3: dynamic}]
    if card.noise_input:
        inputs, names, shapes = (*inputs, torch.rand(2)), [*names, "sigma"], [*shapes, {0: dynamic}]
    outputs = ["y"]
    if card.latent:
        net, outputs = _Halves(net), ["y", LATENT]
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of its own insides
        program = torch.onnx.export(
            net, inputs, dynamo=True, external_data=False, verbose=False,
            input_names=names, output_names=outputs, dynamic_shapes=tuple(shapes),
        )  # fmt: skip
    assert program is not None, "the dynamo exporter returns its program"
    model = program.model_proto
    for node in model.graph.node:
        del node.metadata_props[:]  # where in whose folders each operator was written
    del model.graph.output[1:]  # the bottleneck keeps its name within the graph: there it is cut in two
    return model


class _Halves(nn.Module):
    """Shows the exporter the bottleneck of a net, so that it has a name."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        z = self.net.encode(x)  # type: ignore[operator]
        return self.net.decode(z), z  # type: ignore[operator]


def example(card: ModelCard) -> tuple[dict[str, np.ndarray], np.ndarray | float]:
    """Something noisy for a model, by the names of its inputs; and the unit of the signal, or of each column."""
    unit: np.ndarray | float = 1.0
    if card.kind in TABULAR:
        x, unit = _table(card)
    else:
        x = _recording(card) if card.kind == "audio" else _picture(card, 16 * card.multiple)
    if not card.noise_input:
        return {"x": x}, unit
    levels = [25 / 255, UNTOLD if card.noise_optional else 0]
    return {"x": np.repeat(x, 2, 0), "sigma": np.array(levels, np.float32)}, unit


def parity(net: nn.Module, model: onnx.ModelProto, card: ModelCard) -> float:
    """The largest difference between torch and onnxruntime on a noisy example, in units of the signal."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    processor.add_bytes_exactly(options)
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    feed, unit = example(card)
    with torch.no_grad():
        ours = net(*[torch.from_numpy(v) for v in feed.values()]).numpy()
    return float((np.abs(session.run(None, feed)[0] - ours) / unit).max())


def _picture(card: ModelCard, side: int) -> np.ndarray:
    """Smooth hills plus noise, (1, C, side, side): both what a net keeps and what it removes."""
    rng = np.random.default_rng(0)
    t = np.linspace(0, 12, side, dtype=np.float32)
    hills = 0.5 + 0.25 * np.sin(t)[:, None] + 0.25 * np.sin(1.7 * t)[None, :]
    noise = rng.standard_normal((1, card.channels, side, side), dtype=np.float32) * (25 / 255)
    return np.clip(hills + noise, 0, 1).astype(np.float32)


def _recording(card: ModelCard) -> np.ndarray:
    """Tones that come and go plus noise, (1, 2, T): two channels, so that both axes are tried."""
    rng, time = np.random.default_rng(0), np.arange(64 * card.multiple, dtype=np.float32)
    tones = np.sin(0.05 * time) * np.sin(0.0005 * time) + np.sin(0.31 * time) * np.cos(0.001 * time)
    noise = rng.standard_normal((2, len(time)), dtype=np.float32)
    return (0.2 * tones + 0.05 * noise)[None].astype(np.float32)


def _table(card: ModelCard) -> tuple[np.ndarray, np.ndarray]:
    """Values about the columns' means, one in five missing, (64, F) or (1, C, T); and the unit of each."""
    rng = np.random.default_rng(0)
    shape = (64, card.channels) if card.kind == "table" else (1, card.channels, 64 * card.multiple)
    axes = (1, -1) if card.kind == "table" else (1, -1, 1)
    mean, std = (np.asarray(v or d, np.float32).reshape(axes) for v, d in ((card.mean, [0.0]), (card.std, [1.0])))
    x = (mean + std * rng.standard_normal(shape)).astype(np.float32)
    x[rng.random(shape) < 0.2] = np.nan
    # float32 itself keeps a value no better than to this share of its mean.
    return x, np.maximum(std, 1e-3 * np.abs(mean))


def receptive_radius(net: nn.Module, card: ModelCard, side: int = 768) -> int:
    """How far an input pixel can reach, in pixels, on the card's grid: the halo with which tiles are exact.

    A copy of the net with weights of one and biases of zero loses nothing on the way, so what half a
    picture of ones changes beyond its edge is what any weights could. Raises TrainingError if that is
    further than half of `side`.
    """
    probe, multiple = copy.deepcopy(net).double(), card.multiple
    level = [torch.zeros(1, dtype=torch.float64)] if card.noise_input else []
    side = side // multiple * multiple
    cut = side // 2 // multiple * multiple
    radius = 0
    with torch.no_grad():
        for parameter in probe.parameters():
            parameter.fill_(1.0 if parameter.dim() > 1 else 0.0)
        for shape in ((side, 4 * multiple), (4 * multiple, side)):
            axis = shape.index(side)
            nothing = torch.zeros(1, card.channels, *shape, dtype=torch.float64)
            still = probe(nothing, *level)
            for half in (slice(0, cut), slice(cut, side)):
                ones = nothing.clone()
                ones.narrow(2 + axis, half.start, half.stop - half.start).fill_(1.0)
                changed = (probe(ones, *level) != still).any(0).any(0).any(1 - axis).nonzero().flatten()
                reach = int(changed.max()) + 1 - cut if half.start == 0 else cut - int(changed.min())
                radius = max(radius, reach)
    if radius >= side - cut:
        raise TrainingError(
            f"export: a pixel of this net reaches {radius} pixels or further; tiles would be all halo"
        )
    return -(-radius // multiple) * multiple
