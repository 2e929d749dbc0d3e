"""A real network with its insides out: every activation of an ONNX model that the picture reaches, as an output.

    x -> Conv -> LeakyRelu -> Add -> ... -> y        the nodes, in order
           |         |         |
         conv2d   leaky_relu  add_25                 what `Opened.run` returns

Which tensors those are the graph says; their sizes, onnx's shape inference. A copy of the model is changed, in
memory; the file is not touched. The caller has checked it (model_file.py, session.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from denoise_cli import processor
from denoise_cli.errors import BackendError, ModelError

MISSING = 'a look inside a model needs onnx; run: pip install "denoise-cli[train]"'
BLIND = frozenset({"Shape", "Size"})  # they see how large the picture is, and nothing of what it shows
LARGE = 1 << 22  # values of a tensor whose size inference cannot tell

Run = Callable[[np.ndarray], dict[str, np.ndarray]]


@dataclass(frozen=True)
class Node:
    """One operator that the picture reaches."""

    op: str
    inputs: tuple[str, ...]  # "" where an optional one is left out
    output: str
    attributes: Mapping[str, Any]  # of ints, floats, bytes and lists of these
    proto: Any = field(repr=False)


class Network:
    """The graph of a model, for pictures of one shape (1, C, H, W)."""

    def __init__(self, data: bytes, shape: tuple[int, ...], sigma: float | None = None):
        """`sigma`, in [0, 1], is told to a model that takes it."""
        try:
            import onnx
            from onnx import numpy_helper, shape_inference
        except ImportError:
            raise BackendError(MISSING) from None
        self.model = onnx.load_model_from_string(data)
        graph = self.model.graph
        self.input, self.output = graph.input[0].name, graph.output[0].name
        self.feed = {} if len(graph.input) == 1 else {graph.input[1].name: np.full(1, sigma or 0.0, np.float32)}
        self.opsets = list(self.model.opset_import)
        self.constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        reached, self.nodes = {self.input}, []
        for node in graph.node:
            if node.op_type not in BLIND and reached.intersection(node.input):
                reached.update(name for name in node.output if name)
                attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
                self.nodes.append(Node(node.op_type, tuple(node.input), node.output[0], attributes, node))
        # Values that do not depend on what the picture shows, such as a shape or a map of the noise level.
        known = {*reached, *self.constants, *self.feed, ""}
        self._fixed = sorted({name for node in self.nodes for name in node.inputs} - known)
        sized = onnx.ModelProto()
        sized.CopyFrom(self.model)
        for size, dim in zip(shape, sized.graph.input[0].type.tensor_type.shape.dim, strict=True):
            dim.dim_value = size
        self._inferred = {v.name: v for v in shape_inference.infer_shapes(sized, data_prop=True).graph.value_info}

    def size(self, name: str) -> int:
        """Values in a tensor; a guess on the large side where inference could not tell."""
        dims = self._inferred[name].type.tensor_type.shape.dim if name in self._inferred else ()
        return prod(dim.dim_value for dim in dims) or LARGE

    def open(self, names: Iterable[str]) -> Run:
        """A function from a picture, (1, C, H, W) float32, to the named tensors."""
        import onnx

        changed = onnx.ModelProto()
        changed.CopyFrom(self.model)
        wanted = list(dict.fromkeys(names))
        del changed.graph.output[:]
        changed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted)
        session = open_bytes(changed.SerializeToString())

        def run(x: np.ndarray) -> dict[str, np.ndarray]:
            try:
                values = session.run(wanted, {self.input: x, **self.feed})
            except Exception as error:  # onnxruntime raises a dozen private classes
                raise ModelError(f"the model failed on {x.shape} ({type(error).__name__})") from None
            return dict(zip(wanted, values, strict=True))

        return run

    def learn_constants(self, x: np.ndarray) -> None:
        """Add to `constants` what the graph computes without looking at the picture."""
        self.constants |= {name: value for name, value in self.feed.items()}
        if self._fixed:
            self.constants |= self.open(self._fixed)(x)


def open_bytes(data: bytes) -> Any:
    """A plain session on one thread of the processor."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.enable_mem_pattern = False
    processor.add_bytes_exactly(options)
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ModelError(f"the model cannot be opened with its insides out ({type(error).__name__})") from None
