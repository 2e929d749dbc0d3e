"""Noise in a real graph: the meters on noise whose statistics are known, prediction where it must be exact."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from model_files import FLOAT, X, build
from onnx import helper

from denoise_cli.errors import BackendError, UsageError
from denoise_cli.noise import network, page, verdict
from denoise_cli.noise import study as studies
from denoise_cli.noise.measure import Meter, Noise
from denoise_cli.noise.study import Study, study

DRAWS = 16


def measured(make, shape=(1, 2, 40, 50), draws: int = DRAWS) -> Noise:
    """Of noise that `make(rng)` draws, around a clean ramp."""
    clean = np.linspace(0, 1, math.prod(shape), dtype=np.float32).reshape(shape)
    meter, rng = Meter(clean, draws), np.random.default_rng(0)
    for _ in range(draws):
        meter.add(clean + make(rng).astype(np.float32))
    return meter.result()


def test_white_gaussian_noise_is_found_to_be_that():
    noise = measured(lambda rng: rng.normal(0.3, 0.2, (1, 2, 40, 50)))
    assert noise.std == pytest.approx(0.2, rel=0.01)
    assert noise.shift == pytest.approx(0.3, rel=0.01)
    assert noise.snr == pytest.approx(10 * math.log10(np.linspace(0, 0.5, 2000).var() / 0.04), abs=0.1)
    assert abs(noise.skewness) < 0.02
    assert noise.skewness_size < 0.1
    assert abs(noise.kurtosis) < 0.05
    assert noise.ks < 0.006
    assert noise.ks_channel < 0.006
    assert noise.neighbours < 0.01
    assert noise.channels < 0.01
    assert noise.silent == 0


def test_few_draws_do_not_bend_what_is_gaussian():
    """Without the corrections for n the kurtosis of 8 draws would be 3 (7/9) - 3 = -0.67, and the distance 0.02."""
    noise = measured(lambda rng: rng.normal(0, 1, (1, 4, 60, 60)), (1, 4, 60, 60), draws=8)
    assert abs(noise.kurtosis) < 0.05
    assert noise.ks < 0.005


def test_skew_and_heavy_tails_are_seen():
    noise = measured(lambda rng: rng.exponential(1, (1, 2, 40, 50)), draws=64)
    assert 1.3 < noise.skewness < 2.1  # 2; the estimate of few draws is low
    assert 2 < noise.kurtosis < 6.5  # 6
    assert noise.ks > 0.1
    flipped = measured(
        lambda rng: rng.exponential(1, (1, 2, 40, 50)) * np.array([1, -1]).reshape(1, 2, 1, 1), draws=64
    )
    assert abs(flipped.skewness) < 0.1
    assert flipped.skewness_size > 1.3


def test_units_of_unequal_noise_are_gaussian_and_their_channel_is_not():
    scale = np.exp(np.random.default_rng(1).normal(0, 1, (1, 2, 40, 50)))
    noise = measured(lambda rng: rng.normal(0, 1, (1, 2, 40, 50)) * scale)
    assert noise.ks < 0.006
    assert noise.ks_channel > 0.08


def test_correlation_of_neighbours_and_channels():
    def smeared(rng):  # neighbours along a row share a half; the second channel is 0.6 of the first and 0.8 its own
        x = rng.normal(size=(1, 2, 40, 51))
        x = (x[..., 1:] + x[..., :-1]) / math.sqrt(2)
        x[:, 1] = 0.6 * x[:, 0] + 0.8 * x[:, 1]
        return x

    noise = measured(smeared)
    assert noise.neighbours == pytest.approx(math.sqrt(0.5**2 / 2), abs=0.01)  # rms over rows and columns
    assert noise.channels == pytest.approx(0.6, abs=0.01)


def test_units_without_noise_are_counted_and_left_out():
    def half(rng):
        x = rng.normal(size=(1, 2, 40, 50))
        x[:, :, :10] = 0
        return x

    noise = measured(half)
    assert noise.silent == pytest.approx(0.25)
    assert noise.ks < 0.006
    nothing = measured(lambda rng: np.zeros((1, 2, 40, 50)))
    assert (nothing.std, nothing.silent) == (0, 1)
    assert math.isnan(nothing.ks)


def test_a_flat_layer_has_channels_and_no_neighbours():
    noise = measured(lambda rng: rng.normal(size=(1, 300)), (1, 300))
    assert math.isnan(noise.neighbours)
    assert noise.std == pytest.approx(1, rel=0.05)


# --- A graph ----------------------------------------------------------------------------------------------

RNG = np.random.default_rng(5)


def node(op: str, inputs: str, output: str, **attributes):
    return helper.make_node(op, inputs.split(), [output], **attributes)


def run(tmp_path: Path, nodes: list, constants: dict, side: int = 32, draws: int = 32) -> Study:
    """A model whose convolutions never overlap, so that its units are independent, and prediction must hold."""
    path = build(tmp_path / "m.onnx", nodes, constants=constants)
    clean = np.random.default_rng(3).random((3, side, side), np.float32)
    return study(path.read_bytes(), clean, 0.1, draws)


def weights(*shape: int) -> np.ndarray:
    return (RNG.normal(size=shape) / math.sqrt(math.prod(shape[1:]))).astype(np.float32)


FORWARD = [
    node("Conv", "x w b", "c", kernel_shape=[2, 2], strides=[2, 2]),
    node("LeakyRelu", "c", "l", alpha=0.1), node("Relu", "c", "r"),
    node("Sigmoid", "c", "s"), node("Tanh", "c", "t"),
    node("Mul", "s k", "m"), node("Sub", "t k", "d"), node("Neg", "d", "n"), node("Div", "n k", "q"),
    node("DepthToSpace", "l", "e", blocksize=2, mode="CRD"),
    node("MaxPool", "c", "p", kernel_shape=[2, 2], strides=[2, 2]),
    node("AveragePool", "c", "a", kernel_shape=[2, 2], strides=[2, 2]),
    node("ConvTranspose", "x v", "u", kernel_shape=[2, 2], strides=[2, 2]),
    node("Softmax", "r", "f", axis=2), node("Mul", "r k", "h"), node("Mul", "h zero", "z"),
    node("DepthToSpace", "z", "o", blocksize=2, mode="CRD"), node("Add", "x o", "y"),
]  # fmt: skip
CONSTANTS = {
    "w": weights(12, 3, 2, 2), "b": np.linspace(-0.3, 0.3, 12, dtype=np.float32), "v": weights(3, 1, 2, 2),
    "k": np.float32([2.0]), "zero": np.float32([0.0]),
}  # fmt: skip


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> Study:
    return run(tmp_path_factory.mktemp("study"), FORWARD, CONSTANTS)


def test_every_layer_has_a_row_in_order(found):
    assert [row.name for row in found.rows] == ["x", *(n.output[0] for n in FORWARD)]
    assert found.rows[1].shape == (1, 12, 16, 16)


@pytest.mark.parametrize("name", [*"clrstmdnqeauhy"])
def test_prediction_is_right_where_inputs_are_independent(found, name):
    row = next(row for row in found.rows if row.name == name)
    assert row.predicted == pytest.approx(row.std, rel=0.03), row.op
    assert row.predicted_here == pytest.approx(row.std, rel=0.03), row.op
    assert not row.restarted


def test_dense_layers_are_predicted(tmp_path):
    nodes = [
        node("Flatten", "x", "f"), node("Gemm", "f g b", "dense", transB=1, alpha=2.0, beta=0.5),
        node("MatMul", "f m", "plain"), node("Identity", "x", "y"),
    ]  # fmt: skip
    constants = {"g": weights(400, 192), "b": np.ones(400, np.float32), "m": weights(400, 192).T.copy()}
    rows = {row.name: row for row in run(tmp_path, nodes, constants, side=8).rows}
    assert rows["dense"].std == pytest.approx(0.2, rel=0.1)
    for name in ("dense", "plain"):
        assert rows[name].predicted == pytest.approx(rows[name].std, rel=0.03)


def test_max_pooling_of_unequal_means_is_predicted_closely(found):
    row = next(row for row in found.rows if row.name == "p")
    assert row.predicted == pytest.approx(row.std, rel=0.05)


def test_an_operator_without_a_rule_restarts_the_prediction(found):
    row = next(row for row in found.rows if row.name == "f")
    assert row.restarted
    assert row.predicted is row.predicted_here is None
    assert "no rule for Softmax" in dict(verdict.words(found))["What moment propagation predicts"]


def test_gaussian_stays_gaussian_through_a_convolution_and_not_through_relu(found):
    rows = {row.name: row for row in found.rows}
    assert rows["c"].ks < 0.01
    assert rows["r"].ks > 0.05
    assert rows["r"].silent > 0
    assert rows["z"].std == 0
    assert rows["z"].silent == 1


def test_the_identity_changes_nothing_and_is_said_to(found):
    assert found.psnr[0] == pytest.approx(20, abs=0.2)  # -20 log10(0.1)
    assert found.psnr[1] == pytest.approx(found.psnr[0])


def test_correlated_inputs_break_the_prediction(tmp_path):
    """x + x would be twice the noise; as two tensors of one noise it is the trap, and the measure shows it."""
    nodes = [node("Mul", "x k", "a"), node("Mul", "x k", "b"), node("Sub", "a b", "y")]
    found = run(tmp_path, nodes, {"k": np.float32([2.0])})
    last = found.rows[-1]
    assert last.std == 0
    assert last.predicted == pytest.approx(0.1 * math.sqrt(8), rel=0.01)
    assert verdict.words(found)


def test_a_difference_of_correlated_noises_is_named_as_where_the_noise_dies(tmp_path):
    nodes = [node("Mul", "x k", "a"), node("Sub", "x a", "y")]
    found = run(tmp_path, nodes, {"k": np.float32([0.9])})
    text = dict(verdict.words(found))["Where the network kills the noise"]
    assert "correlated by 1.000" in text
    assert "From 25." in text
    assert found.rows[-1].std == pytest.approx(0.01, rel=0.02)


def test_groups_and_seeds_do_not_change_what_is_found(tmp_path, monkeypatch, found):
    monkeypatch.setattr(studies, "GROUP", 3000)
    again = run(tmp_path, FORWARD, CONSTANTS)
    assert [row.std for row in again.rows] == pytest.approx([row.std for row in found.rows], rel=1e-5)
    assert [row.predicted for row in again.rows if row.predicted] == pytest.approx(
        [row.predicted for row in found.rows if row.predicted], rel=1e-5
    )


def test_values_that_no_picture_reaches_are_constants(tmp_path):
    """A map of the noise level as wide as the picture, as models that take one make it from its shape."""
    nodes = [
        node("Shape", "x", "size"), node("Expand", "k size", "level"), node("Concat", "x level", "both", axis=1),
        node("Conv", "both w", "y", kernel_shape=[1, 1]),
    ]  # fmt: skip
    found = run(tmp_path, nodes, {"k": np.full((1, 1, 1, 1), 0.1, np.float32), "w": weights(3, 6, 1, 1)})
    assert [row.name for row in found.rows] == ["x", "both", "y"]
    assert found.rows[1].silent == pytest.approx(0.5)
    assert found.rows[2].predicted == pytest.approx(found.rows[2].std, rel=0.03)


def test_a_model_that_takes_the_level_is_told_it(tmp_path):
    inputs = {"x": (FLOAT, X), "sigma": (FLOAT, ["N"])}
    path = build(tmp_path / "m.onnx", [node("Mul", "x sigma", "y")], inputs)
    found = study(path.read_bytes(), np.full((3, 16, 16), 0.5, np.float32), 0.1, 32)
    assert found.rows[-1].std == pytest.approx(0.01, rel=0.03)
    assert found.rows[-1].predicted == pytest.approx(0.01, rel=1e-4)


def test_the_page_stands_alone(found):
    text = page.page(found, "<b>model</b>", "a&b.png", ["a note"])
    assert "<b>model" not in text
    assert "a&amp;b.png" in text
    assert "http" not in text
    assert "<script" not in text
    assert text.count("data:image/png;base64,") >= 8
    assert text.count("<tr>") == len(found.rows) + 1
    assert all(len(page.cells(row)) == len(page.COLUMNS) for row in found.rows)
    for head, _ in verdict.words(found):
        assert head in text


def test_too_few_draws_are_refused(tmp_path):
    with pytest.raises(UsageError, match="8 or more"):
        run(tmp_path, FORWARD, CONSTANTS, draws=4)


def test_without_onnx_one_line_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(BackendError, match=r'pip install "denoise-cli\[train\]"'):
        network.Network(b"", (1, 3, 8, 8))
