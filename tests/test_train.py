"""Training: stopped and resumed ends where an unbroken run does, and what is exported is what was trained."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest
import torch
from conftest import scene, write_png
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from denoise_cli import corrupt, media, nets
from denoise_cli.card import ModelCard
from denoise_cli.cli import main
from denoise_cli.errors import ModelError, TrainingError, UsageError
from denoise_cli.model_file import ModelFile, with_card
from denoise_cli.nets.grow import grow
from denoise_cli.session import Session
from denoise_cli.train import checkpoint, data, fit, loop, muon, tasks
from denoise_cli.train import pictures as training
from denoise_cli.train.export import export, receptive_radius
from denoise_cli.train.losses import LOSSES
from denoise_cli.train.pictures import Pictures

CPU = torch.device("cpu")
TINY = {"widths": (8, 16), "blocks": (1, 1)}
NOISE = corrupt.parse("gaussian:std=25")
OPTIONS = loop.Options(net=TINY, batch_size=4, patch=16, warmup=2, ema=0.9, steps=8, gray=0.5)


pytestmark = pytest.mark.usefixtures("one_thread")


def begin(options: loop.Options = OPTIONS, net: nn.Module | None = None) -> loop.State:
    torch.manual_seed(options.seed)
    return loop.start(nets.build(options.arch, options.net) if net is None else net, options, CPU)


def patches(options: loop.Options = OPTIONS) -> data.Patches:
    pictures = [(scene(30, 40, seed=n) * 255).round().astype(np.uint8) for n in range(3)]
    return data.Patches(
        pictures, corrupt.parse(options.noise), options.patch, options.batch_size, options.seed, options.gray
    )


def tensors(state: loop.State) -> dict[str, torch.Tensor]:
    """Everything that the next step depends on."""
    found = {f"net.{k}": v for k, v in state.net.state_dict().items()}
    found |= {f"average.{k}": v for k, v in state.average.items()}
    for index, entry in state.optimiser.state_dict()["state"].items():
        found |= {f"{index}.{k}": torch.as_tensor(v) for k, v in entry.items() if v is not None}
    return found


def assert_equal_to_the_bit(a: loop.State, b: loop.State) -> None:
    a_tensors, b_tensors = tensors(a), tensors(b)
    assert a.step == b.step
    assert sorted(a_tensors) == sorted(b_tensors)
    for name, value in a_tensors.items():
        assert torch.equal(value, b_tensors[name]), name


class Killed(Exception):
    """Stands for kill -9: nothing after it runs."""


def kill_at(step: int):
    def report(progress: loop.Progress) -> None:
        if progress.step == step:
            raise Killed

    return report


# --- The loop ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimiser", list(loop.OPTIMISERS))
def test_killed_and_resumed_equals_unbroken_to_the_bit(tmp_path, optimiser):
    options, path = replace(OPTIONS, optimiser=optimiser), tmp_path / "m.ckpt"
    unbroken = loop.train(begin(options), options, patches())
    start = tensors(begin(options))
    assert not torch.equal(start["net.stem.weight"], tensors(unbroken)["net.stem.weight"])

    with pytest.raises(Killed):
        loop.train(
            begin(options), options, patches(), checkpoint=path, report=kill_at(6), every=0, checkpoint_every=0
        )
    resumed = checkpoint.restore(begin(replace(options, seed=0)), options, path)
    assert resumed.step == 5
    loop.train(resumed, options, patches(), checkpoint=path)
    assert_equal_to_the_bit(unbroken, resumed)
    # And so is the checkpoint at the end: a run that is over resumes to itself.
    assert_equal_to_the_bit(unbroken, checkpoint.restore(begin(options), options, path))


def test_asked_to_stop_it_ends_between_steps_with_its_checkpoint(tmp_path):
    asked = iter([False] * 3 + [True])
    state = loop.train(begin(), OPTIONS, patches(), None, tmp_path / "m.ckpt", stop=lambda: next(asked))
    assert state.step == 3
    assert_equal_to_the_bit(state, checkpoint.restore(begin(), OPTIONS, tmp_path / "m.ckpt"))


def test_a_slow_validation_comes_less_often(monkeypatch):
    clock = iter(range(10_000))  # a second passes whenever the loop looks
    now = [0.0]
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: now[0] + next(clock)))
    asked: list[float] = []

    def validate(net: nn.Module) -> float:
        asked.append(now[0])
        now[0] += 500  # what it takes
        return 30.0

    options = replace(OPTIONS, steps=60)
    loop.train(begin(options), options, patches(options), validate, every=0, validate_every=20)
    assert len(asked) == 1  # eight would have been due, had it taken no time


def test_the_seed_decides_everything():
    a, b = (loop.train(begin(), OPTIONS, patches()) for _ in range(2))
    assert_equal_to_the_bit(a, b)
    other = replace(OPTIONS, seed=1)
    assert not torch.equal(
        loop.train(begin(), other, patches(other)).average["stem.weight"], a.average["stem.weight"]
    )


def test_the_loss_falls():
    options = replace(OPTIONS, steps=150, lr=1e-2, noise="gaussian:std=100", loss="mse", gray=0.0)
    state = loop.train(begin(options), options, patches(options), every=0)
    losses = [point["loss"] for point in state.curve]
    assert len(losses) == 150
    assert np.mean(losses[-20:]) < 0.6 * np.mean(losses[:5])
    assert np.mean(losses[-20:]) < 0.6 * (100 / 255) ** 2  # the noise itself: the net does better than nothing


class Poisoned(nn.Module):
    """A convolution whose output is NaN from its n-th call on."""

    def __init__(self, good: int):
        super().__init__()
        self.conv, self.left = nn.Conv2d(3, 3, 3, padding=1, bias=False), good
        nn.init.dirac_(self.conv.weight)

    def forward(self, x):
        self.left -= 1
        return self.conv(x) * (1.0 if self.left >= 0 else math.nan)


def test_nan_stops_the_run_and_keeps_the_last_good_checkpoint(tmp_path):
    path = tmp_path / "m.ckpt"
    five = iter([False] * 5 + [True])
    good = loop.train(begin(net=Poisoned(100)), OPTIONS, patches(), stop=lambda: next(five))
    with pytest.raises(TrainingError, match=r"not finite at step 5; .*--lr .*kept in .*m\.ckpt"):
        loop.train(begin(net=Poisoned(5)), OPTIONS, patches(), checkpoint=path, checkpoint_every=0)
    assert_equal_to_the_bit(good, checkpoint.restore(begin(net=Poisoned(0)), OPTIONS, path))


def test_a_rate_far_too_high_is_an_error_not_a_model(tmp_path):
    options = replace(OPTIONS, lr=1e30, steps=50, optimiser="sgd")
    with pytest.raises(TrainingError, match="not finite"):
        loop.train(begin(options), options, patches(), checkpoint=tmp_path / "m.ckpt", checkpoint_every=0)
    if (tmp_path / "m.ckpt").exists():
        kept = checkpoint.restore(begin(options), options, tmp_path / "m.ckpt")
        assert all(bool(torch.isfinite(value).all()) for value in tensors(kept).values())


def test_weights_that_are_not_finite_are_never_written(tmp_path):
    state = begin()
    state.average["stem.bias"][0] = math.inf
    with pytest.raises(TrainingError, match="not written"):
        checkpoint.save(state, OPTIONS, tmp_path / "m.ckpt")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("kept", [0, 4, 0.5, 0.99])
def test_a_cut_checkpoint_is_refused(tmp_path, kept):
    path = tmp_path / "m.ckpt"
    checkpoint.save(loop.train(begin(), replace(OPTIONS, steps=1), patches()), OPTIONS, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole)) if kept < 1 else kept])
    with pytest.raises(ModelError, match=r"m\.ckpt: not a checkpoint") as caught:
        checkpoint.restore(begin(), OPTIONS, path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "metadata", [None, {"format": "pt"}, {"denoise": "{"}, {"denoise": "[]"}, {"denoise": "{}"}]
)
def test_a_foreign_checkpoint_is_refused(tmp_path, metadata):
    path = tmp_path / "m.ckpt"
    save_file({"weight": torch.zeros(3)}, path, metadata)
    with pytest.raises(ModelError, match="not a checkpoint"):
        checkpoint.restore(begin(), OPTIONS, path)


def test_a_pickle_is_refused_and_not_run(tmp_path):
    path, canary = tmp_path / "m.ckpt", tmp_path / "canary"

    class Payload:
        def __reduce__(self):
            return Path.touch, (canary,)

    torch.save(Payload(), path)
    with pytest.raises(ModelError, match="not a checkpoint"):
        checkpoint.restore(begin(), OPTIONS, path)
    assert not canary.exists()


@pytest.mark.parametrize(
    "changed",
    [{"lr": 1e-4}, {"noise": "gaussian:std=5"}, {"batch_size": 5}, {"net": {"widths": (8,), "blocks": (1,)}},
     {"seed": 1}, {"optimiser": "sgd"}],
    ids=lambda changed: next(iter(changed)),
)  # fmt: skip
def test_a_resumed_run_must_agree_with_its_checkpoint(tmp_path, changed):
    checkpoint.save(begin(), OPTIONS, tmp_path / "m.ckpt")
    options = replace(OPTIONS, **changed)
    with pytest.raises(UsageError, match=f"--resume: {next(iter(changed))} was"):
        checkpoint.restore(begin(options), options, tmp_path / "m.ckpt")


def test_a_longer_run_may_go_on_from_a_shorter_one(tmp_path):
    loop.train(begin(), replace(OPTIONS, steps=3), patches(), checkpoint=tmp_path / "m.ckpt")
    longer = replace(OPTIONS, steps=6)
    assert loop.train(checkpoint.restore(begin(), longer, tmp_path / "m.ckpt"), longer, patches()).step == 6


def test_max_time_ends_near_its_time_with_the_rate_annealed_to_nothing():
    options = replace(OPTIONS, steps=None, max_time=1.5, warmup=1)
    state = loop.train(begin(net=nn.Conv2d(3, 3, 3, padding=1)), options, patches())
    assert 1.5 <= state.elapsed < 2.5
    assert state.step > 10
    assert state.optimiser.param_groups[0]["lr"] < 0.05 * options.rate


def test_the_first_report_knows_how_long_it_takes():
    options, seen = replace(OPTIONS, steps=None, max_time=1.0), []
    loop.train(begin(options), options, patches(options), report=seen.append, every=0.0)
    assert 0 < seen[0].seconds_left <= 1
    assert seen[-1].fraction <= 1

    options, seen = replace(OPTIONS, steps=2), []
    loop.train(begin(options), options, patches(options), report=seen.append, every=0.0)
    assert (seen[0].fraction, seen[1].fraction, seen[1].seconds_left) == (0.5, 1, 0)


def test_the_rate_warms_up_and_follows_a_cosine():
    state, options = begin(), replace(OPTIONS, warmup=10, steps=200)
    rates = []
    for step in range(201):
        loop._set_lr(state.optimiser, options, step, step / 200)
        rates.append([group["lr"] / group["initial_lr"] for group in state.optimiser.param_groups])
    assert all(one == pytest.approx(rate[0]) for rate in rates for one in rate), "all groups alike"
    rates = [rate[0] for rate in rates]
    assert rates[0] == pytest.approx(0.1)
    assert rates[100] == pytest.approx(0.5)
    assert rates[200] == pytest.approx(0)
    assert max(rates) == rates[9]


def test_a_training_that_has_time_for_few_steps_warms_up_in_fewer():
    state, options = begin(), replace(OPTIONS, warmup=200, steps=None, max_time=60.0)
    rates = []
    for step in range(60):  # one a second
        loop._set_lr(state.optimiser, options, step, step / 60)
        rates.append(state.optimiser.param_groups[0]["lr"] / state.optimiser.param_groups[0]["initial_lr"])
    assert rates[0] == pytest.approx(1 / 200)
    assert max(rates) == rates[3] > 0.99


def test_the_average_lags_behind_the_weights():
    state = begin(net=nn.Conv2d(1, 1, 1, bias=False))
    state.average["weight"].zero_()
    state.step = 10**6  # an old average: its decay is the one asked for
    nn.init.ones_(state.net.weight)
    for n in range(1, 4):
        loop._average(state, 0.9)
        assert state.average["weight"].item() == pytest.approx(1 - 0.9**n)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"loss": "huber"}, "choose from mse"), ({"optimiser": "lion"}, "choose from muon"),
        ({"steps": None}, "--max-time"), ({"lr": 0}, "--lr"), ({"lr": math.nan}, "--lr"), ({"steps": 0}, "--steps"),
        ({"batch_size": 0}, "--batch-size"), ({"gray": 2}, "--gray"), ({"ema": 1}, "--ema"), ({"ema": -1}, "--ema"),
        ({"noise": "rain"}, "unknown noise"),
    ],
)  # fmt: skip
def test_options_that_make_no_sense_are_named(wrong, message):
    with pytest.raises(UsageError, match=message):
        replace(OPTIONS, **wrong)


# --- The data ---------------------------------------------------------------------------------------------


def test_a_batch_is_a_function_of_seed_and_step():
    one, other = patches(), patches()
    for step in (0, 7, 1_000_000):
        a, b = one.batch(step), other.batch(step)
        assert np.array_equal(a.clean, b.clean)
        assert np.array_equal(a.gray, b.gray)
    assert not np.array_equal(one.batch(0).clean, one.batch(1).clean)
    assert not np.array_equal(one.batch(0).clean, patches(replace(OPTIONS, seed=1)).batch(0).clean)


def test_the_thread_that_works_ahead_gives_the_same_batches():
    stream = patches().batches(5)
    for step in (5, 6, 7):
        assert np.array_equal(next(stream).clean, patches().batch(step).clean)
    stream.close()


def test_an_error_of_that_thread_comes_to_the_one_who_waits(monkeypatch):
    source = patches()
    monkeypatch.setattr(source, "batch", lambda step: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        next(source.batches(0))


def test_patches_are_pieces_of_the_pictures():
    picture = np.arange(3 * 9 * 9, dtype=np.uint8).reshape(3, 9, 9)
    pieces = {
        np.ascontiguousarray(turned[:, y : y + 4, x : x + 4]).tobytes()
        for k in range(4) for turned in (np.rot90(picture, k, (1, 2)), np.rot90(picture, k, (1, 2))[:, :, ::-1])
        for y in range(6) for x in range(6)
    }  # fmt: skip
    batch = data.Patches([picture], NOISE, 4, 200, 0).batch(0)
    levels = (batch.clean * 255).round().astype(np.uint8)
    found = {sample.tobytes() for sample in levels}
    assert found <= pieces
    assert len(found) > 100  # many places, in many orientations
    assert not batch.gray.any()


def test_small_pictures_are_mirrored_up_to_the_patch():
    row = np.arange(5, dtype=np.uint8)
    picture = np.broadcast_to(row, (1, 20, 5))
    (kept,) = data.Patches([picture], NOISE, 8, 1, 0).pictures
    assert kept.shape == (1, 20, 8)
    assert list(kept[0, 0]) == [0, 1, 2, 3, 4, 4, 3, 2]
    assert data.Patches([picture], NOISE, 32, 2, 0).batch(0).clean.shape == (2, 1, 32, 32)


def test_sixteen_bits_stay_and_eight_bits_are_kept_small(tmp_path):
    deep, flat = tmp_path / "deep.png", write_png(tmp_path / "flat.png", scene(20, 20, 1))
    levels = (np.arange(400, dtype=np.uint16) * 163).reshape(20, 20)
    Image.fromarray(levels).save(deep)
    a, b = data.load([deep, flat], 1, lambda path, why: pytest.fail(why))
    assert a.dtype == np.float32
    assert np.array_equal((a[0] * 65535).round().astype(np.uint16), levels)
    assert b.dtype == np.uint8
    batch = data.Patches([a], NOISE, 16, 4, 0).batch(0)
    assert len(np.unique(batch.clean)) > 256


def test_channels_are_what_the_net_takes(folder):
    colour, gray = folder / "a.png", folder / "gray.png"
    one, luma = data.load([gray, colour], 1, lambda *_: None)
    three, same = data.load([gray, colour], 3, lambda *_: None)
    assert [len(x) for x in (one, luma, three, same)] == [1, 1, 3, 3]
    assert data.is_gray(three)
    assert not data.is_gray(same)
    assert np.array_equal(three[1], one[0])
    assert np.abs(np.tensordot(data.LUMA, same.astype(np.float32), 1) - luma[0]).max() <= 0.51


def test_files_that_cannot_be_read_are_named_and_left_out(tmp_path, folder):
    bad = folder / "bad.png"
    bad.write_text("no picture\n")
    skipped = []
    assert len(data.load([bad, folder / "a.png"], 3, lambda path, why: skipped.append(path))) == 1
    assert skipped == [bad]
    with pytest.raises(TrainingError, match="no picture"):
        data.load([bad], 3, lambda *_: None)


@pytest.mark.parametrize("spec", ["gaussian:std=25", "salt-pepper:amount=0.3", "gaussian:std=0-55+quantise:p=0.7"])
def test_a_gray_sample_has_one_noise_in_all_channels(spec):
    clean = torch.rand(6, 1, 16, 16).expand(-1, 3, -1, -1)
    gray = torch.tensor([True, False] * 3).reshape(-1, 1, 1, 1)
    stream = data.Patches([np.zeros((3, 16, 16), np.uint8)], corrupt.parse(spec), 16, 6, 0)
    noisy, same, _ = stream.pair(data.Batch(clean.numpy(), gray.numpy()), CPU, torch.Generator().manual_seed(0))
    assert torch.equal(same, clean)
    for sample, is_gray in zip(noisy, gray.flatten(), strict=True):
        assert torch.equal(sample[0], sample[1]) == torch.equal(sample[0], sample[2]) == bool(is_gray)
    assert not torch.equal(noisy, clean)


def test_a_gray_sample_of_a_colour_net_has_the_noise_that_a_gray_net_sees():
    """JPEG behind noise in three channels would take most of it for colours, and away."""
    noise, gray = corrupt.parse("gaussian:std=25+jpeg:quality=75"), np.array([True, False]).reshape(-1, 1, 1, 1)
    stds = []
    for channels in (1, 3):
        clean = np.full((2, channels, 128, 128), 0.5, np.float32)
        stream = data.Patches([np.zeros((channels, 128, 128), np.uint8)], noise, 128, 2, 0)
        noisy, _, _ = stream.pair(data.Batch(clean, gray | (channels == 1)), CPU, torch.Generator().manual_seed(0))
        stds.append(255 * float(noisy[0].std()))
    assert stds[0] == pytest.approx(stds[1], rel=0.03)
    assert 23 < stds[0] < 29

    flat = np.full((3, 64, 64), 0.5, np.float32)
    (first, again), other = (training.example(flat, noise, n) for n in (0, 0)), training.example(flat, noise, 1)
    assert data.is_gray(first.noisy)
    assert 255 * first.noisy.std() == pytest.approx(stds[0], rel=0.1)
    assert np.array_equal(first.noisy, again.noisy)
    assert not np.array_equal(first.noisy, other.noisy)


def test_pictures_that_drew_no_noise_do_not_rule_the_mean(tmp_path, capsys):
    for n in range(4):
        write_png(tmp_path / "clean" / f"{n}.png", scene(40, 40, seed=n))
    held = [training.example(scene(16, 16, seed=n), corrupt.parse("gaussian:std=25,p=0.5"), n) for n in range(20)]
    noisy = training.with_noise(held)
    assert 0 < len(noisy) < 20
    assert all(not np.array_equal(one.clean, one.noisy) for one in noisy)
    clear = [one for one in held if np.array_equal(one.clean, one.noisy)]
    assert training.with_noise(clear) == clear, "there are no others"
    line = ["train", tmp_path / "clean", "-o", tmp_path / "m.onnx", "--noise", "gaussian:std=0", "--steps", 1,
            "-b", 1, "--patch", 16, "--net", "widths=8,16", "--net", "blocks=1,1", "--threads", 1]  # fmt: skip
    assert main([str(part) for part in line]) == 0
    assert "makes things worse" not in capsys.readouterr().err


def test_gray_patches_have_three_equal_channels():
    batch = patches(replace(OPTIONS, batch_size=40)).batch(3)
    assert 5 < batch.gray.sum() < 35
    for sample, gray in zip(batch.clean, batch.gray.flatten(), strict=True):
        assert data.is_gray(sample) == gray


# --- Losses -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mse", 0.09),
        ("l1", 0.3),
        ("charbonnier", math.sqrt(0.09 + 1e-6)),
        ("bce", -math.log(0.5)),
        ("log-mse", math.log(0.09 + (2 / 255) ** 2)),
    ],
)
def test_losses_have_their_closed_forms(name, value):
    target = torch.full((2, 3, 4, 4), 0.2)
    output = torch.full_like(target, 0.5)
    assert LOSSES[name](output, target).item() == pytest.approx(value, rel=1e-5)


def test_losses_are_least_for_equal_pictures():
    x = torch.rand(1, 3, 8, 8)
    assert LOSSES["mse"](x, x) == LOSSES["l1"](x, x) == 0
    assert LOSSES["charbonnier"](x, x).item() == pytest.approx(1e-3)
    assert LOSSES["bce"](x, x) < LOSSES["bce"](x.roll(1, -1), x)


# --- Export -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arch", "config"),
    [
        ("unet", {"channels": 1, "widths": (4, 6, 8), "blocks": (1, 0, 1)}),
        ("unet", {"channels": 3, "widths": (8,), "blocks": (1,), "noise_map": True}),
        ("dncnn", {"channels": 3, "width": 8, "depth": 4}),
        ("conv-dae", {"channels": 1, "width": 6}),
    ],
)
def test_an_export_computes_what_torch_does_at_any_size(tmp_path, arch, config):
    torch.manual_seed(0)
    net = nets.build(arch, config).eval()
    sigma = config.get("noise_map", False)
    card = ModelCard("m", channels=config["channels"], multiple=net.multiple, noise_input=sigma, arch=arch)
    written, parity = export(net, card, tmp_path / "m.onnx")
    assert parity < 1e-4
    session = Session(tmp_path / "m.onnx", "cpu")
    assert session.card == replace(written, net={}, training={}, metrics={})
    assert (session.card.halo % net.multiple, session.card.halo > 0) == (0, True)
    for n, height, width in ((1, 5, 3), (3, 13, 20)):
        x = torch.rand(n, config["channels"], height * net.multiple, width * net.multiple)
        with torch.no_grad():
            y = net(x, torch.full((n,), 0.1)) if sigma else net(x)
        assert np.abs(session(x.numpy(), 0.1) - y.numpy()).max() < 1e-4
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]


def test_an_export_that_differs_from_torch_is_refused(tmp_path, monkeypatch):
    real = onnxruntime.InferenceSession

    class Off:
        def __init__(self, *args, **kwargs):
            self.inner = real(*args, **kwargs)

        def run(self, names, feed):
            return [y + np.float32(1e-3) for y in self.inner.run(names, feed)]

    monkeypatch.setattr(onnxruntime, "InferenceSession", Off)
    net = nets.build("conv-dae", {"channels": 1, "width": 2})
    with pytest.raises(TrainingError, match="differs from torch"):
        export(net, ModelCard("m", channels=1, multiple=4), tmp_path / "m.onnx")
    assert not any(tmp_path.iterdir())


# --- A whole training, as far as it is refused before it begins -------------------------------------------


def train_on(folder, output, options, val=None, channels=None, **more):
    return fit.fit(Pictures(folder, options, val, channels), output, **more)


@pytest.mark.parametrize(
    ("changed", "more", "message"),
    [
        ({"loss": "bce"}, {}, "bce needs an output in .* use --arch conv-dae"),
        ({"arch": "spectra"}, {}, "unknown architecture .* dense, series$"),
        ({"loss": "spectral"}, {}, "for recordings"),
        ({"noise": "pink"}, {}, "pink"),
        ({"noise": "gaussian:snr=10"}, {}, "snr"),
        ({"patch": 18}, {}, "multiple of 4"),
        ({}, {"channels": 2}, "choose from 1, 3"),
        ({}, {"device": "tpu"}, "choose from auto"),
        ({}, {"device": "cpu:foo"}, 'unknown device "cpu:foo"; choose from auto'),
        ({}, {"device": "cuda:"}, 'unknown device "cuda:"; choose from auto'),
        ({}, {"val": Path("absent")}, "no such file or folder"),
        ({}, {"val": "all"}, "holds all pictures of .*, and none is left to train on"),
        ({}, {"resume": True, "overwrite": True}, "one of them"),
        (
            {"net": {**TINY, "noise_map": True}, "noise": "(gaussian+jpeg)|gaussian"},
            {},
            "told .* behind a plus sign",
        ),
        ({}, {"keep": 0.5}, "--keep is a share of the weights that --init gives"),
        ({"int8": True}, {"keep": 0.5, "init": Path("m.onnx")}, "--keep .* of a float net"),
        ({}, {"keep": 1.0, "init": Path("m.onnx")}, "at least 0 and below 1, not 1"),
        ({}, {"keep": math.nan, "init": Path("m.onnx")}, "at least 0 and below 1, not nan"),
        ({"net": {"widths": (8, 16)}}, {}, "cannot be built"),
        ({"net": {"depth": 3}}, {}, "unknown option of unet"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_any_work(folder, tmp_path, changed, more, message):
    more = more | ({"val": folder} if more.get("val") == "all" else {})
    with pytest.raises(UsageError, match=message):
        train_on(folder, tmp_path / "m.onnx", replace(OPTIONS, **changed), **more)
    assert not list(tmp_path.glob("m.*"))


@pytest.mark.parametrize(
    ("changed", "more"),
    [({"loss": "bce"}, {}), ({"patch": 18}, {}), ({}, {"describe": {"command": "two\nlines"}})],
)
def test_it_is_refused_before_a_picture_is_read(folder, tmp_path, monkeypatch, changed, more):
    monkeypatch.setattr(data, "load", lambda *arguments: pytest.fail("pictures were read"))
    with pytest.raises((UsageError, ModelError)):
        train_on(folder, tmp_path / "m.onnx", replace(OPTIONS, **changed), **more)


def test_to_overwrite_leaves_the_checkpoint_until_training_can_begin(folder, tmp_path):
    (tmp_path / "m.ckpt").write_bytes(b"hours of work")
    with pytest.raises(UsageError):
        train_on(tmp_path / "absent", tmp_path / "m.onnx", OPTIONS, overwrite=True)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "x.png").write_text("no picture")
    with pytest.raises(TrainingError):
        train_on(tmp_path / "bad", tmp_path / "m.onnx", OPTIONS, overwrite=True)
    assert (tmp_path / "m.ckpt").read_bytes() == b"hours of work"


def test_bce_is_for_a_bounded_net():
    assert nets.build("conv-dae", {"width": 2}).bounded
    assert not nets.build("unet", TINY).bounded


def test_a_level_of_a_net_may_be_a_number():
    assert nets.build("unet", {"widths": 8, "blocks": 1}).config == nets.NETS["unet"].Config(3, (8,), (1,))


def test_one_picture_in_ninety_is_held_out_and_never_trained_on(tmp_path):
    for n in range(4):
        write_png(tmp_path / f"{n}.png", scene(8, 8))
    training, validation = tasks.split(tmp_path, None, media.IMAGE_SUFFIXES, "pictures", [])
    assert (len(training), len(validation)) == (3, 1)
    assert not set(training) & set(validation)
    training, validation = tasks.split(tmp_path, tmp_path / "2.png", media.IMAGE_SUFFIXES, "pictures", [])
    assert (len(training), validation) == (3, [tmp_path / "2.png"])


def test_the_checkpoint_tells_what_it_is(tmp_path):
    from safetensors import safe_open

    checkpoint.save(begin(), OPTIONS, tmp_path / "m.ckpt")
    with safe_open(tmp_path / "m.ckpt", "pt") as file:
        about = json.loads(file.metadata()["denoise"])
    assert about["options"]["net"] == {k: list(v) for k, v in TINY.items()}
    assert about["step"] == 0


def test_a_folder_larger_than_the_memory_keeps_a_part_of_every_picture(tmp_path):
    paths = [write_png(tmp_path / f"{n}.png", scene(200, 300, seed=n)) for n in range(4)]
    whole = data.load(paths, 3, lambda path, reason: None)
    assert [p.shape for p in whole] == [(3, 200, 300)] * 4
    parts = data.load(paths, 3, lambda path, reason: None, least=16, budget=4 * 3 * 100 * 150)
    assert [p.shape for p in parts] == [(3, 100, 150)] * 4
    for part, picture in zip(parts, whole, strict=True):
        windows = np.lib.stride_tricks.sliding_window_view(picture[0], (100, 150))
        assert (windows[:, :, 0] == part[0, 0]).all(-1).any(), "a part of that very picture"
    again = data.load(paths, 3, lambda path, reason: None, least=16, budget=4 * 3 * 100 * 150)
    assert all(np.array_equal(a, b) for a, b in zip(parts, again, strict=True))
    tiny = data.load(paths, 3, lambda path, reason: None, least=64, budget=1)
    assert [p.shape for p in tiny] == [(3, 64, 64)] * 4


@pytest.mark.parametrize("wide", [True, False])
def test_muon_orthogonalises_matrices_of_any_shape(monkeypatch, wide):
    monkeypatch.setattr(muon, "_WIDE", wide)
    generator = torch.Generator().manual_seed(0)
    for rows, columns in ((8, 72), (72, 8), (16, 16)):
        x = torch.randn(3, rows, columns, generator=generator)
        y = muon.orthogonalised(x)
        assert y.shape == x.shape
        assert torch.linalg.matrix_norm(y, 2).max() < 1.3
        left, _, right = torch.linalg.svd(x, full_matrices=False)
        exact = left @ right
        cosine = (y * exact).sum((1, 2)) / (y.norm(dim=(1, 2)) * exact.norm(dim=(1, 2)))
        assert cosine.min() > 0.95, "the rotation of the gradient, without its scale"


def test_muon_moves_hidden_layers_by_their_spectral_norm_and_the_rest_as_adam_does():
    torch.manual_seed(0)
    net = nets.build("unet", TINY)
    twin = nets.build("unet", TINY)
    twin.load_state_dict(net.state_dict())
    ours = muon.Muon(net, lr=0.01, decay=0, adam=0.2)
    adam = torch.optim.Adam(twin.parameters(), lr=0.002)
    for step in range(3):
        for p, q in zip(net.parameters(), twin.parameters(), strict=True):
            p.grad = torch.randn(p.shape, generator=torch.Generator().manual_seed(step)) * 1e-3
            q.grad = p.grad.clone()
        before = {name: p.detach().clone() for name, p in net.named_parameters()}
        ours.step()
        adam.step()
    for (name, p), q in zip(net.named_parameters(), twin.parameters(), strict=True):
        if p.ndim < 4 or name in ("stem.weight", "head.weight"):
            assert torch.allclose(p, q, atol=1e-6), name
        else:
            rows, columns = p.flatten(1).shape
            moved = torch.linalg.matrix_norm((p - before[name]).flatten(1), 2) / 0.01
            assert 0.6 < moved / max(1, rows / columns) ** 0.5 < 1.3, name


def test_the_signal_is_read_and_written_in_every_net_of_an_average_by_layers_that_adam_trains():
    part = {"arch": "dncnn", "net": {"width": 4, "depth": 4, "channels": 3}}
    net = nets.build("average", {"of": [part, part], "channels": 3})
    kernels = [p for p in net.parameters() if p.ndim >= 2]
    inner = muon.hidden(net)
    assert [any(p is q for q in inner) for p in kernels] == 2 * [False, True, True, False]


def test_a_fresh_unet_keeps_the_scale_of_its_signal_down_to_the_lowest_level():
    torch.manual_seed(0)
    net = nets.build("unet", {})
    x = corrupt.parse("gaussian:std=25")(
        torch.from_numpy(scene(64, 64))[None] - 0.5, torch.Generator().manual_seed(0)
    )
    seen = {}
    for name, module in net.named_modules():
        module.register_forward_hook(lambda m, given, result, name=name: seen.update({name: result.detach()}))
    net(x)
    assert 0.2 < float(seen["middle"].std() / x.std()) < 5


def test_a_training_starts_from_a_checkpoint_and_a_foreign_one_is_refused(tmp_path):
    torch.manual_seed(0)
    options = loop.Options(net={"widths": (8, 16), "blocks": (1, 1)}, steps=1)
    state = loop.start(nets.build("unet", options.net), options, torch.device("cpu"))
    checkpoint.save(state, options, tmp_path / "x.ckpt")
    other = nets.build("unet", options.net)
    assert not torch.equal(other.head.weight, state.average["head.weight"])
    checkpoint.initialise(other, tmp_path / "x.ckpt")
    assert all(torch.equal(v, state.average[k]) for k, v in other.state_dict().items())
    with pytest.raises(ModelError, match="not a checkpoint of this net"):
        checkpoint.initialise(nets.build("unet", {"widths": (4, 8), "blocks": (1, 1)}), tmp_path / "x.ckpt")
    with pytest.raises(ModelError, match="not a checkpoint of this net"):
        checkpoint.initialise(nets.build("dncnn", {}), tmp_path / "x.ckpt")


def weights(path: Path) -> dict[str, torch.Tensor]:
    net = nets.build("unet", checkpoint.described(path)["net"])
    checkpoint.initialise(net, path)
    return net.state_dict()


def test_what_a_training_began_with_stays_in_part_and_what_was_learnt_is_not_lost(folder, tmp_path):
    start, options = tmp_path / "start.onnx", replace(OPTIONS, lr=0.1)
    train_on(folder, start, replace(options, seed=8))
    kept = train_on(folder, tmp_path / "kept.onnx", options, init=start, keep=0.25).card
    train_on(folder, tmp_path / "plain.onnx", options, init=start)
    before, after, mixed = (weights(tmp_path / f"{name}.onnx") for name in ("start", "plain", "kept"))
    assert max(float((before[key] - after[key]).abs().max()) for key in before) > 1e-3
    for key, value in mixed.items():
        torch.testing.assert_close(value, 0.25 * before[key] + 0.75 * after[key])
    assert kept.training["keep"] == 0.25
    learnt = weights(tmp_path / "kept.ckpt")
    assert all(torch.equal(learnt[key], after[key]) for key in after), "the checkpoint holds what was learnt alone"

    # Another share of a training that has ended is written without a step.
    again = train_on(folder, tmp_path / "kept.onnx", options, init=start, keep=0.0, resume=True)
    assert again.steps == options.steps
    assert "keep" not in again.card.training
    assert all(torch.equal(value, after[key]) for key, value in weights(tmp_path / "kept.onnx").items())


@pytest.mark.parametrize(
    ("arch", "net", "kind"),
    [
        ("unet", {"widths": (8, 16), "blocks": (1, 2), "channels": 3}, "image"),
        ("latent-dae", {}, "image"),
        ("dense-dae", {"widths": (8, 6), "latent": 4}, "image"),
        ("dense", {"features": 4}, "table"),
        ("band-mixer", {"stem": 4, "channels": 4, "mixed": 4, "dilations": (1, 2)}, "audio"),
    ],
)
def test_a_training_starts_from_the_weights_in_a_model(tmp_path, arch, net, kind):
    torch.manual_seed(0)
    trained = nets.build(arch, net)
    with torch.no_grad():
        for value in trained.parameters():
            value += 0.05 * torch.randn_like(value)
    channels = {"latent-dae": 1, "dense-dae": 1, "dense": 4, "band-mixer": 1}.get(arch, 3)
    card = ModelCard(
        "m", kind, channels, 16_000 if kind == "audio" else None, trained.multiple if kind != "table" else 1,
        latent=getattr(trained, "latent", 0), arch=arch, net=nets.config_of(trained), noise="gaussian",
        training={"loss": "mse"},
    )  # fmt: skip
    export(trained, card, tmp_path / "m.onnx")
    other = nets.build(arch, net)
    checkpoint.initialise(other, tmp_path / "m.onnx")
    assert all(torch.equal(v, trained.state_dict()[k]) for k, v in other.state_dict().items())
    about = checkpoint.described(tmp_path / "m.onnx")
    assert (about["arch"], about["noise"], about["loss"]) == (arch, "" if kind == "audio" else "gaussian", "mse")
    assert nets.build(arch, about["net"]).state_dict().keys() == trained.state_dict().keys()


def test_the_weights_of_another_model_or_of_bytes_are_refused(tmp_path):
    small, large = (nets.build("unet", {"widths": (8, 16), "blocks": (1, n), "channels": 1}) for n in (1, 2))
    card = ModelCard("m", channels=1, multiple=4, training={"loss": "l1"}, arch="unet")
    export(large, card, tmp_path / "m.onnx")
    for other in (small, nets.build("dncnn", {})):
        with pytest.raises(ModelError, match=r"m\.onnx: not a checkpoint of this net"):
            checkpoint.initialise(other, tmp_path / "m.onnx")
    whole = (tmp_path / "m.onnx").read_bytes()
    for said, fault in (
        ({"widths": [4000, 4000], "blocks": [1, 2]}, "larger than its weights"),
        ({"blocks": [10**9, 1]}, "its net is"),
        ({"widths": [8] * 200}, "its net is"),
        ({"bogus": 1}, "unknown option"),
    ):
        lying = with_card(ModelFile.parse(whole, tmp_path), dataclasses.replace(card, net=said))
        (tmp_path / "lies.onnx").write_bytes(lying)
        with pytest.raises(ModelError, match=rf"lies\.onnx: not a checkpoint of a net \(.*{fault}"):
            checkpoint.described(tmp_path / "lies.onnx")
    damaged = ModelFile(tmp_path / "x.onnx", b"\x3a\x05\x0a\xff\xff\xff\xff", card)
    with pytest.raises(ValueError, match="not an ONNX file"):
        checkpoint._exported(damaged, set())
    export(large, dataclasses.replace(card, training={}), tmp_path / "bare.onnx")
    with pytest.raises(ModelError, match="not a checkpoint of a net"):
        checkpoint.described(tmp_path / "bare.onnx")
    file = ModelFile.read(tmp_path / "m.onnx")
    (tmp_path / "int8.onnx").write_bytes(with_card(file, dataclasses.replace(file.card, precision="int8")))
    with pytest.raises(ModelError, match="its weights are int8"):
        checkpoint.initialise(large, tmp_path / "int8.onnx")


def test_a_checkpoint_that_lacks_a_layer_is_no_smaller_net():
    net = nets.build("unet", TINY)
    whole = {name: value.clone() for name, value in net.state_dict().items()}
    for kept in ({}, {name: value for name, value in whole.items() if not name.startswith("head.")}):
        with pytest.raises(ValueError, match="is missing"):
            grow(nets.build("unet", TINY), kept)


def test_a_gray_net_begins_where_the_colour_one_ended_on_three_equal_channels():
    torch.manual_seed(0)
    colour, gray = (nets.build("unet", {**TINY, "channels": channels}) for channels in (3, 1))
    for layer in (colour.stem, colour.head):
        torch.nn.init.normal_(layer.bias, std=0.1)
    grow(gray, colour.state_dict())
    x = torch.rand(1, 1, 32, 32)
    with torch.no_grad():
        both = colour(x.expand(1, 3, 32, 32)).mean(1, keepdim=True), gray(x)
    assert torch.allclose(*both, atol=1e-6)
    assert (both[1] - x).abs().max() > 0.01, "it does something"
    with pytest.raises(ValueError, match=r"stem\.weight is \(3,\)"):
        grow(nets.build("unet", {**TINY, "channels": 1}), {**colour.state_dict(), "stem.weight": torch.zeros(3)})


@pytest.mark.parametrize(
    ("arch", "small", "large"),
    [
        ("unet", {"widths": (8, 16), "blocks": (1, 1)}, {"widths": (12, 24), "blocks": (2, 3)}),
        ("unet", {"widths": (8, 16), "blocks": (1, 1)}, {"widths": (8, 16), "blocks": (1, 1), "noise_map": True}),
        ("dncnn", {"width": 8, "depth": 4}, {"width": 12, "depth": 4}),
    ],
)
def test_a_net_that_has_grown_begins_where_the_smaller_one_ended(tmp_path, arch, small, large):
    torch.manual_seed(0)
    options = loop.Options(arch=arch, net=small, steps=1)
    state = loop.start(nets.build(arch, small), options, torch.device("cpu"))
    for value in state.average.values():
        value += 0.05 * torch.randn_like(value)
    checkpoint.save(state, options, tmp_path / "x.ckpt")
    grown = nets.build(arch, large)
    checkpoint.initialise(grown, tmp_path / "x.ckpt")
    x = torch.rand(1, 3, 32, 32)
    told = [torch.rand(1)] if large.get("noise_map") else []
    with torch.no_grad():
        assert torch.allclose(grown(x, *told), loop.averaged(state)(x), atol=1e-5)
    loss = (grown(x, *told) - 0.5).square().mean()
    loss.backward()
    assert all(p.grad is not None for p in grown.parameters())
    assert sum(p.numel() for p in grown.parameters()) > sum(p.numel() for p in state.net.parameters())


@pytest.mark.parametrize(
    ("arch", "config", "radius"),
    [
        ("dncnn", {"depth": 3, "width": 4}, 3),
        ("dncnn", {"depth": 7, "width": 4}, 7),
        # Two poolings by two: 1 + 2 * 1 + 4 * 1 and 2 * 1 + 1 on the way up, then the grid of four.
        ("conv-dae", {"width": 4}, 12),
        ("unet", {"widths": (8, 16), "blocks": (1, 1)}, 24),
        ("unet", {"widths": (8, 16), "blocks": (1, 1), "noise_map": True}, 24),
    ],
)
def test_the_halo_is_how_far_a_pixel_can_reach(arch, config, radius):
    net = nets.build(arch, {"channels": 1, **config})
    card = ModelCard("m", channels=1, multiple=net.multiple, noise_input=bool(config.get("noise_map")))
    assert receptive_radius(net, card) == radius


def test_a_net_that_reaches_too_far_is_refused():
    net = nets.build("dncnn", {"channels": 1, "depth": 40, "width": 4})
    with pytest.raises(TrainingError, match="32 pixels or further"):
        receptive_radius(net, ModelCard("m", channels=1), side=64)
