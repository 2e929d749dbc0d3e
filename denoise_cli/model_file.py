"""A model file, read and checked before onnxruntime sees it.

A file is hostile until checked. What a model of ours may hold is listed here, and whatever is on no list is
refused, be it known for evil or merely new: weights in other files, loops, functions, operators of other domains.

    model -+- opset_import: domain
           +- metadata_props: the card
           +- graph -+- node: op_type, domain -- attribute -- tensor
                     +- initializer: tensor

How much the operators compute no list can tell; a first run in a sandbox does, see session.py.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from denoise_cli import shipped
from denoise_cli.card import MAX_BYTES as CARD_BYTES
from denoise_cli.card import METADATA_KEY, ModelCard
from denoise_cli.errors import ModelError, printable
from denoise_cli.media.layout import Layout
from denoise_cli.protobuf import Malformed, Message, Reader, content, pieces, written

MAX_BYTES = 64 << 20  # six times the largest model that ships; onnxruntime holds four copies for a moment
MAX_FIELDS = 100_000  # a model of a hundred operators has 2,500; reading so many takes 0.1 s

# Enough for plain, recurrent, attending and quantised nets. None holds a graph of its own, reads a file, draws at
# random, or decodes a picture. All are of ONNX's own domain: those of com.microsoft include EPContext, which loads
# compiled code, and our exporter, its int8 form with QuantizeLinear around each operator included, needs none.
_GROUPS = (
    "Abs Add And Cast CastLike Ceil Clip Cos Div Elu Equal Erf Exp Floor Gelu Greater GreaterOrEqual HardSigmoid",
    "HardSwish Identity IsNaN LeakyRelu Less LessOrEqual Log LogSoftmax Max Min Mish Mod Mul Neg Not Or PRelu Pow",
    "Reciprocal Relu Round Selu Sigmoid Sign Sin Softmax Softplus Softsign Sqrt Sub Sum Swish Tanh Where",
    "Attention Conv ConvTranspose CumSum Einsum GRU Gemm LSTM MatMul RNN RotaryEmbedding",
    "ArgMax ArgMin AveragePool GlobalAveragePool GlobalMaxPool MaxPool ReduceL1 ReduceL2 ReduceMax ReduceMean",
    "ReduceMin ReduceProd ReduceSum ReduceSumSquare",
    "BatchNormalization GroupNormalization InstanceNormalization LayerNormalization LpNormalization",
    "RMSNormalization",
    "Concat Constant ConstantOfShape DepthToSpace Expand Flatten Gather GatherElements GatherND Pad Range Reshape",
    "Resize Shape Size Slice SpaceToDepth Split Squeeze Tile Transpose Trilu Unsqueeze",
    "ConvInteger DequantizeLinear DynamicQuantizeLinear MatMulInteger QLinearConv QLinearMatMul QuantizeLinear",
)
OPERATORS = frozenset(name for group in _GROUPS for name in group.split())

# Numbers and names are those of onnx.proto, github.com/onnx/onnx.
_INNER, _ELSEWHERE = "a graph within an operator", "weights that lie in another file"
MODEL = Message(
    {1: "ir_version", 2: "producer_name", 3: "producer_version", 4: "domain", 5: "model_version", 6: "doc_string",
     7: "graph"},
    {8: "opset_import", 14: "metadata_props"},
    {20: "training steps", 25: "functions", 26: "a plan for several devices"},
)  # fmt: skip
GRAPH = Message(
    {2: "name", 10: "doc_string"},
    {1: "node", 5: "initializer", 11: "input", 12: "output", 13: "value_info", 16: "metadata_props"},
    {14: "quantisation notes", 15: "sparse weights"},
)
NODE = Message(
    {3: "name", 4: "op_type", 6: "doc_string", 7: "domain"},
    {1: "input", 2: "output", 5: "attribute", 9: "metadata_props"},
    {8: "a call of a function", 10: "a plan for several devices"},
)
ATTRIBUTE = Message(
    {1: "name", 2: "f", 3: "i", 4: "s", 5: "t", 13: "doc_string", 20: "type"},
    {7: "floats", 8: "ints", 9: "strings"},
    {6: _INNER, 11: _INNER, 21: "a parameter of a function", 22: "sparse weights", 23: "sparse weights"},
)
TENSOR = Message(
    {2: "data_type", 8: "name", 9: "raw_data", 12: "doc_string", 14: "data_location"},
    {1: "dims", 4: "float_data", 5: "int32_data", 7: "int64_data", 10: "double_data", 11: "uint64_data",
     16: "metadata_props"},
    {3: "weights in segments", 6: "text for weights", 13: _ELSEWHERE},
)  # fmt: skip
OPSET = Message({1: "domain", 2: "version"})
ENTRY = Message({1: "key", 2: "value"})


@dataclass(frozen=True)
class ModelFile:
    """A file that has passed: its bytes, which are what onnxruntime is given, and its card."""

    path: Path  # for messages; the file may have changed since
    data: bytes
    card: ModelCard

    @classmethod
    def read(cls, path: Path) -> ModelFile:
        """Read and check a file; raises ModelError, which names it, for anything but a model of ours."""
        try:
            with open(path, "rb", opener=_without_waiting) as file:
                about = os.fstat(file.fileno())
                if not stat.S_ISREG(about.st_mode):
                    raise ModelError(f"{path}: not a regular file")
                if about.st_size > MAX_BYTES:
                    raise ModelError(f"{path}: {about.st_size} bytes, more than the {MAX_BYTES} a model may have")
                data = file.read(about.st_size)
        except OSError as error:
            raise ModelError(f"{path}: {error.strerror}") from None
        return cls.parse(data, path)

    @classmethod
    def parse(cls, data: bytes, path: Path) -> ModelFile:
        try:
            return cls(path, data, _Check().model(memoryview(data)))
        except (Malformed, ModelError) as error:
            raise ModelError(f"{path}: {error}") from None

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the graph, in hexadecimal: the same whatever is written into the card."""
        number = next(number for number, name in MODEL.once.items() if name == "graph")
        graphs = [whole for at, whole, _ in pieces(memoryview(self.data)) if at == number]
        return sha256(b"".join(graphs)).hexdigest()


