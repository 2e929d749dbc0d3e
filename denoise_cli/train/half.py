r"""A model in half precision: half the size, for GPUs that have units for it.

    x -- float - fp16 [ conv - leaky - conv - + ] - float -- + -- y
     \______________________ in float ______________________/

What a net takes away is small and bears eleven bits; the signal itself does not. What touches the input or the
output of the graph stays in float, so that a picture of 16 bits passes a net that finds nothing as it came.
"""

from __future__ import annotations

from pathlib import Path

import onnx
from onnxruntime.transformers.float16 import convert_float_to_float16
from onnxruntime.transformers.onnx_model import OnnxModel

from denoise_cli.card import LATENT, ModelCard
from denoise_cli.errors import ModelError
from denoise_cli.model_file import ModelFile
from denoise_cli.train.quantise import write_form


def halve(model: Path, output: Path, *, command: str = "") -> ModelCard:
    """Write the fp16 form of `model` to `output`; returns its card, without metrics and threshold.

    Raises ModelError for what is not a model for pictures in float: spectra of recordings and units of tables go
    beyond what half precision holds.
    """
    file = ModelFile.read(model)
    card, graph = file.card, onnx.load_from_string(file.data)
    if card.kind != "image" or card.precision != "float":
        raise ModelError(f"{model}: not a float model for pictures")
    # A bottleneck too: encode and decode cut the graph there, and both sides are told that it is float.
    names = {value.name for value in (*graph.graph.input, *graph.graph.output)} | {LATENT}
    ends = [node.name for node in graph.graph.node if names.intersection((*node.input, *node.output))]
    halved = convert_float_to_float16(graph, keep_io_types=True, node_block_list=ends)
    del halved.graph.value_info[:]  # which says of some constants what they no longer are
    _undo_round_trips(halved.graph)
    OnnxModel(halved).topological_sort()  # the converter appends
    return write_form(halved, file, "fp16", output, command)


def _undo_round_trips(graph: onnx.GraphProto) -> None:
    """Take out what the converter puts between the ends of the graph and nodes that stay float: fp16 and back."""
    casts = {node.output[0]: node for node in graph.node if node.op_type == "Cast"}
    exact = {node.output[0]: node.input[0] for node in casts.values() if _to(node) == onnx.TensorProto.FLOAT16}
    there_and_back = {
        name: exact[node.input[0]] for name, node in casts.items()
        if _to(node) == onnx.TensorProto.FLOAT and node.input[0] in exact
    }  # fmt: skip
    outputs = {value.name for value in graph.output}
    # A graph's output keeps its name: whoever made the value then writes it under that one.
    renamed = {source: name for name, source in there_and_back.items() if name in outputs}
    if LATENT in exact:  # so does the bottleneck, as the float it was
        renamed[exact.pop(LATENT)] = LATENT
    kept = []
    for node in graph.node:
        if node.output[0] in there_and_back or (node.op_type == "Cast" and node.output[0] == LATENT):
            continue
        for i, name in enumerate(node.input):
            source = there_and_back.get(name, name)
            node.input[i] = renamed.get(source, source)
        for i, name in enumerate(node.output):
            node.output[i] = renamed.get(name, name)
        kept.append(node)
    used = {name for node in kept for name in node.input} | outputs
    del graph.node[:]
    graph.node.extend(node for node in kept if node.op_type != "Cast" or node.output[0] in used)


def _to(cast: onnx.NodeProto) -> int:
    return next(attribute.i for attribute in cast.attribute if attribute.name == "to")
