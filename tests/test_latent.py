"""The autoencoder with a latent vector, whole and in halves: what is cut in two gives what the whole gives."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from conftest import scene
from model_files import X, build, edit
from onnx import helper
from torch import nn

from denoise_cli import denoise, latents, nets
from denoise_cli.card import ModelCard
from denoise_cli.errors import InputError, ModelError, UsageError
from denoise_cli.halves import Halves, decoder, encoder
from denoise_cli.model_file import OPERATORS, ModelFile
from denoise_cli.nets.dense_dae import DenseDAE
from denoise_cli.nets.latent_dae import LatentDAE
from denoise_cli.protobuf import pieces
from denoise_cli.session import Session
from denoise_cli.train.export import export

TINY = {"side": 8, "widths": (4, 6), "latent": 3}


def made(path: Path, arch: str = "latent-dae", seed: int = 0, **config) -> Path:
    torch.manual_seed(seed)
    net = nets.build(arch, config)
    card = ModelCard(
        "tiny", channels=net.config.channels, multiple=net.multiple, arch=arch, net=nets.config_of(net),
        latent=net.latent, latent_stride=net.latent_stride,
    )  # fmt: skip
    export(net, card, path)
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("latent") / "gray.onnx", **TINY)


@pytest.fixture(scope="module")
def colour(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("latent") / "colour.onnx", **TINY, channels=3)


# --- The net ----------------------------------------------------------------------------------------------


def test_on_28x28_it_is_the_net_of_the_text_with_its_dense_layers():
    """A kernel as large as the map is a dense layer: the same numbers from the same weights."""
    torch.manual_seed(1)
    net = LatentDAE(LatentDAE.Config())
    convolutions = net.encoder[:-1]
    dense = nn.Linear(64 * 7 * 7, 16)
    back = nn.Linear(16, 64 * 7 * 7)
    with torch.no_grad():
        dense.weight.copy_(net.encoder[-1].weight.flatten(1))
        dense.bias.copy_(net.encoder[-1].bias)
        back.weight.copy_(net.decoder[0].weight.flatten(1).T)
        back.bias.copy_(net.decoder[0].bias.repeat_interleave(49))
        x = torch.rand(5, 1, 28, 28)
        z = dense(convolutions(x).flatten(1))
        y = net.decoder[1:](back(z).reshape(5, 64, 7, 7))
        torch.testing.assert_close(net.encode(x)[:, :, 0, 0], z, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(net(x), y, rtol=1e-4, atol=1e-5)
    strides = [layer.stride for layer in net.encoder if isinstance(layer, nn.Conv2d)][:2]
    assert strides == [(2, 2), (2, 2)]
    widths = [layer.out_channels for layer in net.encoder if isinstance(layer, nn.Conv2d)]
    assert widths == [32, 64, 16]


def test_the_dense_one_is_six_dense_layers_over_all_pixels():
    torch.manual_seed(1)
    net = DenseDAE(DenseDAE.Config(channels=3, side=8))
    layers = [nn.Linear(a, b) for a, b in pairwise((192, 512, 256, 64, 256, 512, 192))]
    with torch.no_grad():
        for name, layer in zip(("fc1", "fc2", "fc3", "fc4", "fc5"), layers, strict=False):
            layer.weight.copy_(getattr(net, name).weight.flatten(1))
            layer.bias.copy_(getattr(net, name).bias)
        layers[-1].weight.copy_(net.fc6.weight.flatten(1).T)
        layers[-1].bias.copy_(net.fc6.bias.repeat_interleave(64))
        x = torch.rand(5, 3, 8, 8)
        h = x.flatten(1)
        for n, layer in enumerate(layers):
            h = layer(h) if n in (2, 5) else layer(h).relu()
            if n == 2:
                torch.testing.assert_close(net.encode(x)[:, :, 0, 0], h, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(net(x), h.sigmoid().reshape(5, 3, 8, 8), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("config", [{"widths": (4,)}, {"latent": 0}, {"side": 0}])
def test_a_dense_one_of_other_layers_is_refused(config):
    with pytest.raises(UsageError, match="dense-dae cannot be built"):
        nets.build("dense-dae", config)


@pytest.mark.parametrize("config", [{"side": 10, "widths": (4, 4)}, {"side": 2, "widths": (4, 4)}, {"widths": ()}])
def test_sides_that_cannot_be_halved_are_refused(config):
    with pytest.raises(UsageError, match="latent-dae cannot be built"):
        nets.build("latent-dae", config)


# --- The model file, whole and cut ------------------------------------------------------------------------


@pytest.mark.parametrize("config", [{}, {"channels": 3}])
def test_decoding_what_was_encoded_is_what_the_whole_model_gives(tmp_path, config):
    path = made(tmp_path / "m.onnx", **TINY, **config)
    halves, whole = Halves(path, "cpu"), Session(path, "cpu")
    x = np.random.default_rng(0).random((4, config.get("channels", 1), 16, 24), dtype=np.float32)
    z = halves.encode(x)
    assert z.shape == (4, 3, 2, 3)
    assert np.array_equal(halves.decode(z), whole(x))
    with torch.no_grad():
        torch.manual_seed(0)
        ours = nets.build("latent-dae", {**TINY, **config}).encode(torch.from_numpy(x)).numpy()
    assert np.abs(ours - z).max() < 1e-5


def test_the_small_convolutional_autoencoder_has_a_bottleneck_too(tmp_path):
    path = made(tmp_path / "m.onnx", "conv-dae", width=4)
    halves, whole = Halves(path, "cpu"), Session(path, "cpu")
    x = np.random.default_rng(0).random((2, 1, 12, 8), dtype=np.float32)
    z = halves.encode(x)
    assert z.shape == (2, 4, 3, 2)
    assert np.array_equal(halves.decode(z), whole(x))


def test_the_dense_one_is_cut_in_half_as_well(tmp_path):
    path = made(tmp_path / "m.onnx", "dense-dae", side=8, widths=(12, 6), latent=3, channels=3)
    halves, whole = Halves(path, "cpu"), Session(path, "cpu")
    x = np.random.default_rng(0).random((2, 3, 16, 24), dtype=np.float32)
    z = halves.encode(x)
    assert z.shape == (2, 3, 2, 3)
    assert np.array_equal(halves.decode(z), whole(x))


def test_halves_are_sound_models_without_what_they_do_not_need(model):
    file = ModelFile.read(model)
    whole = onnx.load(model)
    seen = 0
    for data, names in ((encoder(file), ("x", "latent")), (decoder(file), ("latent", "y"))):
        part = onnx.load_model_from_string(data)
        onnx.checker.check_model(part, full_check=True)
        assert ([v.name for v in part.graph.input], [v.name for v in part.graph.output]) == ([names[0]], [names[1]])
        assert {node.op_type for node in part.graph.node} <= OPERATORS
        assert all(node in whole.graph.node for node in part.graph.node)
        seen += len(part.graph.node)
        assert len(part.graph.initializer) < len(whole.graph.initializer)
    assert seen == len(whole.graph.node)


def test_pieces_put_together_are_the_file(model):
    data = model.read_bytes()
    assert b"".join(whole for _, whole, _ in pieces(memoryview(data))) == data


def test_it_still_cleans_pictures_of_any_size_tile_by_tile(model):
    session = Session(model, "cpu")
    x = scene(150, 131, 1)
    tiled = denoise.array(x, session, denoise.Options(tile=64, threads=2))
    assert np.abs(tiled - denoise.array(x, session)).max() < 0.01 / 255


CARD = ModelCard("fake", latent=3, latent_stride=1)


def test_a_model_without_a_bottleneck_says_so(tmp_path):
    path = build(tmp_path / "m.onnx", [helper.make_node("Identity", ["x"], ["y"])])
    with pytest.raises(ModelError, match='model "fake" has no bottleneck: it cannot encode'):
        Halves(path, "cpu")


LIES = {
    "no such value": [helper.make_node("Relu", ["x"], ["y"])],
    "a way around it": [
        helper.make_node("Relu", ["x"], ["latent"]),
        helper.make_node("Add", ["latent", "x"], ["y"]),
    ],
    "nothing before it": [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Relu", ["y"], ["z"])],
}


@pytest.mark.parametrize("name", LIES)
def test_a_card_that_lies_about_it_is_found_out(tmp_path, name):
    path = build(tmp_path / "m.onnx", LIES[name], card=CARD)
    with pytest.raises(ModelError, match="cannot be cut"):
        Halves(path, "cpu")


def test_a_latent_array_of_another_shape_than_the_card_says_is_refused(tmp_path):
    nodes = [helper.make_node("Relu", ["x"], ["latent"]), helper.make_node("Relu", ["latent"], ["y"])]
    path = build(tmp_path / "m.onnx", nodes, {"x": (onnx.TensorProto.FLOAT, X)},
                 card=ModelCard("fake", latent=3, latent_stride=2))  # fmt: skip
    with pytest.raises(ModelError, match="turned"):
        Halves(path, "cpu").encode(np.zeros((1, 3, 8, 8), np.float32))


@pytest.mark.parametrize(("field", "value"), [("latent", -1), ("latent", True), ("latent_stride", 0)])
def test_a_card_with_an_impossible_bottleneck_is_refused(model, tmp_path, field, value):
    card = json.loads(ModelFile.read(model).card.to_json()) | {field: value}

    def change(whole):
        whole.metadata_props[0].value = json.dumps(card)

    copy = tmp_path / "m.onnx"
    copy.write_bytes(model.read_bytes())
    with pytest.raises(ModelError, match=f"{field} must be"):
        ModelFile.read(edit(copy, change))


# --- Latent files -----------------------------------------------------------------------------------------


def encoded(halves: Halves, x: np.ndarray, names: list[str] | None = None) -> latents.Latents:
    values = np.concatenate(list(latents.encode(x, halves)))
    count, channels, height, width = x.shape
    return latents.Latents(values, names or latents.numbered(count), height, width, channels, halves.card.name)


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
@pytest.mark.parametrize("size", [(8, 8), (13, 17)])
def test_what_is_written_is_read_and_decoded_at_the_size_it_had(model, tmp_path, suffix, size):
    halves = Halves(model, "cpu")
    x = np.random.default_rng(0).random((5, 1, *size), dtype=np.float32)
    found = encoded(halves, x, [f"sub/{n}.png" for n in range(5)])
    path = tmp_path / f"z{suffix}"
    latents.write(found, path)
    assert [p.name for p in sorted(tmp_path.iterdir())] == (["z.json", "z.npy"] if suffix == ".npy" else ["z.npz"])
    if suffix == ".npy" and size == (8, 8):
        assert np.load(path).shape == (5, 3)
    back = latents.read(path, halves.card)
    assert np.array_equal(back.values, found.values)
    assert (list(back.names), back.height, back.width, back.channels) == (list(found.names), *size, 1)
    y = np.stack(list(latents.decode(back, halves)))
    session = Session(model, "cpu")
    assert np.abs(y - np.stack([denoise.array(one, session) for one in x])).max() < 1e-6


def test_gray_through_a_colour_model_comes_back_gray(colour):
    halves = Halves(colour, "cpu")
    x = np.random.default_rng(0).random((2, 1, 8, 8), dtype=np.float32)
    y = np.stack(list(latents.decode(encoded(halves, x), halves)))
    session = Session(colour, "cpu")
    assert y.shape == x.shape
    assert np.abs(y - np.stack([denoise.array(one, session) for one in x])).max() < 1e-6


def test_colour_cannot_go_through_a_gray_model(model):
    with pytest.raises(InputError, match=r"3 channels, and model .* encodes 1"):
        list(latents.encode(np.zeros((1, 3, 8, 8), np.float32), Halves(model, "cpu")))


def test_a_bare_array_of_any_program_is_decoded(model, tmp_path):
    halves = Halves(model, "cpu")
    z = np.random.default_rng(0).standard_normal((4, 3))
    np.save(tmp_path / "z.npy", z)
    found = latents.read(tmp_path / "z.npy", halves.card)
    assert (list(found.names), found.height, found.width) == (["00000", "00001", "00002", "00003"], 8, 8)
    y = list(latents.decode(found, halves))
    assert np.array_equal(np.stack(y), halves.decode(z.astype(np.float32)[:, :, None, None]))
    np.save(tmp_path / "z.npy", z[:, :2])
    with pytest.raises(InputError, match=r"latents of \(2, 1, 1\) a picture"):
        list(latents.decode(latents.read(tmp_path / "z.npy", halves.card), halves))


BAD = {
    "text": b"no array",
    "pickled": b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"
    + b" " * 60
    + b"\n\x80",
    "empty": b"",
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_what_are_no_latents_is_refused_in_a_line(tmp_path, name, suffix):
    path = tmp_path / f"z{suffix}"
    path.write_bytes(BAD[name])
    with pytest.raises(InputError, match="not latents") as caught:
        latents.read(path, CARD)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("about", [
    {"names": ["a"], "height": 8, "width": 8, "channels": 1},
    {"names": ["a", "b"], "height": 1 << 30, "width": 8, "channels": 1},
    {"names": ["a", "b"], "height": "8", "width": 8, "channels": 1},
    {"names": ["a", 2], "height": 8, "width": 8, "channels": 1},
    [],
])  # fmt: skip
def test_a_sidecar_that_does_not_fit_is_refused(tmp_path, about):
    np.save(tmp_path / "z.npy", np.zeros((2, 3), np.float32))
    (tmp_path / "z.json").write_text(json.dumps(about))
    with pytest.raises(InputError, match="not latents"):
        latents.read(tmp_path / "z.npy", CARD)


@pytest.mark.parametrize(
    "name",
    ["../x.png", "/etc/x.png", "a/../../x.png", "x\0.png", r"..\x", r"..\x.png", r"a\..\..\x", r"a/..\x.png"],
)
def test_a_name_never_leads_out_of_the_folder(tmp_path, name):
    with pytest.raises(InputError, match="leads out"):
        latents.targets([name], tmp_path)


@pytest.mark.parametrize("name", ["", ".", "..png", "...x", "....", "a/..png"])
def test_a_name_of_which_only_dots_would_be_left_is_refused(tmp_path, name):
    with pytest.raises(InputError, match="none that a file can have"):
        latents.targets([name], tmp_path)


def test_a_byte_that_is_no_text_stands_in_a_name_as_its_escape(tmp_path):
    name = latents.as_text("odd \udcff.png")
    assert latents.targets([name, ".hidden"], tmp_path) == [tmp_path / r"odd \udcff.png", tmp_path / ".hidden.png"]


def test_two_pictures_never_meet_in_one_file(tmp_path):
    with pytest.raises(InputError, match=r"a.png and a.tif would both"):
        latents.targets(["a.png", "a.tif"], tmp_path)
    assert latents.targets(["a/x.jpg", "b/x.jpg"], tmp_path) == [tmp_path / "a/x.png", tmp_path / "b/x.png"]
