"""Nets that may be told the noise level: what they are told in training, and what it is worth to them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import scene

from denoise_cli import corrupt, denoise, nets
from denoise_cli.card import UNTOLD, ModelCard
from denoise_cli.errors import ModelError, UsageError
from denoise_cli.evaluate.anomaly import stored
from denoise_cli.metrics import psnr
from denoise_cli.session import Session
from denoise_cli.train import data, fit, loop, quantise
from denoise_cli.train.export import export
from denoise_cli.train.pictures import Pictures

pytestmark = pytest.mark.usefixtures("one_thread")
CPU = torch.device("cpu")
NET = {"channels": 3, "widths": (8, 16), "blocks": (1, 1), "noise_map": True}


def told(clean: np.ndarray, noise: str, gray: bool = False, count: int = 400) -> torch.Tensor:
    """The levels that `count` samples of one clean patch come with, in 8-bit steps."""
    batch = data.Batch(np.repeat(clean[None], count, 0), np.full((count, 1, 1, 1), gray))
    stream = data.Patches([clean], corrupt.parse(noise), clean.shape[1], count, 0, told=True)
    pair = stream.pair(batch, CPU, torch.Generator().manual_seed(0))
    assert pair.level is not None
    return pair.level * 255


@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize(
    "noise", ["gaussian:std=25", "gaussian:std=25,mean=9+quantise", "gaussian:std=25+quantise+jpeg:quality=50"]
)
def test_half_of_the_samples_are_told_the_level_even_where_noise_was_clipped(noise, gray):
    levels = told(np.zeros((3, 32, 32), np.float32), noise, gray)
    known = levels[levels >= 0]
    assert 150 < len(known) < 250
    assert torch.allclose(known, torch.tensor(25.0), atol=4)
    assert known.mean().item() == pytest.approx(25, abs=0.3)
    assert bool((levels[levels < 0] == UNTOLD * 255).all())


def test_a_net_that_cannot_be_told_gets_no_level():
    stream = data.Patches([np.zeros((3, 16, 16), np.uint8)], corrupt.parse("gaussian:std=25"), 16, 4, 0)
    assert stream.pair(stream.batch(0), CPU, torch.Generator()).level is None


def test_what_is_told_is_worth_something():
    """A level that is right is better than one that is wrong, and than none."""
    torch.manual_seed(0)
    options = loop.Options(
        net={**NET, "channels": 1}, noise="gaussian:std=0-80", batch_size=16, patch=24, steps=300, ema=0.9
    )
    pictures = [(scene(60, 60, 1, seed=n) * 255).round().astype(np.uint8) for n in range(6)]
    stream = data.Patches(pictures, corrupt.parse(options.noise), 24, 16, 0, told=True)
    state = loop.start(nets.build("unet", options.net), options, CPU)
    loop.train(state, options, stream)
    net = loop.averaged(state)
    clean = np.stack([scene(64, 64, 1, seed=n) for n in range(20, 28)])

    def score(std: float, sigma: float) -> float:
        rng = np.random.default_rng(0)
        noisy = torch.from_numpy((clean + rng.normal(0, std / 255, clean.shape)).astype(np.float32))
        with torch.no_grad():
            return psnr(net(noisy, torch.full((len(clean),), sigma)).numpy(), clean)

    for std, wrong in ((10, 60), (60, 10)):
        right = score(std, std / 255)
        assert right > score(std, wrong / 255) + 0.1
        assert right > score(std, UNTOLD) + 0.05


def test_a_trained_one_is_run_told_and_untold(folder: Path, tmp_path: Path):
    options = loop.Options(net=NET, noise="gaussian:std=0-55+quantise", batch_size=2, patch=16, steps=40, warmup=2)
    path = tmp_path / "m.onnx"
    card = fit.fit(Pictures(folder, options, None), path).card
    assert (card.noise_input, card.noise_optional) == (True, True)
    session, x = Session(path, "cpu"), scene(40, 40)
    untold, faint, strong = (denoise.array(x, session, denoise.Options(std=std)) for std in (None, 2.0, 50.0))
    assert not np.array_equal(faint, strong)
    assert not np.array_equal(faint, untold)
    form = quantise.quantise(path, folder, tmp_path / "m.int8.onnx", say=lambda line: None)
    assert (form.noise_input, form.noise_optional, form.precision) == (True, True, "int8")
    coarse = denoise.array(x, Session(tmp_path / "m.int8.onnx", "cpu"), denoise.Options(std=50.0))
    assert np.abs(coarse - strong).max() < 0.1


def test_one_that_must_be_told_says_so(tmp_path: Path):
    net = nets.build("unet", NET)
    card = ModelCard("m", multiple=net.multiple, noise_input=True)
    export(net, card, tmp_path / "m.onnx")
    session = Session(tmp_path / "m.onnx", "cpu")
    with pytest.raises(UsageError, match="must be told"):
        denoise.array(scene(16, 16), session, denoise.Options())
    denoise.Options().check(replace(card, noise_optional=True))


def test_a_threshold_for_anomalies_goes_with_what_was_told_when_it_was_found():
    card = ModelCard("m", noise_input=True, noise_optional=True, anomaly={"threshold": 0.1})
    denoise.Options(flag=True).check(card)
    with pytest.raises(UsageError, match="found with no --std"):
        denoise.Options(flag=True, std=5).check(card)
    card = replace(card, anomaly=stored(card, 0.1, 0.01, 99, None, 5.0))
    denoise.Options(flag=True, std=5).check(card)
    with pytest.raises(UsageError, match="found with --std 5"):
        denoise.Options(flag=True).check(card)


def test_a_card_that_says_optional_of_what_is_not_there_is_refused():
    with pytest.raises(ModelError, match="noise_optional"):
        ModelCard("m", noise_optional=True)
