"""A training in 8-bit integers: what torch rounds is what onnxruntime rounds, and what is written says so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import scene, write_png

from denoise_cli import nets
from denoise_cli.card import ModelCard
from denoise_cli.cli import main
from denoise_cli.errors import UsageError
from denoise_cli.model_file import ModelFile
from denoise_cli.models import choose

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from denoise_cli.corrupt import parse  # noqa: E402
from denoise_cli.train import checkpoint, loop, rounding  # noqa: E402
from denoise_cli.train.data import Patches  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")

NET = {"widths": (16, 32), "blocks": (1, 1)}
OPTIONS = loop.Options(net=NET, patch=16, batch_size=2, steps=8, warmup=1, ema=0.5, int8=True, lr=1e-3)


def fresh() -> torch.nn.Module:
    torch.manual_seed(0)
    net = nets.build("unet", NET)
    with torch.no_grad():
        net.head.weight *= 10  # or nothing that is rounded would show
    return net


@pytest.fixture(scope="module")
def clean(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("clean")
    for seed in range(4):
        write_png(folder / f"{seed}.png", scene(80, 96, seed=seed))
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory, clean) -> Path:
    """A float model and, trained from it, its int8 form beside it."""
    folder = tmp_path_factory.mktemp("rounding")
    net = ["--net", "widths=16,32", "--net", "blocks=1,1"]
    line = ["train", str(clean), "-q", "--patch", "32", "-b", "2", "--ema", "0.5", *net]
    assert main([*line, "-o", str(folder / "m.onnx"), "--steps", "2"]) == 0
    init = ["--init", str(folder / "m.onnx"), "--precision", "int8", "--lr", "1e-3"]
    assert main([*line, *init, "-o", str(folder / "m.int8.onnx"), "--steps", "20"]) == 0
    return folder


def test_an_activation_is_one_of_256_values_within_its_range():
    rounding_ = rounding.Rounding()
    x = torch.linspace(-1, 3, 1001)[None]
    rounding_(x)
    assert rounding_.range == (-1.0, 3.0)
    rounding_.eval()
    y = rounding_(torch.linspace(-2, 4, 5001)[None])
    assert len(y.unique()) == 256
    assert (y.min().item(), y.max().item()) == pytest.approx((-1, 3), abs=4 / 255)
    inside = rounding_(x)
    assert (inside - x).abs().max() <= 4 / 255 * 0.51 + 4 / 255  # half a step, and a whole one where the grid ends
    assert rounding_(inside) is inside
    assert torch.equal(rounding_(torch.zeros(1, 3)), torch.zeros(1, 3)), "padding is exact"


def test_of_the_ranges_that_are_tried_the_one_that_rounds_best_is_taken():
    rounding_ = rounding.Rounding()
    x = torch.randn(1, 1, 100, 100, generator=torch.Generator().manual_seed(0)).clamp(-2.5, 2.5)
    x[0, 0, 0, :2] = torch.tensor([-3.0, 3.0])  # a little beyond all others
    rounding_(x)
    lost = [float((rounding._onto(x, torch.tensor(-3.0 * s), torch.tensor(3.0 * s)) - x).square().sum())
            for s in rounding.SHARES]  # fmt: skip
    best = rounding.SHARES[lost.index(min(lost))]
    assert rounding_.range == pytest.approx((-3 * best, 3 * best))


def test_the_gradient_passes_within_the_range_alone():
    rounding_ = rounding.Rounding()
    rounding_(torch.tensor([[0.0, 1.0]]))
    rounding_.eval()
    x = torch.tensor([[-0.5, 0.3, 0.7, 2.0]], requires_grad=True)
    rounding_(x).sum().backward()
    assert x.grad.tolist() == [[0, 1, 1, 0]]


def test_ranges_follow_the_batches_and_hold_in_use():
    rounding_ = rounding.Rounding()
    rounding_(torch.tensor([[-1.0, 1.0]]))
    rounding_(torch.tensor([[-1.0, 11.0]]))
    assert rounding_.range == pytest.approx((-1.0, 1 + 10 * rounding.FOLLOW))
    rounding_.eval()
    rounding_(torch.tensor([[-100.0, 100.0]]))
    assert rounding_.range == pytest.approx((-1.0, 1 + 10 * rounding.FOLLOW))


def test_onnxruntime_rounds_as_torch_does(tmp_path):
    net = rounding.rounded(fresh())
    for step in range(10):
        noise = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(step))
        net(torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(step)) + 0.1 * noise)
    card = ModelCard("m", channels=3, multiple=4, arch="unet", net=NET)
    _, parity = rounding.export_integers(net, card, tmp_path / "m.int8.onnx")
    plain = fresh()
    x = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        lost = (net.eval()(x) - plain(x)).abs().max()
    assert parity < 0.01 * lost, "what is lost to rounding is lost in both"


def test_only_hidden_layers_are_rounded_and_sums_are_not(trained):
    graph = onnx.load(trained / "m.int8.onnx").graph
    makers = {name: node for node in graph.node for name in node.output}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    bytes_ = [makers.get(node.input[0]) is not None and makers[node.input[0]].op_type == "DequantizeLinear"
              for node in convolutions]  # fmt: skip
    assert bytes_ == [False, *[True] * (len(convolutions) - 2), False]
    sums = [node for node in graph.node if node.op_type == "Add"]
    assert sums
    for node in sums:
        for name in node.input:
            if makers[name].op_type == "DequantizeLinear":
                value = makers[makers[name].input[0]].input[0]
                assert makers[value].op_type in ("Conv", "Resize"), "a sum was rounded before it was added to"


def test_what_is_written_is_the_int8_form_of_what_it_began_with(trained):
    card = ModelFile.read(trained / "m.int8.onnx").card
    assert (card.precision, card.name, card.training["int8"], card.training["steps"]) == ("int8", "m", True, 20)
    assert card.metrics["validation PSNR"] > 10
    assert choose(str(trained / "m.onnx"), "int8") == trained / "m.int8.onnx"
    assert card.training["quantised_from"] == ModelFile.read(trained / "m.onnx").fingerprint
    assert (trained / "m.int8.onnx").stat().st_size < 0.6 * (trained / "m.onnx").stat().st_size


def test_killed_and_resumed_equals_unbroken_ranges_included(tmp_path):
    def begin() -> loop.State:
        return loop.start(rounding.rounded(fresh()), OPTIONS, torch.device("cpu"))

    pool = [scene(40, 48, seed=s) for s in range(3)]
    stream = Patches(pool, parse(OPTIONS.noise), OPTIONS.patch, OPTIONS.batch_size, OPTIONS.seed)
    unbroken = loop.train(begin(), OPTIONS, stream)
    stops = iter([False] * 3 + [True])
    loop.train(begin(), OPTIONS, stream, checkpoint=tmp_path / "m.ckpt", stop=lambda: next(stops))
    resumed = checkpoint.restore(begin(), OPTIONS, tmp_path / "m.ckpt")
    assert resumed.step == 3
    loop.train(resumed, OPTIONS, stream)
    a, b = (loop.averaged(state).state_dict() for state in (unbroken, resumed))
    assert any(name.endswith("high") for name in a)
    assert all(torch.equal(value, b[name]) for name, value in a.items())
    with pytest.raises(UsageError, match="int8 was True"):
        checkpoint.restore(
            loop.start(fresh(), OPTIONS, torch.device("cpu")), replace(OPTIONS, int8=False), tmp_path / "m.ckpt"
        )


@pytest.mark.parametrize("line", [["--kind", "audio"], ["--arch", "latent-dae", "--patch", "28"]])
def test_nets_without_hidden_convolutions_cannot_be_rounded(clean, tmp_path, capsys, line):
    if "audio" in line:
        clean = Path(__file__).parent.parent / "samples"
    options = ["train", str(clean), "-o", str(tmp_path / "m.onnx"), "--precision", "int8", "--steps", "1", "-q"]
    assert main([*options, *line]) == 2
    assert "--precision int8 is for nets for pictures" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_net_that_is_rounded_learns():
    net = rounding.rounded(fresh())
    options = replace(OPTIONS, steps=60, lr=3e-3, patch=32, loss="mse", noise="gaussian:std=15")
    pool = [scene(64, 64, seed=s) for s in range(3)]
    stream = Patches(pool, parse(options.noise), options.patch, 2, 0)
    state = loop.start(net, options, torch.device("cpu"))
    before = _error(net, pool)
    loop.train(state, options, stream)
    assert _error(loop.averaged(state), pool) < 0.5 * before


def _error(net, pool) -> float:
    x = torch.from_numpy(np.stack([p[:, :64, :64] for p in pool]))
    noisy = x + 15 / 255 * torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    net.train()
    with torch.no_grad():
        net(noisy)  # ranges
        net.eval()
        return float((net(noisy) - x).square().mean())
