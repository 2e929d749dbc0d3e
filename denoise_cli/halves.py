"""A model with a bottleneck, cut in two: encoder and decoder, each a graph of its own, from the one file.

    x -> [ nodes ] -> latent -> [ nodes ] -> y         the model's file: one graph, which `denoise run` uses whole
    x -> [ nodes ] -> latent                           the encoder: what `latent` is computed from
                      latent -> [ nodes ] -> y         the decoder: what is computed from it

Nodes and weights are taken over byte for byte from a file that model_file.py has passed, so a half holds nothing
that was not checked; the card says whether there is a bottleneck, and of what shape.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from denoise_cli import session as sessions
from denoise_cli.card import LATENT, ModelCard
from denoise_cli.errors import ModelError, OutOfMemory
from denoise_cli.model_file import ModelFile
from denoise_cli.protobuf import pieces, written
from denoise_cli.session import Session

# Numbers of fields are those of onnx.proto, github.com/onnx/onnx; names as in model_file.py.
_MODEL_GRAPH, _MODEL_METADATA = 7, 14
_NODE, _GRAPH_NAME, _INITIALIZER, _INPUT, _OUTPUT = 1, 2, 5, 11, 12
_NODE_INPUT, _NODE_OUTPUT, _TENSOR_NAME, _VALUE_NAME = 1, 2, 8, 1
FLOAT = 1


class Halves:
    """The encoder and the decoder of one model, opened: pictures in [0, 1] to latent arrays and back.

    Raises ModelError for a model without a bottleneck, and for one whose graph cannot be cut there.
    """

    def __init__(self, path: Path, device: str = "auto"):
        card = ModelFile.read(path).card
        if not card.latent or card.kind != "image":
            raise ModelError(
                f'model "{card.name}" has no bottleneck: it cannot encode; '
                "denoise train --recipe mnist-latent16 makes one that can"
            )
        file = sessions.tried(path)
        whole = Session(file, device)
        self.path, self.card, self.fingerprint = path, file.card, file.fingerprint
        self._encoder, self._decoder = (whole.part(half(file)) for half in (encoder, decoder))

    def encode(self, x: np.ndarray) -> np.ndarray:
        """(N, C, H, W) float32, H and W multiples of the card's `multiple` -> (N, latent, h, w)."""
        stride = self.card.latent_stride
        shape = (len(x), self.card.latent, x.shape[2] // stride, x.shape[3] // stride)
        return self._run(self._encoder, "x", x, shape)

    def decode(self, z: np.ndarray) -> np.ndarray:
        """(N, latent, h, w) float32 -> (N, C, H, W)."""
        stride = self.card.latent_stride
        return self._run(
            self._decoder, LATENT, z, (len(z), self.card.channels, z.shape[2] * stride, z.shape[3] * stride)
        )

    def _run(self, part: Any, name: str, x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        try:
            y = part.run(None, {name: np.ascontiguousarray(x, np.float32)})[0]
        except Exception as error:  # onnxruntime raises a dozen private classes
            if "allocate" in str(error).lower():
                raise OutOfMemory(f"{self.path}: out of memory at {x.shape}") from None
            raise ModelError(f"{self.path}: failed on {x.shape}") from None
        if y.shape != shape or not np.isfinite(y.sum()):
            raise ModelError(f"{self.path}: turned {x.shape} into {y.shape}, or not into numbers")
        return y


def encoder(file: ModelFile) -> bytes:
    """The graph from `x` to the bottleneck, as an ONNX file."""
    return _cut(file, "x", LATENT)


def decoder(file: ModelFile) -> bytes:
    """The graph from the bottleneck to `y`."""
    return _cut(file, LATENT, "y")


def _cut(file: ModelFile, source: str, target: str) -> bytes:
    parts, model = list(pieces(memoryview(file.data))), []
    for number, whole, content in parts:
        if number == _MODEL_GRAPH:
            model.append(written(_MODEL_GRAPH, _cut_graph(content, file, source, target)))
        elif number != _MODEL_METADATA:
            model.append(whole)
    return b"".join(model)


def _cut_graph(graph: memoryview, file: ModelFile, source: str, target: str) -> bytes:
    nodes: list[tuple[bytes, list[str], list[str]]] = []  # the field, its inputs, its outputs
    weights: dict[str, bytes] = {}
    kept = []
    for number, whole, content in pieces(graph):
        if number == _NODE:
            nodes.append((whole, _names(content, _NODE_INPUT), _names(content, _NODE_OUTPUT)))
        elif number == _INITIALIZER:
            weights[_names(content, _TENSOR_NAME)[0]] = whole
        elif number == _GRAPH_NAME:
            kept.append(whole)
    made_by = {name: index for index, (_, _, outputs) in enumerate(nodes) for name in outputs if name}
    needed = _needed(nodes, made_by, weights, source, target)
    if needed is None or not needed:
        raise ModelError(f"{file.path}: its card speaks of a bottleneck, and its graph cannot be cut at one")
    used = {name for index in needed for name in nodes[index][1]}
    kept += [nodes[index][0] for index in sorted(needed)]
    kept += [field for name, field in weights.items() if name in used]
    kept += [written(_INPUT, _value(source, file.card)), written(_OUTPUT, _value(target, file.card))]
    return b"".join(kept)


def _needed(
    nodes: list[tuple[bytes, list[str], list[str]]],
    made_by: dict[str, int],
    weights: Collection[str],
    source: str,
    target: str,
) -> set[int] | None:
    """Which nodes `target` is computed by, from `source` and weights alone; None if it takes anything else."""
    needed: set[int] = set()
    open_ends = [target]
    while open_ends:
        name = open_ends.pop()
        if name in ("", source) or name in weights:
            continue
        if (index := made_by.get(name)) is None:
            return None
        if index not in needed:
            needed.add(index)
            open_ends += nodes[index][1]
    return needed


def _names(message: memoryview, number: int) -> list[str]:
    return [bytes(content).decode("utf-8", "replace") for field, _, content in pieces(message) if field == number]


def _value(name: str, card: ModelCard) -> bytes:
    """A ValueInfoProto: float (N, channels, rows, columns)."""
    channels = card.latent if name == LATENT else card.channels
    axes: list[str | int] = ["N", channels, f"{name}_rows", f"{name}_columns"]
    shape = b"".join(
        written(1, written(1, axis) if isinstance(axis, int) else written(2, axis.encode())) for axis in axes
    )
    tensor = written(1, FLOAT) + written(2, shape)
    return written(_VALUE_NAME, name.encode()) + written(2, written(1, tensor))


def cells(card: ModelCard, height: int, width: int) -> tuple[int, int]:
    """Rows and columns of the latent array of a picture, once it is padded to the model's grid."""
    rows, columns = (math.ceil(side / card.multiple) * card.multiple for side in (height, width))
    return rows // card.latent_stride, columns // card.latent_stride
