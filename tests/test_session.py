"""Session: what is no model of ours is refused in one line that names it; what lies is found out."""

from __future__ import annotations

import sys

import numpy as np
import onnx
import pytest
from conftest import scene, write_png
from model_files import FLOAT, INT64, X, build, identity, refused
from onnx import TensorProto, helper

from denoise_cli.card import METADATA_KEY, ModelCard
from denoise_cli.errors import BackendError, ModelError, UsageError
from denoise_cli.model_file import ModelFile
from denoise_cli.session import Session, parse_device


def test_a_model_of_the_contract_gives_what_it_computes(tmp_path):
    session = Session(build(tmp_path / "m.onnx", identity()), "cpu")
    x = scene(8, 12)[None]
    assert np.array_equal(session(x), x)
    assert (session.card.name, session.on_gpu, session.fell_back) == ("fake", False, False)


def test_a_model_without_a_card_is_refused(tmp_path):
    assert "no model card" in refused(build(tmp_path / "m.onnx", identity(), card=None))


def test_a_card_of_an_unknown_schema_is_refused(tmp_path):
    path = build(tmp_path / "m.onnx", identity(), card=None)
    model = onnx.load(path)
    entry = model.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, '{"name": "new", "schema": 99}'
    path.write_bytes(model.SerializeToString())
    assert "schema 99" in refused(path)


@pytest.mark.parametrize("content", [b"hello, I am a text\n", b"", b"{}"], ids=["text", "empty", "json"])
def test_what_is_no_onnx_is_refused(tmp_path, content):
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    refused(path)


def test_a_picture_is_no_model(tmp_path):
    refused(write_png(tmp_path / "m.onnx.png", scene(16, 16)))


@pytest.mark.parametrize("kept", [0.99, 0.5, 0.01])
def test_a_truncated_model_is_refused(tmp_path, model, kept):
    whole = model.read_bytes()
    path = tmp_path / "cut.onnx"
    path.write_bytes(whole[: int(kept * len(whole))])
    refused(path)


def test_an_operator_of_a_foreign_domain_is_refused(tmp_path):
    node = helper.make_node("Evil", ["x"], ["y"], domain="com.example")
    refused(build(tmp_path / "m.onnx", [node]))


def test_weights_outside_the_file_are_refused(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "secret.bin").write_bytes(np.ones(3, np.float32).tobytes())
    path = build(
        tmp_path / "inner" / "m.onnx", [helper.make_node("Add", ["x", "w"], ["y"])],
        constants={"w": np.zeros((3, 1, 1), np.float32)},
    )  # fmt: skip
    model = onnx.load(path)
    weight = model.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    entry = weight.external_data.add()
    entry.key, entry.value = "location", "../secret.bin"
    path.write_bytes(model.SerializeToString())
    refused(path)


def test_inputs_of_other_names_are_refused(tmp_path):
    path = build(tmp_path / "m.onnx", identity("image"), inputs={"image": (FLOAT, X)})
    assert "image" in refused(path)


def test_a_card_that_promises_a_noise_level_needs_the_input_for_it(tmp_path):
    assert "sigma" in refused(build(tmp_path / "m.onnx", identity(), card=ModelCard("fake", noise_input=True)))


def test_an_integer_input_is_refused(tmp_path):
    assert "int64" in refused(build(tmp_path / "m.onnx", identity(), inputs={"x": (INT64, X)}, kind=INT64))


def test_a_fixed_size_is_refused(tmp_path):
    fixed = ["N", 3, 64, 64]
    assert "64" in refused(build(tmp_path / "m.onnx", identity(), inputs={"x": (FLOAT, fixed)}, output=fixed))


def test_other_channels_than_the_card_says_are_refused(tmp_path):
    seven = ["N", 7, "H", "W"]
    message = refused(build(tmp_path / "m.onnx", identity(), inputs={"x": (FLOAT, seven)}, output=seven))
    assert "7" in message
    assert "3" in message


def test_an_output_of_half_the_size_is_found_when_it_comes(tmp_path):
    halve = helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], strides=[2, 2])
    path = build(tmp_path / "m.onnx", [halve], output=["N", 3, "h", "w"])
    session = Session(ModelFile.read(path), "cpu")
    with pytest.raises(ModelError, match=r"m\.onnx: turned \(1, 3, 8, 8\) into \(1, 3, 4, 4\)"):
        session(np.zeros((1, 3, 8, 8), np.float32))


def test_an_output_of_half_the_size_is_found_at_the_trial(tmp_path):
    halve = helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], strides=[2, 2])
    assert "turned" in refused(build(tmp_path / "m.onnx", [halve], output=["N", 3, "h", "w"]))


def test_an_output_that_is_not_finite_is_found_at_the_trial(tmp_path):
    nodes = [helper.make_node("Sub", ["x", "x"], ["zero"]), helper.make_node("Div", ["zero", "zero"], ["y"])]
    assert "not finite" in refused(build(tmp_path / "m.onnx", nodes))


def test_an_output_that_is_not_finite_is_found_when_it_comes(tmp_path):
    session = Session(build(tmp_path / "m.onnx", [helper.make_node("Sqrt", ["x"], ["y"])]), "cpu")
    x = np.full((1, 3, 8, 8), 0.25, np.float32)
    assert np.array_equal(session(x), np.full_like(x, 0.5))
    x[0, 1, 2, 3] = -1  # one NaN in a whole picture is one too many
    with pytest.raises(ModelError, match="not finite"):
        session(x)


def test_a_finite_output_may_have_a_sum_that_is_not(tmp_path, recwarn):
    session = Session(build(tmp_path / "m.onnx", [helper.make_node("Identity", ["x"], ["y"])]), "cpu")
    x = np.full((1, 3, 8, 8), 3e38, np.float32)
    assert np.array_equal(session(x), x)
    assert not recwarn.list


def test_the_noise_level_reaches_the_model_for_every_sample(tmp_path):
    nodes = [
        helper.make_node("Reshape", ["sigma", "shape"], ["level"]),
        helper.make_node("Add", ["x", "level"], ["y"]),
    ]
    path = build(
        tmp_path / "m.onnx", nodes, inputs={"x": (FLOAT, X), "sigma": (FLOAT, ["N"])},
        card=ModelCard("fake", noise_input=True), constants={"shape": np.array([-1, 1, 1, 1], np.int64)},
    )  # fmt: skip
    session = Session(path, "cpu")
    x = np.zeros((2, 3, 8, 8), np.float32)
    assert np.array_equal(session(x, 0.25), x + np.float32(0.25))
    assert np.array_equal(session(x), x)


@pytest.mark.parametrize("device", ["tpu", "cuda:", "cuda:one", "cpu:1", "auto:0", ""])
def test_an_unknown_device_names_the_choices(device, model):
    with pytest.raises(UsageError, match="choose from auto, cpu, cuda"):
        Session(model, device)


def test_devices_parse():
    assert [parse_device(d) for d in ("auto", "cpu", "cuda", "cuda:3")] == [
        ("auto", 0), ("cpu", 0), ("cuda", 0), ("cuda", 3)
    ]  # fmt: skip


def test_a_missing_cuda_says_what_to_install(model, monkeypatch):
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(BackendError, match=r'pip install "denoise-cli\[gpu\]"'):
        Session(model, "cuda")
    assert not Session(model, "auto").fell_back  # auto on a machine without one is no fallback worth a line


def test_a_missing_onnxruntime_says_what_to_install(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(BackendError, match=r'pip install "denoise-cli\[cpu\]"'):
        Session(model, "cpu")
