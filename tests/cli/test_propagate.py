"""``denoise propagate``: theory for layers that are named, measurement for a network."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from conftest import ROOT, scene, write_png
from model_files import build
from onnx import helper
from PIL import Image

from denoise_cli.card import ModelCard

LAYERS = ("propagate", "--samples", 20_000, "--layers")


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    """A third of the noise is taken away: y = x - relu(conv(x)) where the convolution is a third of x plus one."""
    weight = np.zeros((3, 3, 1, 1), np.float32)
    weight[range(3), range(3)] = 1 / 3
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["third"], kernel_shape=[1, 1]),
        helper.make_node("Relu", ["third"], ["positive"]), helper.make_node("Sub", ["x", "positive"], ["y"]),
    ]  # fmt: skip
    card = ModelCard("third", multiple=4)
    return build(tmp_path_factory.mktemp("net") / "third.onnx", nodes, card=card,
                 constants={"w": weight, "b": np.ones(3, np.float32)})  # fmt: skip


@pytest.fixture
def photo(tmp_path):
    return write_png(tmp_path / "photo.png", scene(45, 70))


def test_a_table_with_a_line_for_each_layer(command):
    done = command(*LAYERS, "conv(9*0.1),relu,maxpool(4)")
    rows = [line.split("\t") for line in done.out.splitlines()]
    assert done.code == 0
    assert [row[0] for row in rows] == ["layer", "input", "conv(9*0.1)", "relu", "maxpool(4)"]
    assert rows[3][1:3] == ["0.1197", "0.1751"]  # 0.3/√(2π), 0.3 √(1/2 - 1/(2π))
    assert rows[3][5] == "P(X = 0) = 0.5000"
    assert rows[4][5] == "P(X = 0) = 0.0625"
    assert all(float(row[6]) < 0.02 for row in rows[1:])
    assert {row[7] for row in rows[1:]} == {"exact"}
    assert done.err == ""


def test_json_holds_the_same_and_the_spec_as_it_was_understood(command):
    done = command(*LAYERS, "tanh,MaxPool(2x2)", "--json", "--mu", 0.5, "--sigma", 2)
    found = json.loads(done.out)
    assert (found["layers"], found["mu"], found["sigma"]) == ("tanh,maxpool(4)", 0.5, 2)
    assert [row["layer"] for row in found["rows"]] == ["input", "tanh", "maxpool(4)"]
    assert found["rows"][1]["atom"] is None
    assert found["rows"][2]["ks"] < 0.02


def test_what_is_approximate_is_said_once_on_stderr(command):
    done = command(*LAYERS, "relu,conv(3*0.2),tanh")
    assert done.code == 0
    assert done.out.count("approximate") == 2
    assert done.err.count("\n") == 1
    assert "not Gaussian" in done.err


def test_the_same_seed_gives_the_same_and_another_another(command):
    first, same = (command(*LAYERS, "relu", "--seed", 1).out for _ in range(2))
    assert first == same
    assert first != command(*LAYERS, "relu", "--seed", 2).out


def test_a_plot_is_drawn(command, tmp_path):
    done = command(*LAYERS, "relu", "--plot", tmp_path / "out.png", "-q")
    assert (done.code, done.out) == (0, "")
    with Image.open(tmp_path / "out.png") as image:
        assert image.size == (1280, 380)


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("", "--layers SPEC"),
        ("a b c", "--layers SPEC"),
        ("-m image a b", "--layers SPEC"),
        ("--layers gelu", 'unknown layer "gelu"; choose from conv'),
        ("--layers relu x.png", "--layers takes no"),
        ("--layers relu -m image", "--layers takes no"),
        ("--layers relu --report x.html", "--layers takes no"),
        ("--layers relu --sigma 0", "a sigma in 1e-09..1e+09"),
        ("--layers conv(1e308,1e308)", "weights and bias must be in -1e+30..1e+30"),
        ("--layers conv(1,bias=nan)", "weights and bias must be in"),
        ("--layers conv(0,1e-200)", "below 1e-30"),
        ("--layers relu --mu 1e300", "mu in -1e+09..1e+09"),
        ("--layers relu" + 64 * ",relu", "65 layers; the limit is 64"),
        ("--layers relu --samples 1", "--samples"),
        ("--layers relu --plot x.gif", ".png"),
        ("--layers maxpool(60000) --samples 10000000", "lower --samples"),
        ("x.png --plot x.png", "--plot goes with --layers"),
        ("x.png --sigma 50", "--sigma goes with --layers"),
        ("--layers relu --std 25", "--std is for a network"),
        ("x.png --std 0", "--std 0"),
        ("x.png --std 1e300", "at most 2550"),
        ("x.html --report x.html", "is the input x.html"),
        ("x.png --draws 2", "--draws"),
        ("x.png --report x.pdf", "write .html"),
    ],
)
def test_wrong_usage_is_one_line_and_exits_2(line, named, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = command("propagate", *line.split())
    assert done.code == 2
    assert done.out == ""
    assert done.err.count("\n") == 1
    assert named in done.err
    assert not any(tmp_path.iterdir())


def test_a_network_is_measured_layer_by_layer_and_answered_in_words(command, net, photo, tmp_path):
    report = tmp_path / "out.html"
    done = command("propagate", net, photo, "--std", 25, "--draws", 16, "--crop", 32, "--report", report)
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    rows = {line.split("\t")[0]: line.split("\t") for line in lines if "\t" in line}
    assert list(rows) == ["layer", "x", "third", "positive", "y"]
    assert float(rows["third"][2]) == pytest.approx(25 / 255 / 3, rel=0.03)
    assert float(rows["y"][2]) == pytest.approx(25 / 255 * 2 / 3, rel=0.03)
    assert float(rows["y"][13]) == pytest.approx(np.sqrt(10) / 2, rel=0.03)  # √(1 + 1/9) over 2/3
    for heading in (
        "Does it still work?",
        "Where the Gaussian assumption holds",
        "Where it breaks",
        "Independence",
    ):
        assert heading in lines
    assert "correlated by 1.000" in done.out
    page = report.read_text()
    assert page.startswith("<!doctype html>")
    assert "32 x 32 pixels" in page
    assert [p.name for p in tmp_path.iterdir() if p.suffix == ".html"] == ["out.html"]


def test_json_of_a_network_is_json(command, net, photo):
    done = command("propagate", photo, "-m", net, "--draws", 8, "--crop", 16, "--json")
    found = json.loads(done.out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert found["model"] == "third"
    assert [layer["op"] for layer in found["layers"]] == ["input", "Conv", "Relu", "Sub"]
    assert found["psnr_before"] == pytest.approx(20.17, abs=0.3)
    assert "Where it breaks" in found["answer"]


def test_after_a_node_with_several_outputs_the_theory_begins_anew(command, photo, tmp_path):
    nodes = [
        helper.make_node("Split", ["x"], ["a", "b", "c"], axis=1, num_outputs=3),
        helper.make_node("Relu", ["b"], ["r"]),
        helper.make_node("Concat", ["a", "r", "c"], ["y"], axis=1),
    ]
    done = command("propagate", build(tmp_path / "split.onnx", nodes), photo, "--std", 25, "--json")
    assert done.code == 0, done.err
    assert [row["op"] for row in json.loads(done.out)["layers"]] == ["input", "Split", "Relu", "Concat"]


def test_a_gray_picture_and_a_small_one(command, net, tmp_path):
    gray = write_png(tmp_path / "gray.png", scene(20, 20, 1))
    done = command("propagate", net, gray, "--draws", 8, "--json")
    assert "three times" in json.loads(done.out)["notes"][0]
    assert json.loads(done.out)["layers"][0]["channels"] == pytest.approx(1, abs=1e-3)
    tiny = write_png(tmp_path / "tiny.png", scene(3, 20))
    done = command("propagate", net, tiny)
    assert done.code == 1
    assert "4 x 4 pixels or more" in done.err


def test_missing_files_and_models(command, net, tmp_path):
    done = command("propagate", net, tmp_path / "absent.png")
    assert (done.code, done.err.count("\n")) == (1, 1)
    done = command("propagate", "absent", ROOT / "docs/clean/hills.png")
    assert (done.code, done.err.count("\n")) == (3, 1)
    assert "one of: gray, gray-white, image, " in done.err


def test_a_model_for_recordings_is_refused(command):
    done = command("propagate", "speech", ROOT / "docs/clean/hills.png")
    assert done.code == 2
    assert "audio" in done.err


def test_without_onnx_exit_3_and_the_command_that_mends_it(command, net, photo, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    done = command("propagate", net, photo)
    assert done.code == 3
    assert 'pip install "denoise-cli[train]"' in done.err
    assert done.err.count("\n") == 1


@pytest.mark.slow
def test_the_shipped_network(command):
    """The findings of docs/noise.md: Gaussian behind convolutions, not behind LeakyReLU, gone where it is "
    "subtracted."""
    done = command("propagate", ROOT / "docs/clean/harbour.png", "--crop", 128, "--draws", 16, "--json")
    layers = json.loads(done.out)["layers"]
    worst = max(layers, key=lambda layer: layer["ks"])
    assert worst["op"] == "LeakyRelu"
    assert worst["ks"] > 0.1
    assert all(layer["ks"] < 0.02 for layer in layers if layer["op"] in ("Conv", "Add"))
    assert max(layers, key=lambda layer: layer["gain"] or -99)["name"] == "y"
    assert layers[-1]["predicted"] > 3 * layers[-1]["std"]
    for layer in layers:
        if layer["op"] == "LeakyRelu":  # the assumption that fails is independence, not the moments of one unit
            assert layer["predicted_here"] == pytest.approx(layer["std"], rel=0.05)
