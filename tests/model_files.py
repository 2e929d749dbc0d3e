"""ONNX files that tests build by hand, good and hostile."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import NodeProto, TensorProto, helper, numpy_helper

from denoise_cli.card import METADATA_KEY, ModelCard
from denoise_cli.errors import ModelError
from denoise_cli.session import Session

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
X = ["N", 3, "H", "W"]


def build(
    path: Path,
    nodes: Sequence[NodeProto],
    inputs: dict[str, tuple[int, list]] | None = None,
    output: list | None = None,
    card: ModelCard | str | None = ModelCard("fake"),
    constants: dict[str, np.ndarray] | None = None,
    kind: int = FLOAT,
) -> Path:
    """Write a model of `nodes` that map the inputs to `y`, with a card, or a text in its place, if one is given."""
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info(k, *v) for k, v in (inputs or {"x": (FLOAT, X)}).items()],
        [helper.make_tensor_value_info("y", kind, output or X)],
        [numpy_helper.from_array(v, k) for k, v in (constants or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    if card is not None:
        entry = model.metadata_props.add()
        entry.key, entry.value = METADATA_KEY, card if isinstance(card, str) else card.to_json()
    path.write_bytes(model.SerializeToString())
    return path


def identity(x: str = "x") -> list[NodeProto]:
    return [helper.make_node("Identity", [x], ["y"])]


def added(name: str) -> list[NodeProto]:
    """y = x + the sum over `name`, so that nothing of it can be left out."""
    return [
        helper.make_node("ReduceSum", [name], ["sum"], keepdims=0),
        helper.make_node("Add", ["x", "sum"], ["y"]),
    ]


def refused(path: Path) -> str:
    """The one line that says why a model is refused; it must name the file."""
    with pytest.raises(ModelError) as caught:
        Session(path, "cpu")
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    assert len(message) < 400 + len(str(path))
    return message


def edit(path: Path, change) -> Path:
    """Let `change` work on the model of a file."""
    model = onnx.load_model_from_string(path.read_bytes())
    change(model)
    path.write_bytes(model.SerializeToString())
    return path
