"""Noise on weights and parameters, adversarial inputs: each is what was asked, and gone when off."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import scene, write_png
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from denoise_cli import corrupt, nets
from denoise_cli.cli import main
from denoise_cli.errors import TrainingError, UsageError
from denoise_cli.session import Session
from denoise_cli.train import checkpoint, data, loop, perturb
from denoise_cli.train.losses import LOSSES
from denoise_cli.train.mixing import Mixtures

CPU = torch.device("cpu")
TINY = {"widths": (8, 16), "blocks": (1, 1)}
OPTIONS = loop.Options(net=TINY, batch_size=4, patch=16, warmup=2, ema=0.9, steps=8, gray=0.5)
ALL = {"weight_noise": 0.02, "param_noise": 0.01, "fgsm": 8.0}


pytestmark = pytest.mark.usefixtures("one_thread")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def begin(options: loop.Options = OPTIONS) -> loop.State:
    torch.manual_seed(options.seed)
    return loop.start(nets.build(options.arch, options.net), options, CPU)


def patches(options: loop.Options = OPTIONS) -> data.Patches:
    pictures = [(scene(30, 40, seed=n) * 255).round().astype(np.uint8) for n in range(3)]
    noise = corrupt.parse(options.noise)
    return data.Patches(pictures, noise, options.patch, options.batch_size, options.seed, options.gray)


def weights(state: loop.State) -> dict[str, Tensor]:
    return {f"net.{k}": v.clone() for k, v in state.net.state_dict().items()} | {
        f"average.{k}": v.clone() for k, v in state.average.items()
    }


def assert_equal_to_the_bit(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


def rms(x: Tensor) -> float:
    return float(x.detach().double().square().mean().sqrt())


# --- Noise on the weights, for one pass -------------------------------------------------------------------


class Told(nn.Module):
    """Tells the weights that it computes with: its output is they, one after the other."""

    def __init__(self, *scales: float):
        super().__init__()
        self.parts = nn.ParameterList([torch.randn(100, 200, generator=seeded()) * scale for scale in scales])

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([part + 0 * x for part in self.parts])


@pytest.mark.parametrize("share", [0.01, 0.3])
def test_the_noise_of_a_pass_has_the_share_that_was_asked_of_every_tensor(share):
    net = Told(1, 1e-3, 0)
    with torch.no_grad():
        x = torch.zeros(())
        noise, other = (perturb.forward(net, x, share, seeded(n)) - net(x) for n in (5, 6))
    for part, found in zip(net.parts, noise, strict=True):
        assert rms(found) == pytest.approx(share * rms(part), rel=0.03)  # 20,000 draws: 0.5 % is one deviation
        assert abs(float(found.mean())) <= 4 * share * rms(part) / len(found.flatten()) ** 0.5
    assert not noise[2].any(), "nothing to take a share of"
    mixed = float((noise[0] / rms(net.parts[0]) * noise[1] / rms(net.parts[1])).mean()) / share**2
    assert abs(mixed) < 0.03, "each tensor has its own draw"
    assert not torch.equal(noise, other)


def test_a_noisy_pass_leaves_the_stored_weights_alone_and_changes_the_loss():
    net, x = nets.build("unet", TINY), torch.rand(2, 3, 16, 16, generator=seeded())
    before = {name: value.clone() for name, value in net.state_dict().items()}
    clean = net(x)
    noisy = perturb.forward(net, x, 0.1, seeded())
    noisy.square().mean().backward()
    assert_equal_to_the_bit(before, net.state_dict())
    assert torch.equal(net(x), clean), "and the next pass is without"
    assert not torch.equal(noisy, clean)
    assert F.mse_loss(noisy, x) != F.mse_loss(clean, x)
    assert all(value.grad is not None for value in net.parameters())


def test_the_gradient_is_that_at_the_noisy_weights():
    net = Told(1)
    noisy = perturb.forward(net, torch.zeros(()), 0.5, seeded(1))
    (noisy.square() / 2).sum().backward()
    assert torch.allclose(net.parts[0].grad, noisy[0].detach())
    assert not torch.allclose(net.parts[0].grad, net.parts[0])


def test_the_loss_grows_by_half_the_curvature_times_the_variance():
    # y = W x: the loss 1/2 |y - t|^2 grows by 1/2 outputs |x|^2 (share rms)^2, whatever t is.
    net, share = nn.Linear(50, 40, bias=False), 0.2
    x = torch.randn(1, 50, generator=seeded())
    target = torch.randn(1, 40, generator=seeded(1))

    def loss(y: Tensor) -> float:
        return float(((y - target) ** 2).sum() / 2)

    generator = seeded(2)
    with torch.no_grad():
        grown = np.mean([loss(perturb.forward(net, x, share, generator)) for _ in range(2000)]) - loss(net(x))
    assert grown == pytest.approx(40 * float(x.square().sum()) * (share * rms(net.weight)) ** 2 / 2, rel=0.1)


# --- Noise that stays in the parameters -------------------------------------------------------------------


@pytest.mark.parametrize("optimiser", list(loop.OPTIMISERS))
def test_without_a_rate_the_parameters_move_by_the_noise_alone(optimiser):
    options = replace(OPTIONS, optimiser=optimiser, lr=1e-30, weight_decay=0.0, param_noise=0.05, steps=1)
    state = begin(options)
    before = {name: value.detach().clone() for name, value in state.net.named_parameters()}
    loop.train(state, options, patches(options))
    for name, value in state.net.named_parameters():
        if value.ndim == 1:
            assert rms(value) < 1e-20, "biases begin as zeros"
        else:
            spread = 4 / (2 * value.numel()) ** 0.5
            assert rms(value - before[name]) == pytest.approx(0.05 * rms(before[name]), rel=spread), name
    quiet = replace(options, param_noise=0.0)
    still = loop.train(begin(quiet), quiet, patches(quiet)).net
    assert all(torch.allclose(value, before[name], atol=1e-20) for name, value in still.named_parameters())


def test_it_is_annealed_as_the_rate_and_gone_at_the_end():
    options = replace(OPTIONS, optimiser="sgd", lr=1e-30, steps=1000, warmup=0)
    moved = []
    for fraction in (0.0, 0.5, 1.0):
        state = begin(options)
        before = state.net.stem.weight.detach().clone()
        loop._set_lr(state.optimiser, options, int(1000 * fraction), fraction)
        perturb.shake(state.optimiser, 0.1, seeded())
        moved.append(rms(state.net.stem.weight - before) / rms(before))
    assert moved[0] == pytest.approx(0.1, rel=0.1)
    assert moved[1] == pytest.approx(moved[0] / 2, rel=1e-4)
    assert moved[2] == 0


def test_annealed_with_the_rate_it_ends_near_the_optimum():
    # 4,000 parameters, each descending (w - 1)^2 / 2: w - 1 is an AR(1) process while the rate stands still.
    rate, share, steps = 0.5, 0.02, 2000

    def spread(schedule: Callable[[float], float], noise: Callable[[float], float] = lambda scale: 1.0) -> float:
        w = torch.ones(4000, requires_grad=True)
        optimiser = torch.optim.SGD([w], rate)
        optimiser.param_groups[0]["initial_lr"] = rate
        generator = seeded()
        for step in range(steps):
            scale = schedule(step / steps)
            optimiser.param_groups[0]["lr"] = rate * scale
            w.grad = w.detach() - 1
            optimiser.step()
            perturb.shake(optimiser, share * noise(scale), generator)
        return rms(w - 1)

    def cosine(fraction: float) -> float:
        return 0.5 * (1 + math.cos(math.pi * fraction))

    constant = spread(lambda fraction: 1.0)
    assert constant == pytest.approx(share / (1 - (1 - rate) ** 2) ** 0.5, rel=0.05)
    assert spread(cosine) < 0.2 * constant
    assert spread(cosine, lambda scale: scale**-0.5) > 0.7 * constant, "Langevin dynamics end as noisy as they were"


# --- Adversarial inputs -----------------------------------------------------------------------------------


def test_fgsm_has_its_closed_form():
    # net(x) = 3 x: the loss (3 x - x)^2 falls towards zero, so every sample is pushed away from it.
    net = nn.Conv2d(1, 1, 1, bias=False)
    nn.init.constant_(net.weight, 3.0)
    x = torch.tensor([-0.5, 0.25, 0.0, 1.0]).reshape(1, 1, 2, 2)
    assert torch.equal(perturb.fgsm(net, F.mse_loss, x, 0.125), x + 0.125 * x.sign())
    assert net.weight.grad is None, "the weights learn nothing from the attack"


def test_the_perturbation_is_eps_everywhere():
    torch.manual_seed(0)
    net, clean = nets.build("unet", TINY), torch.rand(2, 3, 16, 16, generator=seeded()) * 0.8 + 0.1
    moved = perturb.fgsm(net, LOSSES["charbonnier"], clean, 4 / 255) - clean
    assert moved.abs().max() == pytest.approx(4 / 255, abs=1e-6)
    assert moved.abs().min() == pytest.approx(4 / 255, abs=1e-6)
    assert not moved.requires_grad


def test_a_gray_sample_stays_gray_under_attack():
    torch.manual_seed(0)
    net = nets.build("unet", TINY)
    clean = torch.rand(4, 1, 16, 16, generator=seeded()).expand(-1, 3, -1, -1)
    gray = torch.tensor([True, False, True, False]).reshape(-1, 1, 1, 1)
    worse = perturb.fgsm(net, F.mse_loss, clean, 0.05, gray=gray)
    for sample, same in zip(worse, gray.flatten(), strict=True):
        assert (torch.equal(sample[0], sample[1]) and torch.equal(sample[0], sample[2])) == bool(same)
    together = clean[:1, :1].detach().requires_grad_()
    (gradient,) = torch.autograd.grad(F.mse_loss(net(together.expand(-1, 3, -1, -1)), clean[:1]), together)
    assert torch.equal(worse[:1, :1], clean[:1, :1] + 0.05 * gradient.sign()), "along what it may move"


@pytest.fixture(scope="module")
def trained() -> tuple[nn.Module, loop.Options]:
    """A tiny net that has learnt to denoise a little."""
    options = replace(OPTIONS, steps=150, lr=1e-2, noise="gaussian:std=25", loss="mse", gray=0.0)
    return loop.averaged(loop.train(begin(options), options, patches(options))), options


def test_the_attack_hurts_a_trained_net_more_than_random_signs_do(trained):
    net, options = trained
    clean = torch.from_numpy(patches(replace(options, batch_size=32)).batch(1000).clean)
    generator, eps = seeded(1), 8 / 255
    signs = torch.randint(0, 2, clean.shape, generator=generator) * 2 - 1
    noise = torch.randn(clean.shape, generator=generator) * 25 / 255
    worse = perturb.fgsm(net, F.mse_loss, clean, eps)
    with torch.no_grad():
        still, random, attacked = (float(F.mse_loss(net(x), clean)) for x in (clean, clean + eps * signs, worse))
        hidden = [float(F.mse_loss(net(x + noise), clean)) for x in (clean, clean + eps * signs, worse)]
    assert still < random
    assert attacked > 1.2 * random
    assert hidden == sorted(hidden), "also through the noise that follows, though that hides most of it"


def attacked(noise: str, eps: float, options: loop.Options = OPTIONS) -> tuple[Tensor, Tensor, Tensor]:
    """What a training step sees: (noisy without an attack, noisy with one, clean)."""
    torch.manual_seed(0)
    net, stream = nets.build("unet", TINY), patches(replace(options, noise=noise))
    draws = [
        perturb.pairs(stream, net, F.mse_loss, strength)(stream.batch(3), CPU, seeded(7)) for strength in (0, eps)
    ]
    assert torch.equal(draws[0][1], draws[1][1]), "the target is the clean picture in both"
    return draws[0][0], draws[1][0], draws[0][1]


def test_it_is_counted_in_8_bit_steps_and_stays_a_picture():
    _, noisy, clean = attacked("gaussian:std=0", 8)
    assert (noisy - clean).abs().max() == pytest.approx(8 / 255, abs=1e-6)
    _, noisy, _ = attacked("gaussian:std=0", 255)
    assert (float(noisy.min()), float(noisy.max())) == (0, 1)


def test_the_noise_comes_after_the_attack_and_is_the_same_as_without():
    plain, worse, clean = attacked("gaussian:std=25", 8)
    moved = attacked("gaussian:std=0", 8)[1] - clean
    assert torch.allclose(worse - plain, moved, atol=1e-6), "the same draw of noise on top"
    assert torch.equal(*attacked("masking:amount=1", 8)[:2]), "masking hides what was attacked"
    quantised = attacked("gaussian:std=5+quantise", 8)[1] * 255
    assert torch.allclose(quantised, quantised.round(), atol=1e-3), "what is read from a file is on its levels"


def test_recordings_are_attacked_at_full_scale_one_before_the_noise_is_mixed_in():
    hum = (8000 * np.sin(np.arange(9000) / 9)).astype(np.int16)
    stream = Mixtures([hum], [], 8000, 1024, 4, 0)
    torch.manual_seed(0)
    config = {"window": 64, "stem": 4, "channels": 8, "mixed": 4, "dilations": (1, 2)}
    net = nets.build("band-mixer", config)
    nn.init.normal_(net.head.weight, std=0.1)
    batch = stream.batch(0)
    noisy, clean, _ = perturb.pairs(stream, net, LOSSES["spectral"], 0.01)(batch, CPU, seeded())
    worse = perturb.fgsm(net, LOSSES["spectral"], clean, 0.01)
    assert torch.equal(clean, torch.from_numpy(batch.clean))
    assert torch.allclose(noisy - torch.from_numpy(batch.noisy), worse - clean, atol=1e-6)
    assert (worse - clean).abs().max() == pytest.approx(0.01, abs=1e-6)


# --- In the loop ------------------------------------------------------------------------------------------


def plain(options: loop.Options) -> loop.State:
    """The loop as it is without any of this, written out."""
    state, stream, generator = begin(options), patches(options), torch.Generator()
    state.net.train()
    for step in range(options.steps):
        loop._set_lr(state.optimiser, options, step, step / options.steps)
        generator.manual_seed(loop._mix(options.seed, step))
        noisy, clean, _ = stream.pair(stream.batch(step), CPU, generator)
        state.optimiser.zero_grad(set_to_none=True)
        LOSSES[options.loss](state.net(noisy), clean).backward()
        nn.utils.clip_grad_norm_(state.net.parameters(), options.clip)
        state.optimiser.step()
        loop._average(state, options.ema)
        state.step += 1
    return state


def test_off_is_the_loop_without_them_to_the_bit():
    found = weights(loop.train(begin(), OPTIONS, patches()))
    assert_equal_to_the_bit(found, weights(plain(OPTIONS)))


@pytest.mark.parametrize("name", list(ALL))
def test_each_changes_what_is_learnt(name):
    options = replace(OPTIONS, **{name: ALL[name]})
    found = weights(loop.train(begin(options), options, patches(options)))
    off = weights(loop.train(begin(), OPTIONS, patches()))
    assert not torch.equal(found["net.stem.weight"], off["net.stem.weight"])


class Killed(Exception):
    """Stands for kill -9: nothing after it runs."""


@pytest.mark.parametrize("optimiser", ["muon", "adam"])
def test_with_all_three_a_killed_and_resumed_run_equals_an_unbroken_one_to_the_bit(tmp_path, optimiser):
    options, path = replace(OPTIONS, optimiser=optimiser, **ALL), tmp_path / "m.ckpt"
    unbroken = weights(loop.train(begin(options), options, patches(options)))

    def kill(progress: loop.Progress) -> None:
        if progress.step == 6:
            raise Killed

    with pytest.raises(Killed):
        loop.train(
            begin(options), options, patches(options), checkpoint=path, report=kill, every=0, checkpoint_every=0
        )
    resumed = checkpoint.restore(begin(options), options, path)
    assert resumed.step == 5
    assert_equal_to_the_bit(unbroken, weights(loop.train(resumed, options, patches(options))))


def test_they_compose_in_bfloat16():
    options = replace(OPTIONS, amp=True, steps=2, **ALL)
    found = weights(loop.train(begin(options), options, patches(options)))
    assert all(value.dtype == torch.float32 and bool(torch.isfinite(value).all()) for value in found.values())


@pytest.mark.parametrize("name", list(ALL))
def test_a_resumed_run_must_agree(tmp_path, name):
    checkpoint.save(begin(), OPTIONS, tmp_path / "m.ckpt")
    with pytest.raises(UsageError, match=f"--resume: {name} was 0.0 in the checkpoint, now {ALL[name]}"):
        checkpoint.restore(begin(), replace(OPTIONS, **{name: ALL[name]}), tmp_path / "m.ckpt")


def test_a_checkpoint_from_before_they_were_there_resumes_where_they_are_off(tmp_path):
    path = tmp_path / "m.ckpt"
    checkpoint.save(begin(), OPTIONS, path)
    with safe_open(path, "pt") as file:
        about = json.loads(file.metadata()["denoise"])
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
    for name in ALL:
        del about["options"][name]
    save_file(tensors, path, {"denoise": json.dumps(about)})
    assert checkpoint.restore(begin(), OPTIONS, path).step == 0
    with pytest.raises(UsageError, match="--resume: fgsm was 0"):
        checkpoint.restore(begin(), replace(OPTIONS, fgsm=1.0), path)


@pytest.mark.parametrize("name", list(ALL))
@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf])
def test_strengths_that_make_no_sense_are_named(name, value):
    with pytest.raises(UsageError, match=f"--{name.replace('_', '-')} must be a number from 0 up"):
        replace(OPTIONS, **{name: value})


def test_noise_that_blows_up_the_weights_is_an_error_and_the_last_good_state_stays(tmp_path):
    options, path = replace(OPTIONS, param_noise=1e10, steps=50), tmp_path / "m.ckpt"
    with pytest.raises(TrainingError, match="not finite"):
        loop.train(begin(options), options, patches(options), checkpoint=path, checkpoint_every=0)
    if path.exists():
        kept = weights(checkpoint.restore(begin(options), options, path))
        assert all(bool(torch.isfinite(value).all()) for value in kept.values())


# --- The command ------------------------------------------------------------------------------------------


def test_the_command_trains_with_all_three_and_the_card_says_so(tmp_path):
    for n in range(4):
        write_png(tmp_path / "clean" / f"{n}.png", scene(32, 32, seed=n))
    out = tmp_path / "m.onnx"
    line = f"train {tmp_path / 'clean'} -o {out} --steps 3 --net widths=8,16 --net blocks=1,1 --patch 16 -b 2"
    line += " --threads 1 -q --weight-noise 0.02 --param-noise 0.002 --fgsm 4"
    assert main(line.split()) == 0
    training = Session(out, "cpu").card.training
    assert [training[name] for name in ALL] == [0.02, 0.002, 4.0]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ("--weight-noise -1", "--weight-noise must be a number from 0 up, not -1"),
        ("--param-noise nan", "--param-noise must be a number from 0 up, not nan"),
        ("--fgsm x", "--fgsm"),
        ("--fgsm 256", "--fgsm 256 is beyond full scale, which is 255"),
        ("--fgsm inf", "--fgsm inf"),
        ("--kind audio --fgsm 8", "--fgsm 8 is beyond full scale, which is 1"),
    ],
)
def test_wrong_strengths_are_one_line_and_exit_2(options, named, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("x").mkdir()
    assert main(f"train x -o m.onnx --steps 1 {options}".split()) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("denoise: ")
    assert named in err
