"""Moment propagation through one node of an ONNX graph: mean and variance of every unit, inputs independent.

    y = Wx + b          E y = W E x + b        Var y = W² Var x, squared element by element
    relu, leaky relu    the rectified Gaussian, moments.py
    tanh, sigmoid       Gauss-Hermite quadrature, moments.py
    max-pooling         Clark's two at a time, moments.py
    x + y, x - y        means add or subtract, variances add
    x y                 Var = Var x Var y + Var x (E y)² + Var y (E x)²
    copies, shapes      the same for means and variances

Each takes its inputs for independent Gaussians. In the network they are neither, which is the question.
(Assumed-density filtering: Minka 2001; Gast and Roth, "Lightweight Probabilistic Deep Networks", 2018.)

What is linear, onnxruntime computes, by running the very node on means and, with squared weights, on variances.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from denoise_cli.noise import activations, moments
from denoise_cli.noise.network import Node, open_bytes

Belief = tuple[np.ndarray, np.ndarray]  # mean and variance of every unit, float32, of the tensor's shape

MOVES = frozenset({
    "Concat", "DepthToSpace", "Expand", "Flatten", "Gather", "Identity", "Pad", "Reshape", "Slice", "SpaceToDepth",
    "Squeeze", "Tile", "Transpose", "Unsqueeze",
})  # fmt: skip
SMOOTH = {"Tanh": activations.Tanh(), "Sigmoid": activations.Sigmoid()}


class Predictor:
    """Mean and variance after a node from those before it, for models of one opset."""

    def __init__(self, opsets: list, constants: Mapping[str, np.ndarray]):
        self._opsets, self._constants = opsets, constants

    def __call__(self, node: Node, known: Mapping[str, Belief]) -> Belief | None:
        """`known` holds the inputs that the picture reaches; None for an operator that there is no rule for."""
        if any(name and name not in known and name not in self._constants for name in node.inputs):
            return None  # a second output of a node before it
        noisy = [name for name in node.inputs if name in known]
        if node.op in ("Conv", "ConvTranspose", "Gemm", "MatMul") and len(noisy) == 1:
            return self._linear(node, known, noisy[0])
        if node.op in ("Relu", "LeakyRelu"):
            mean, variance = known[noisy[0]]
            return _single(moments.leaky_rectified(mean, np.sqrt(variance), _slope(node)), known[noisy[0]])
        return self._other(node, known, noisy)

    def _other(self, node: Node, known: Mapping[str, Belief], noisy: list[str]) -> Belief | None:
        mean, variance = known[noisy[0]]
        if node.op in SMOOTH:
            return _single(moments.smooth(SMOOTH[node.op], mean, np.sqrt(variance)), known[noisy[0]])
        if node.op in ("Add", "Sub", "Mul", "Div", "Neg"):
            return self._arithmetic(node, known)
        if node.op == "MaxPool":
            return _pooled(node, mean, variance)
        if node.op == "AveragePool" and not any(node.attributes.get("pads", ())):
            area = int(np.prod(node.attributes["kernel_shape"]))
            return self._run(node, {noisy[0]: mean}), self._run(node, {noisy[0]: variance}) / area
        nearest = node.op == "Resize" and node.attributes.get("mode", b"nearest") == b"nearest"
        if not (nearest or node.op in MOVES):
            return None
        still = {}
        if node.op == "Pad":  # what is filled in has no noise
            still = {name: np.zeros_like(self._constants[name]) for name in node.inputs[2:3] if name}
        if node.op == "Concat":
            still = {name: np.zeros_like(self._constants[name]) for name in node.inputs if name not in known}
        means = self._run(node, {name: known[name][0] for name in noisy})
        return means, self._run(node, {**still, **{name: known[name][1] for name in noisy}})

    def _linear(self, node: Node, known: Mapping[str, Belief], x: str) -> Belief:
        mean, variance = known[x]
        squared = {name: self._constants[name] ** 2 for name in node.inputs[:2] if name != x}
        zeros = {name: np.zeros_like(self._constants[name]) for name in node.inputs[2:] if name}  # the bias
        scale = node.attributes.get("alpha", 1.0) if node.op == "Gemm" else 1.0  # of Gemm, which applies it once
        return self._run(node, {x: mean}), self._run(node, {x: variance, **squared, **zeros}) * np.float32(scale)

    def _arithmetic(self, node: Node, known: Mapping[str, Belief]) -> Belief | None:
        def belief(name: str) -> Belief:
            if name in known:
                return known[name]
            constant = np.asarray(self._constants[name], np.float32)
            return constant, np.zeros_like(constant)

        (m1, v1) = belief(node.inputs[0])
        if node.op == "Neg":
            return -m1, v1
        if node.inputs[0] == node.inputs[1]:  # x + x is no sum of independent parts
            return None
        (m2, v2) = belief(node.inputs[1])
        if node.op in ("Add", "Sub"):
            return (m1 + m2 if node.op == "Add" else m1 - m2), v1 + v2
        if node.op == "Mul":
            return m1 * m2, v1 * v2 + v1 * m2**2 + v2 * m1**2
        return (m1 / m2, v1 / m2**2) if node.inputs[1] not in known else None

    def _run(self, node: Node, feeds: Mapping[str, np.ndarray]) -> np.ndarray:
        """Compute one node: what is not in `feeds` comes from the constants."""
        from onnx import ValueInfoProto, helper

        values = {name: feeds[name] if name in feeds else self._constants[name] for name in node.inputs if name}
        inputs = [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
            for name, value in values.items()
        ]
        graph = helper.make_graph([node.proto], "one", inputs, [ValueInfoProto(name=node.output)])
        model = helper.make_model(graph, opset_imports=self._opsets, ir_version=8)
        return open_bytes(model.SerializeToString()).run([node.output], values)[0]


def _slope(node: Node) -> float:
    return float(node.attributes.get("alpha", 0.01)) if node.op == "LeakyRelu" else 0.0


def _single(found: moments.Pair, like: Belief) -> Belief:
    return found[0].astype(like[0].dtype), found[1].astype(like[1].dtype)


def _pooled(node: Node, mean: np.ndarray, variance: np.ndarray) -> Belief | None:
    """Max-pooling whose windows tile the plane, folded two units at a time; others have no rule."""
    kernel = list(node.attributes["kernel_shape"])
    plain = kernel == list(node.attributes.get("strides", [1] * len(kernel)))
    if not plain or any(node.attributes.get("pads", ())) or node.attributes.get("ceil_mode", 0) or mean.ndim != 4:
        return None
    high, wide = (size // k * k for size, k in zip(mean.shape[2:], kernel, strict=True))

    def part(x: np.ndarray, i: int, j: int) -> np.ndarray:
        return x[:, :, i : high : kernel[0], j : wide : kernel[1]].astype(np.float64)

    places = [(i, j) for i in range(kernel[0]) for j in range(kernel[1])]
    parts: list[moments.Pair] = [(part(mean, i, j), part(variance, i, j)) for i, j in places]
    while len(parts) > 1:  # as a tournament: fewer folds of what is no longer Gaussian
        folded = [moments.larger_of_two(a, b) for a, b in zip(parts[::2], parts[1::2], strict=False)]
        parts = folded + parts[len(parts) // 2 * 2 :]
    return _single(parts[0], (mean, variance))
