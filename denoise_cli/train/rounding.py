r"""Quantisation-aware training: a picture net learns while its hidden layers compute in bytes.

    x - conv - blocks [ round - conv(round w) - round - leaky - round - conv(round w) - round - + ] - conv - y

What is rounded, and how, is what quantise.py makes of the graph: weights to int8, a scale a channel, symmetric;
activations to uint8, a scale a tensor; first and last layer and the sums of the blocks stay in float. The gradient
passes a rounding as if it were not there, within its range (Bengio et al. 2013, the straight-through estimator).
The range of an activation is a moving average over batches of that which rounds best: outliers are cut off where
that costs less than coarser steps for all others (Choukroun et al. 2019, "Low-bit quantization of neural networks
for efficient inference", section 3).
After: Jacob et al. 2018, "Quantization and training of neural networks for efficient integer-arithmetic-only
inference".
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping
from pathlib import Path

import onnx
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from denoise_cli import nets
from denoise_cli.card import MADE_FROM, ModelCard
from denoise_cli.errors import UsageError
from denoise_cli.train.export import example, export, parity, write
from denoise_cli.train.quantise import Range, to_integers

FOLLOW = 0.01  # of a range, how far it moves with a batch
STEPS = 255  # of an activation; a weight has 127 to either side
SHARES = 1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.42, 0.35, 0.29  # of the range of all values, that are tried
SAMPLE = 16_384  # values that they are tried on, about


class Rounding(nn.Module):
    """(B, C, H, W) to the nearest of 256 values, in a range found in training; what was rounded stays."""

    low: Tensor
    high: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("low", torch.zeros(()))
        self.register_buffer("high", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        if getattr(x, "rounded", False):  # straight from another convolution: one value of the graph, one range
            return x
        if self.training:
            self._follow(x.detach())
        y = _onto(x.float(), self.low, self.high).to(x.dtype)
        y.rounded = True  # type: ignore[attr-defined]
        return y

    def _follow(self, x: Tensor) -> None:
        low, high = (end.float() for end in torch.aminmax(x))
        low, high = low.clamp(max=0), high.clamp(min=0)  # zero is one of the values, as padding needs it
        step = max(1, round((x.numel() / SAMPLE) ** 0.5))
        some = x[..., ::step, ::step].float()
        lost = [float((_onto(some, low * share, high * share) - some).square().sum()) for share in SHARES]
        best = SHARES[lost.index(min(lost))]
        follow = FOLLOW if self.high > self.low else 1.0
        self.low.lerp_(low * best, follow)
        self.high.lerp_(high * best, follow)

    @property
    def range(self) -> Range:
        return float(self.low), float(self.high)


def _onto(x: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """The nearest of the values that onnxruntime has for such a range."""
    scale = ((high - low) / STEPS).clamp(min=1e-12)
    zero = (-low / scale).round().to(torch.int32)
    return torch.fake_quantize_per_tensor_affine(x, scale, zero, 0, STEPS)


class RoundedConv(nn.Conv2d):
    """A convolution of bytes: its input, its weights and its output are rounded. Parameters are named as before."""

    def __init__(self, conv: nn.Conv2d):
        shape = conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding, conv.dilation
        super().__init__(*shape, conv.groups, conv.bias is not None)  # type: ignore[arg-type]
        self.weight, self.bias = conv.weight, conv.bias
        self.before, self.after = Rounding(), Rounding()

    def forward(self, x: Tensor) -> Tensor:
        scale = (self.weight.detach().abs().amax((1, 2, 3)) / 127).clamp(min=1e-12)
        zero = torch.zeros_like(scale, dtype=torch.int32)
        weight = torch.fake_quantize_per_channel_affine(self.weight, scale, zero, 0, -127, 127)
        y = F.conv2d(self.before(x), weight, self.bias, self.stride, self.padding, self.dilation, self.groups)
        return self.after(y)


def rounded(net: nn.Module) -> nn.Module:
    """`net` itself, with all convolutions but the first and the last rounded.

    Raises UsageError where there are none between them, or the net has a bottleneck, is not one for pictures, or is
    several.
    """
    convolutions = [name for name, module in net.named_modules() if type(module) is nn.Conv2d]
    several = isinstance(net, nets.Average)
    if several or getattr(net, "kind", "image") != "image" or getattr(net, "latent", 0) or len(convolutions) < 3:
        raise UsageError("--precision int8 is for nets for pictures: unet and dncnn")
    for name in convolutions[1:-1]:
        conv = net.get_submodule(name)
        assert isinstance(conv, nn.Conv2d)
        net.set_submodule(name, RoundedConv(conv))
    return net


def export_integers(net: nn.Module, card: ModelCard, path: Path, made_from: str = "") -> tuple[ModelCard, float]:
    """Write a rounded net to `path` in int8; returns its card and the parity, as `export` does.

    `made_from` is the fingerprint of the float model it stands for, if any. The parity is no bound here: where
    torch and onnxruntime sum in another order, a value may be rounded the other way.
    """
    net = net.cpu().eval()
    plain = nets.build(card.arch, card.net)
    plain.load_state_dict(dict(net.named_parameters()))
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "float.onnx"
        card, _ = export(plain, card, whole)
        floats = onnx.load(whole)
    feed, _ = example(card)
    integers = to_integers(floats, iter([feed]), _ranges(net, floats.graph))
    training = {**card.training, **({MADE_FROM: made_from} if made_from else {})}
    card = dataclasses.replace(card, precision="int8", training=training)
    write(integers, card, path)
    return card, parity(net, integers, card)


def _ranges(net: nn.Module, graph: onnx.GraphProto) -> Mapping[str, Range]:
    """The range of each rounded value of the graph, by its name. A convolution is found by that of its weights."""
    found: dict[str, Range] = {}
    for node in graph.node:
        if node.op_type == "Conv":
            module = net.get_submodule(node.input[1].removesuffix(".weight"))
            if isinstance(module, RoundedConv):
                found.setdefault(node.input[0], module.before.range)
                found[node.output[0]] = module.after.range
        elif node.op_type == "Resize" and node.input[0] in found:  # takes values as they are
            found[node.output[0]] = found[node.input[0]]
    return found
