"""Recipes: data that name only what the command knows, and that the command line overrules."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from conftest import scene, write_png

from denoise_cli import corrupt, nets, recipes
from denoise_cli.cli import app, main
from denoise_cli.cli.plan import duration
from denoise_cli.corrupt import Span
from denoise_cli.errors import InputError, UsageError
from denoise_cli.model_file import ModelFile
from denoise_cli.signal import Header
from denoise_cli.train import loop

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    """Eight made-up pictures of 8 x 8, and four to test on."""
    x = (np.stack([scene(8, 8, 1, seed=n)[0] for n in range(12)]) * 255).round().astype(np.uint8)
    np.savez(tmp_path / "digits.npz", x_train=x[:8], x_test=x[8:])
    return tmp_path / "digits.npz"


SMALL = ["--net", "side=8", "--net", "widths=4", "--net", "latent=3", "--threads", "1", "-q"]


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_a_recipe_names_options_of_train_and_values_that_it_takes(name):
    known = {option.name for option in typer.main.get_command(app).commands["train"].params}
    stages = recipes.stages(name)
    assert len({frozenset(stage) for stage in stages}) == 1, "every stage names the same options"
    for stage in stages:
        assert stage.keys() <= known
        assert "output" not in stage
        assert stage.get("kind") == stages[-1].get("kind"), "which is read once"
        options = {
            key: value
            for key, value in stage.items()
            if key not in ("kind", "noise", "max_time", "channels", "precision", "keep")
        }
        assert 0 <= stage.get("keep", 0) < 1
        noise = "+".join(stage.get("noise", []))
        if parts := recipes.find(name).average_of:  # trainings of their own
            assert stage == {"kind": recipes.stages(parts[0])[-1]["kind"]}
            assert len({recipes.stages(part)[-1].get("kind") for part in parts}) == 1
            continue
        time = duration(stage["max_time"]) if "max_time" in stage else None
        loop.Options(**options, noise=noise, max_time=time)
        if name == "int8":  # goes on from a model, whose net and noise it keeps
            assert stage["precision"] == "int8"
            continue
        if first := recipes.find(name).begins_with:  # whose net it keeps
            assert "arch" not in stage
            assert recipes.stages(first)[-1].get("kind") == stage.get("kind")
            continue
        nets.build(stage["arch"], {})
        assert str(corrupt.parse(noise)) if noise else stage["kind"] == "audio"


def test_the_recipe_of_the_text_is_what_the_text_says():
    (options,) = recipes.stages("mnist-latent16")
    assert (options["loss"], options["optimiser"], options["batch_size"], options["epochs"]) == (
        "mse",
        "adam",
        32,
        10,
    )
    gaussian, clip = corrupt.parse(options["noise"]).parts
    assert (gaussian.mean, gaussian.std) == (Span(127.5, 127.5), Span(127.5, 127.5))
    x = np.full((1, 300, 300), 0.25, np.float32)
    noise = gaussian(x, np.random.default_rng(0)) - x
    assert abs(noise.mean() - 0.5) < 0.01
    assert abs(noise.std() - 0.5) < 0.01
    assert (clip(x + noise).min(), clip(x + noise).max()) == (0, 1)


def test_an_unknown_recipe_is_refused_with_the_choices(capsys):
    listed = r"choose from mnist-latent16, .*speech, speech-mean, speech-deep, speech-fast, help"
    with pytest.raises(UsageError, match=listed):
        recipes.find("minst")
    assert run("train", "x", "-o", "m.onnx", "--recipe", "minst") == 2
    assert 'unknown recipe "minst"' in capsys.readouterr().err


def test_help_lists_them_all(capsys):
    assert run("train", "--recipe", "help") == 0
    listed = capsys.readouterr().out
    assert all(f"\n{name}\t" in listed for name in recipes.RECIPES)


def test_a_recipe_fills_in_what_the_command_line_leaves_out(digits, tmp_path, capsys):
    out = tmp_path / "m.onnx"
    assert run("train", digits, "-o", out, "--recipe", "mnist-latent16", *SMALL, "-b", "4", "--seed", "3") == 0
    card = ModelFile.read(out).card
    assert (card.arch, card.training["recipe"], card.training["loss"]) == ("latent-dae", "mnist-latent16", "mse")
    assert (card.training["batch_size"], card.training["seed"], card.training["lr"]) == (4, 3, 1e-3)
    # Seven of eight pictures are trained on, ten times, four at once: 17.5, rounded up.
    assert (card.training["files"], card.training["steps"], card.training["epochs"]) == (7, 18, 10)
    assert (card.latent, card.latent_stride, card.multiple, card.channels) == (3, 8, 8, 1)
    assert str(corrupt.parse(card.noise)) == "gaussian:std=127.5,mean=127.5+quantise"

    assert run("train", digits, "-o", out, "--recipe", "mnist-latent16", *SMALL, "--steps", 2, "--overwrite",
               "--noise", "gaussian:std=5", "--optimiser", "sgd") == 0  # fmt: skip
    card = ModelFile.read(out).card
    assert (card.training["steps"], card.training["optimiser"], card.noise) == (2, "sgd", "gaussian:std=5")
    assert (card.training["batch_size"], card.training["augment"]) == (32, False)
    assert "epochs" not in card.training


def test_a_recipe_of_two_stages_starts_the_second_where_the_first_ended(tmp_path, monkeypatch, capsys):
    for n in range(4):
        write_png(tmp_path / "clean" / f"{n}.png", scene(20, 20, 1, seed=n))
    options = {"arch": "dncnn", "optimiser": "sgd", "patch": 8, "augment": False, "noise": ["gaussian:std=25"]}
    two = recipes.Recipe("two", options, ({"steps": 3, "lr": 1e-2}, {"steps": 2, "lr": 1e-12}))
    monkeypatch.setitem(recipes.RECIPES, "two", two)
    tiny = ["--net", "width=4", "--net", "depth=3", "--threads", "1", "-b", "2", "-q"]
    out = tmp_path / "m.onnx"
    assert run("train", tmp_path / "clean", "-o", out, "--recipe", "two", *tiny) == 0
    first, last = ModelFile.read(tmp_path / "m.1.onnx").card, ModelFile.read(out).card
    assert (first.training["recipe"], last.training["recipe"]) == ("two, stage 1", "two")
    assert (first.training["steps"], last.training["steps"]) == (3, 2)
    from safetensors.torch import load_file

    before, after = load_file(tmp_path / "m.1.ckpt"), load_file(tmp_path / "m.ckpt")
    names = [name for name in before if name.startswith("average.")]
    assert names
    for name in names:  # the second stage learns next to nothing
        torch.testing.assert_close(before[name], after[name], rtol=0, atol=1e-6)

    # One that keeps of what it began with is gone on from as it was written, not as it was learnt.
    brief = [{"steps": 3, "lr": rate, "keep": keep} for rate, keep in ((1e-2, 0.0), (1e-2, 0.5), (1e-12, 0.0))]
    halves = recipes.Recipe("halves", options, tuple(brief))
    monkeypatch.setitem(recipes.RECIPES, "halves", halves)
    third = tmp_path / "third.onnx"
    assert run("train", tmp_path / "clean", "-o", third, "--recipe", "halves", *tiny) == 0
    one, two = (load_file(tmp_path / f"third.{n}.ckpt") for n in (1, 2))
    last = load_file(tmp_path / "third.ckpt")
    assert any(not torch.equal(one[name], two[name]) for name in names)
    for name in names:
        torch.testing.assert_close(last[name], (one[name] + two[name]) / 2, rtol=0, atol=1e-6)

    # What stands in the way of any stage is told before the first.
    (tmp_path / "other.1.curve.png").write_bytes(b"mine")
    capsys.readouterr()
    assert run("train", tmp_path / "clean", "-o", tmp_path / "other.onnx", "--recipe", "two", *tiny) == 2
    assert "other.1.curve.png exists already" in capsys.readouterr().err
    assert not (tmp_path / "other.1.ckpt").exists()

    # What is there is not done again.
    stamp = (tmp_path / "m.1.onnx").stat().st_mtime_ns
    out.unlink()
    assert run("train", tmp_path / "clean", "-o", out, "--recipe", "two", *tiny, "--resume") == 0
    assert (tmp_path / "m.1.onnx").stat().st_mtime_ns == stamp


# --- Epochs and stacks ------------------------------------------------------------------------------------


def test_epochs_become_steps_and_the_smaller_number_counts():
    options = loop.Options(epochs=2.5, batch_size=8)
    assert options.counted(100).steps == 32  # 250 / 8, rounded up
    assert loop.Options(epochs=10, steps=7).counted(100).steps == 7
    assert loop.Options(steps=7).counted(100).steps == 7
    with pytest.raises(UsageError, match="--epochs must be above 0"):
        loop.Options(epochs=0)
    with pytest.raises(UsageError, match="--epochs must be finite, not inf"):
        loop.Options(epochs=float("inf"))


def test_every_picture_comes_once_an_epoch_and_the_order_hangs_on_the_seed():
    from denoise_cli.train.stacks import Whole

    pixels = np.arange(10, dtype=np.uint8).reshape(10, 1, 1, 1) * np.ones((1, 1, 4, 6), np.uint8)

    def order(seed: int, steps: range) -> list[int]:
        stream = Whole(pixels, loop.Options(steps=1, batch_size=4, seed=seed, augment=False))
        return [round(float(x.max()) * 255) for step in steps for x in stream.batch(step).clean]

    seen = order(0, range(5))
    assert sorted(seen[:10]) == sorted(seen[10:]) == list(range(10))
    assert seen[:10] != seen[10:]
    assert order(0, range(3, 5)) == seen[12:], "a batch is a function of its step: a resumed run sees the same"
    assert order(1, range(5)) != seen


def test_turns_keep_a_picture_and_its_size():
    from denoise_cli.train.stacks import _turned

    square, oblong = np.arange(16.0).reshape(1, 4, 4), np.arange(24.0).reshape(1, 4, 6)
    assert len({_turned(square, n).tobytes() for n in range(8)}) == 8
    assert len({_turned(oblong, n).tobytes() for n in range(8)}) == 4
    assert all(_turned(oblong, n).shape == oblong.shape for n in range(8))


def test_colour_is_shown_as_gray_to_a_share_and_gray_stays_gray():
    from denoise_cli.train.stacks import Whole

    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (40, 3, 4, 4), dtype=np.uint8)
    pixels[:5] = pixels[:5, :1]
    batch = Whole(pixels, loop.Options(steps=1, batch_size=40, gray=0.5, augment=False)).batch(0)
    equal = (np.ptp(batch.clean, axis=1) == 0).all((1, 2))
    assert np.array_equal(equal, batch.gray.ravel())
    assert 10 < equal.sum() < 35


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--net", "side=12"], "multiples of 12; these pictures are 8x8"),
        (["--val", "pictures"], "an array file is validated on another"),
        (["--channels", "2"], "1 or 3, not 2"),
        (["--batch-size", "0"], "--batch-size must be above 0, not 0"),
        (["--patch", "0"], "--patch must be above 0, not 0"),
        (["--noise", "hum"], "hum is for recordings"),
    ],
)
def test_what_does_not_fit_a_stack_is_refused_in_a_line(digits, tmp_path, capsys, arguments, reason):
    arguments = [*SMALL, *arguments]
    assert run("train", digits, "-o", tmp_path / "m.onnx", "--recipe", "mnist-latent16", *arguments) == 2
    err = capsys.readouterr().err
    assert reason in err
    assert err.count("\n") == 1
    assert not (tmp_path / "m.onnx").exists()


def test_a_stack_is_validated_on_another(digits, tmp_path, capsys):
    arguments = ["--recipe", "mnist-latent16", *SMALL[:-1], "--steps", 1, "--val", f"{digits}:x_test"]
    assert run("train", digits, "-o", tmp_path / "m.onnx", *arguments) == 0
    assert "8 pictures to train on, 4 to validate" in capsys.readouterr().err


@pytest.mark.parametrize(("kind", "why"), [("table", "standard deviations"), ("series", ""), ("audio", "is 1")])
def test_a_share_of_full_scale_is_refused_where_full_scale_is_not_255(kind, why):
    header = Header(kind, 1, 8)
    for spec in ("gaussian:std=0.5fs", "gaussian:std=0.1,mean=0-0.5fs", "uniform:width=0fs"):
        with pytest.raises(InputError, match=f"in fs is for pictures, and this is .*{why}"):
            corrupt.parse(spec).check(header)
    corrupt.parse("gaussian:std=0.5").check(header)


def test_full_scale_is_a_unit_of_what_is_counted_in_8_bit_steps():
    assert corrupt.parse("gaussian:std=0.5fs") == corrupt.parse("gaussian:std=127.5")
    assert corrupt.parse("uniform:width=0.1-0.2fs") == corrupt.parse("uniform:width=25.5-51")
    assert str(corrupt.parse("gaussian:std=0-1fs,mean=0.5fs")) == "gaussian:std=0-255,mean=127.5"
    with pytest.raises(UsageError, match=r'amount is no strength in 8-bit steps, so "0\.5fs" means nothing'):
        corrupt.parse("masking:amount=0.5fs")