def with_card(file: ModelFile, card: ModelCard) -> bytes:
    """The bytes of a model that differs in its card alone."""
    entry = written(1, METADATA_KEY.encode()) + written(2, card.to_json().encode())
    metadata = next(number for number, name in MODEL.many.items() if name == "metadata_props")
    kept = [
        whole
        for number, whole, content in pieces(memoryview(file.data))
        if number != metadata or written(1, METADATA_KEY.encode()) not in bytes(content)
    ]
    return b"".join([*kept, written(metadata, entry)])


def layout(model: str | None) -> Layout | None:
    """What tables the model of this name or path takes; None where it takes none, or cannot be read."""
    try:
        return None if model is None else ModelFile.read(shipped.locate(model)).card.layout
    except ModelError:  # said in full when it is opened
        return None


class _Check(Reader):
    """One walk through a file, from the model down to its tensors."""

    def __init__(self) -> None:
        super().__init__(MAX_FIELDS)

    def model(self, data: memoryview) -> ModelCard:
        graphs, cards = 0, []
        for name, value in self.fields(data, MODEL):
            if name == "graph":
                graphs += 1
                self.graph(content(value))
            elif name == "opset_import":
                for key, domain in self.fields(content(value), OPSET):
                    if key == "domain":
                        _check_domain(domain)
            elif name == "metadata_props":
                if (size := len(content(value))) > CARD_BYTES:
                    raise ModelError(f"holds metadata of {size} bytes, more than {CARD_BYTES}")
                entry = {key: bytes(content(text)) for key, text in self.fields(content(value), ENTRY)}
                if entry.get("key") == METADATA_KEY.encode():
                    cards.append(entry.get("value", b""))
        if not graphs:
            raise ModelError("not an ONNX model (it has no graph)")
        if len(cards) != 1:
            raise ModelError("two model cards" if cards else "no model card; was it made by denoise train?")
        try:
            return ModelCard.from_json(cards[0].decode())
        except UnicodeDecodeError:
            raise ModelError("model card: not UTF-8") from None

    def graph(self, data: memoryview) -> None:
        for name, value in self.fields(data, GRAPH):
            if name == "node":
                self.node(content(value))
            elif name == "initializer":
                self.tensor(content(value))

    def node(self, data: memoryview) -> None:
        for name, value in self.fields(data, NODE):
            if name == "op_type" and (operator := _text(value)) not in OPERATORS:
                raise ModelError(f'operator "{operator}" is not among those a model may use')
            if name == "domain":
                _check_domain(value)
            if name == "attribute":
                for key, inner in self.fields(content(value), ATTRIBUTE):
                    if key == "t":
                        self.tensor(content(inner))

    def tensor(self, data: memoryview) -> None:
        count = 1
        for name, value in self.fields(data, TENSOR):
            if name == "data_location" and value != 0:
                raise ModelError(f"holds {_ELSEWHERE}")
            if name == "dims":
                for size in self.integers(value):
                    count = min(count * size, 1 << 63)  # a size below zero is stored as one above 2^63
        if count > len(data):  # no value takes less than a byte
            raise ModelError(f"declares a tensor of {count} values in {len(data)} bytes")


def _without_waiting(path: str, flags: int) -> int:
    """Open a file; a pipe that nobody writes to would else be waited for."""
    return os.open(path, flags | os.O_NONBLOCK)


def _text(value: int | memoryview) -> str:
    return printable(bytes(content(value)[:64]).decode("utf-8", "backslashreplace"))


def _check_domain(value: int | memoryview) -> None:
    if len(content(value)):
        raise ModelError(
            f'uses operators of the domain "{_text(value)}"; a model may only use those of ONNX itself'
        )
