"""Several models as one: it gives their mean, is a model like any other, and is made of models that fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import soundfile
import torch
from conftest import scene, write_png

from denoise_cli import nets, recipes
from denoise_cli.card import ModelCard
from denoise_cli.cli import main
from denoise_cli.cli import recipes as beginnings
from denoise_cli.errors import InputError, ModelError, RefusedError, UsageError
from denoise_cli.model_file import ModelFile
from denoise_cli.session import Session
from denoise_cli.train import checkpoint, rounding
from denoise_cli.train.average import average, average_weights
from denoise_cli.train.export import export
from denoise_cli.train.quantise import write_form

pytestmark = pytest.mark.usefixtures("one_thread")

DNCNN = {"width": 4, "depth": 3}
UNET = {"widths": (4, 8), "blocks": (1, 1)}
VOICE = {"window": 64, "stem": 4, "channels": 8, "mixed": 4, "dilations": (1, 2)}
CARDS = {
    "image": ModelCard("m", noise="gaussian:std=0-55", licence="CC0-1.0", data="drawings",
                       training={"loss": "mse", "steps": 3, "seconds": 5}),
    "audio": ModelCard("m", kind="audio", channels=1, rate=8000, noise="hum", level=-22.0, licence="CC0-1.0",
                       training={"loss": "spectral", "steps": 4, "seconds": 6}),
}  # fmt: skip


def trained(path: Path, arch: str, net: dict, seed: int, **changed) -> Path:
    """A model whose weights are all drawn at random: none says "nothing to do"."""
    torch.manual_seed(seed)
    module = nets.build(arch, net)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    card = replace(CARDS["audio" if arch == "band-mixer" else "image"], arch=arch, **changed)
    export(module, replace(card, net=nets.config_of(module), multiple=getattr(module, "multiple", 1)), path)
    return path


def answer(path: Path, x: np.ndarray) -> np.ndarray:
    return Session(path, "cpu")(x)


def test_pictures_come_out_as_the_mean_of_what_nets_of_two_kinds_give(tmp_path):
    paths = [trained(tmp_path / "a.onnx", "dncnn", DNCNN, 1), trained(tmp_path / "b.onnx", "unet", UNET, 2)]
    card = average(paths, tmp_path / "c.onnx", name="c")
    x = scene(32, 48)[None]
    each = [answer(path, x) for path in paths]
    assert np.abs(each[0] - each[1]).max() > 0.01
    np.testing.assert_allclose(answer(tmp_path / "c.onnx", x), np.mean(each, axis=0), atol=1e-6)
    cards = [ModelFile.read(path).card for path in paths]
    assert card.to_json() == ModelFile.read(tmp_path / "c.onnx").card.to_json()
    assert card.halo == max(one.halo for one in cards) > min(one.halo for one in cards)
    assert card.multiple == max(one.multiple for one in cards) == 4
    assert (card.arch, card.name, card.noise, card.licence) == ("average", "c", "gaussian:std=0-55", "CC0-1.0")
    assert (card.training["steps"], card.training["seconds"], card.training["loss"]) == (6, 10, "mse")
    assert [one["name"] for one in card.training["average_of"]] == ["m", "m"]


def test_recordings_come_out_as_the_mean_and_their_spectrum_is_computed_once(tmp_path):
    deeper = {**VOICE, "dilations": (1, 2, 4)}
    paths = [
        trained(tmp_path / "a.onnx", "band-mixer", VOICE, 1),
        trained(tmp_path / "b.onnx", "band-mixer", deeper, 2),
    ]
    card = average(paths, tmp_path / "c.onnx", name="c")
    x = np.random.default_rng(0).normal(0, 0.1, (1, 2, 64 * 32)).astype(np.float32)
    each = [answer(path, x) for path in paths]
    assert np.abs(each[0] - each[1]).max() > 1e-3
    np.testing.assert_allclose(answer(tmp_path / "c.onnx", x), np.mean(each, axis=0), atol=1e-6)
    assert card.halo == ModelFile.read(paths[1]).card.halo > ModelFile.read(paths[0]).card.halo
    tables = [tensor.name for tensor in onnx.load(tmp_path / "c.onnx").graph.initializer if "basis" in tensor.name]
    assert len(tables) == 2, "one there, one back"


def nudged(path: Path, source: Path, seed: int) -> Path:
    """A net near another one, as a training leaves it that went on from there."""
    known = checkpoint.described(source)
    module = nets.build(known["arch"], known["net"])
    checkpoint.initialise(module, source)
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    export(module, replace(ModelFile.read(source).card, data=f"drawings {seed}"), path)
    return path


def parameters(path: Path) -> torch.Tensor:
    known = checkpoint.described(path)
    module = nets.build(known["arch"], known["net"])
    checkpoint.initialise(module, path)
    return torch.nn.utils.parameters_to_vector(module.parameters()).detach()


@pytest.mark.parametrize(("arch", "net"), [("unet", UNET), ("band-mixer", VOICE), ("average", None)])
def test_the_mean_of_weights_is_one_net_as_large_as_each(tmp_path, arch, net):
    start = tmp_path / "start.onnx"
    if net is None:
        average([trained(tmp_path / f"{n}.onnx", "dncnn", DNCNN, n) for n in (1, 2)], start, name="start")
    else:
        trained(start, arch, net, 1)
    paths = [nudged(tmp_path / f"near-{seed}.onnx", start, seed) for seed in (3, 4, 5)]
    card = average_weights(paths, tmp_path / "mean.onnx", name="mean", command="denoise average")
    mean = parameters(tmp_path / "mean.onnx")
    torch.testing.assert_close(mean, torch.stack([parameters(path) for path in paths]).mean(0))
    assert not torch.equal(mean, parameters(paths[0]))
    assert (card.name, card.arch, card.command) == ("mean", arch, "denoise average")
    assert card.net == ModelFile.read(start).card.net
    assert card.halo == ModelFile.read(paths[0]).card.halo
    assert card.data == "drawings 3; drawings 4; drawings 5"
    assert [one["name"] for one in card.training["weights_of"]] == ["start" if net is None else "m"] * 3
    assert card.training["steps"] == 3 * ModelFile.read(start).card.training["steps"]


def test_weights_that_have_nothing_in_common_are_not_averaged(tmp_path):
    one = trained(tmp_path / "a.onnx", "unet", UNET, 1)
    other = trained(tmp_path / "b.onnx", "unet", UNET, 2)
    wider = trained(tmp_path / "c.onnx", "unet", {**UNET, "widths": (8, 8)}, 1)
    with pytest.raises(
        ModelError, match=r"b.onnx and .*a.onnx were not trained on from one model: .* is -?0.[0-4]\d;"
    ):
        average_weights([one, other], tmp_path / "d.onnx", name="d")
    with pytest.raises(ModelError, match=r"c.onnx: net is .*'widths': \[8, 8\].*, and that of .*a.onnx is"):
        average_weights([one, wider], tmp_path / "d.onnx", name="d")
    with pytest.raises(ModelError, match="two of the models are the same"):
        average_weights([one, one], tmp_path / "d.onnx", name="d")
    assert not (tmp_path / "d.onnx").exists()


def test_an_average_of_many_nets_and_what_a_card_says_of_its_steps(tmp_path):
    deep = {**VOICE, "dilations": (1,) * 20}
    lies = [{"steps": 10**400, "name": "x"}, {"steps": float("inf"), "seconds": "long"}, {"steps": 7}]
    paths = [
        trained(tmp_path / f"{n}.onnx", "band-mixer", deep, n, training={"loss": "spectral", **lies[n % 3]})
        for n in range(6)
    ]
    card = average(paths, tmp_path / "c.onnx", name="c")
    assert (card.training["steps"], card.training["seconds"]) == (14, 0)
    assert {one["name"] for one in card.training["average_of"]} == {"m"}
    assert len(checkpoint.described(tmp_path / "c.onnx")["net"]["of"]) == 6


def test_what_differs_on_the_cards_is_kept_side_by_side(tmp_path):
    one = trained(tmp_path / "a.onnx", "dncnn", DNCNN, 1)
    other = trained(tmp_path / "b.onnx", "dncnn", DNCNN, 2, noise="camera", licence="MIT", data="birds")
    card = average([one, other], tmp_path / "c.onnx", name="c")
    assert (card.licence, card.data) == ("CC0-1.0 AND MIT", "drawings; birds")
    assert card.noise == "gaussian:std=0-55", "a training goes on with that of the first"
    assert [one["noise"] for one in card.training["average_of"]] == ["gaussian:std=0-55", "camera"]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"rate": 16_000}, "rate is 16000, and that of .*a.onnx is 8000"),
        ({"level": None}, "level is None, and that of .*a.onnx is -22.0"),
        ({"training": {}}, "'loss'"),
    ],
)
def test_models_that_do_not_fit_are_refused(tmp_path, changed, reason):
    one = trained(tmp_path / "a.onnx", "band-mixer", VOICE, 1)
    other = trained(tmp_path / "b.onnx", "band-mixer", VOICE, 2, **changed)
    with pytest.raises(ModelError, match=reason):
        average([one, other], tmp_path / "c.onnx", name="c")
    assert not (tmp_path / "c.onnx").exists()


def test_models_that_hide_holes_behind_different_values_are_refused(tmp_path):
    paths = [
        trained(tmp_path / f"{seed}.onnx", "dncnn", DNCNN, seed, noise=f"gaussian+masking:amount=0.3,value={value}")
        for seed, value in enumerate((0, 1, 0))
    ]
    assert average([paths[0], paths[2]], tmp_path / "m.onnx", name="m").noise.endswith("value=0")
    with pytest.raises(ModelError, match="fills holes of value 0, which another of the models has not seen"):
        average(paths[:2], tmp_path / "n.onnx", name="n")


def test_averages_told_models_and_other_precisions_are_refused(tmp_path, sigma_model):
    one = trained(tmp_path / "a.onnx", "dncnn", DNCNN, 1)
    other = trained(tmp_path / "b.onnx", "dncnn", DNCNN, 2)
    average([one, other], tmp_path / "mean.onnx", name="mean")
    with pytest.raises(ModelError, match=r"mean.onnx is an average itself"):
        average([one, tmp_path / "mean.onnx"], tmp_path / "c.onnx", name="c")
    with pytest.raises(ModelError, match="two of the models are the same"):
        average([one, other, one], tmp_path / "c.onnx", name="c")
    with pytest.raises(ModelError, match="told the noise level"):
        average([sigma_model, one], tmp_path / "c.onnx", name="c")
    write_form(onnx.load(one), ModelFile.read(one), "fp16", tmp_path / "a.fp16.onnx", "")
    with pytest.raises(ModelError, match="its weights are fp16"):
        average([other, tmp_path / "a.fp16.onnx"], tmp_path / "c.onnx", name="c")
    with pytest.raises(UsageError, match=r"average cannot be built .*: nets for audio and for image"):
        nets.build("average", {"of": [{"arch": "dncnn", "net": DNCNN}, {"arch": "band-mixer", "net": VOICE}]})
    with pytest.raises(UsageError, match="2 to 16 nets, see denoise average; not of 0"):
        nets.build("average", {})
    with pytest.raises(UsageError, match="--precision int8 is for nets for pictures: unet and dncnn"):
        rounding.rounded(nets.build("average", {"of": [{"arch": "dncnn", "net": DNCNN}] * 2}))


@pytest.mark.parametrize(
    "net",
    [
        {"of": [{"arch": "dncnn", "net": {"width": 10**9}}] * 2},
        {"of": [{"arch": "dncnn", "net": DNCNN}] * 100},
        {"of": [{"arch": "average", "net": {"of": [{"arch": "dncnn", "net": DNCNN}] * 2}}] * 2},
        {"of": [{"arch": "dncnn"}] * 2},
        {"of": [{"arch": 3, "net": {}}] * 2},
        {"of": [{"arch": "dncnn", "net": [4]}] * 2},
        {"of": 7},
        {"of": [7, 8]},
        {"of": {"arch": "dncnn", "net": DNCNN}},
    ],
)
def test_what_a_hostile_card_says_of_its_nets_is_not_built(tmp_path, net):
    path = trained(tmp_path / "a.onnx", "dncnn", DNCNN, 1)
    file = ModelFile.read(path)
    write_form(onnx.load(path), replace(file, card=replace(file.card, arch="average", net=net)), "float", path, "")
    with pytest.raises(ModelError, match=r"a.onnx: not a checkpoint of a net"):
        checkpoint.described(path)


# --- On the command line ----------------------------------------------------------------------------------


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def test_an_average_is_written_run_and_trained_on(tmp_path, capsys):
    for n in range(4):
        write_png(tmp_path / "clean" / f"{n}.png", scene(40, 40, seed=n))
    a, b = (trained(tmp_path / f"{name}.onnx", "dncnn", DNCNN, seed) for name, seed in (("a", 1), ("b", 2)))
    out = tmp_path / "mean.onnx"
    assert run("average", a, b, "-o", out) == 0
    assert "mean.onnx: the mean of 2 models" in capsys.readouterr().err
    assert run("average", a, b, "-o", out) == 2
    assert "exists already; --overwrite replaces it" in capsys.readouterr().err
    assert run("average", a, "-o", tmp_path / "other.onnx") == 2
    assert "two models or more" in capsys.readouterr().err
    assert run("average", a, b, "-o", a, "--overwrite") == 2
    assert run("average", a, b, "-o", tmp_path / "other.onnx", "--weights") == 3
    assert "not trained on from one model" in capsys.readouterr().err
    near = nudged(tmp_path / "near.onnx", a, 3)
    assert run("average", a, near, "-o", tmp_path / "other.onnx", "--weights") == 0
    assert "other.onnx: the mean of the weights of 2 models" in capsys.readouterr().err
    assert run("run", tmp_path / "clean" / "0.png", "-m", out, "-o", tmp_path / "0.png") == 0

    line = ["train", tmp_path / "clean", "--init", out, "-o", tmp_path / "on.onnx", "--optimiser", "sgd", "-q",
            "--threads", 1, "-b", 2, "--patch", 16, "--ema", 0, "--lr", 0.01]  # fmt: skip
    assert run(*line, "--steps", 2) == 0
    assert run(*line, "--steps", 3, "--resume") == 0
    card = ModelFile.read(tmp_path / "on.onnx").card
    assert (card.arch, card.training["steps"], card.training["loss"]) == ("average", 3, "mse")
    before, after = ({t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}
                     for path in (out, tmp_path / "on.onnx"))  # fmt: skip
    for net in range(2):
        moved = [name for name in before if name.startswith(f"nets.{net}.") and name.endswith("weight")
                 and not np.array_equal(before[name], after[name])]  # fmt: skip
        assert moved, f"net {net} has learnt nothing"


def test_a_recipe_may_begin_with_the_model_of_another(tmp_path, monkeypatch, capsys):
    rng = np.random.default_rng(0)
    (tmp_path / "clean").mkdir()
    for n in range(4):
        soundfile.write(tmp_path / "clean" / f"{n}.wav", rng.normal(0, 0.1, 12_000), 8000)
    brief = {"kind": "audio", "loss": "spectral", "batch_size": 2, "patch": 1024, "rate": 8000}
    net = ["window=64", "stem=4", "channels=8", "mixed=4", "dilations=1,2"]
    one = recipes.Recipe("one", {**brief, "arch": "band-mixer", "net": net, "steps": 2, "seed": 9})
    monkeypatch.setitem(recipes.RECIPES, "one", one)
    onward = recipes.Recipe("onward", {**brief, "steps": 3, "seed": 1, "keep": 0.25, "ema": 0.5}, begins_with="one")
    monkeypatch.setitem(recipes.RECIPES, "onward", onward)
    out, first = tmp_path / "m.onnx", tmp_path / "m.one.onnx"
    line = ["train", tmp_path / "clean", "-o", out, "--recipe", "onward", "--threads", 1, "-q"]
    assert run(*line) == 0
    cards = [ModelFile.read(path).card for path in (first, out)]
    assert [(c.training["recipe"], c.training["steps"], c.training["seed"]) for c in cards] == [
        ("one", 2, 9), ("onward", 3, 1)
    ]  # fmt: skip
    assert [(c.training["ema"], c.training.get("keep", 0)) for c in cards] == [(0.999, 0), (0.5, 0.25)]
    assert cards[0].net == cards[1].net
    assert ModelFile.read(first).fingerprint != ModelFile.read(out).fingerprint

    # What it begins with is trained once, and another beginning is refused.
    stamp = first.stat().st_mtime_ns
    for path in set(tmp_path.glob("m.*")) - set(tmp_path.glob("m.one.*")):
        path.unlink()
    assert run(*line, "--resume") == 0
    assert first.stat().st_mtime_ns == stamp
    assert run(*line, "--init", first, "--overwrite") == 2
    assert "a beginning of their own" in capsys.readouterr().err
    assert first.exists()


def test_a_recipe_that_begins_with_an_average_goes_on_where_it_was(tmp_path, monkeypatch):
    monkeypatch.setitem(recipes.RECIPES, "one", recipes.Recipe("one", {"kind": "audio"}))
    monkeypatch.setitem(recipes.RECIPES, "two", recipes.Recipe("two", {"kind": "audio"}, ({}, {})))
    both = recipes.Recipe("both", {"kind": "audio"}, average_of=("one", "two"))
    monkeypatch.setitem(recipes.RECIPES, "both", both)
    monkeypatch.setitem(recipes.RECIPES, "onward", recipes.Recipe("onward", {"kind": "audio"}, begins_with="both"))
    context = SimpleNamespace(meta={})
    values = {"output": tmp_path / "m.onnx", "recipe": "onward", "init": None, "resume": True, "overwrite": False}
    parts = [tmp_path / f"m.both{part}.onnx" for part in (".one", ".two.1", ".two", "")]
    assert set(beginnings.outputs(context, values["output"], "onward")) == {values["output"], *parts}
    for path in parts:
        path.touch()
        if path != parts[-1]:  # an average has no checkpoint
            path.with_suffix(".ckpt").touch()
    beginnings.check_outputs(context, values, sheet=True)
    with pytest.raises(RefusedError, match=r"both\.onnx exists already"):
        beginnings.check_outputs(context, {**values, "resume": False}, sheet=True)


def test_a_recipe_may_be_the_average_of_others(tmp_path, monkeypatch, capsys):
    rng = np.random.default_rng(0)
    for n in range(4):
        (tmp_path / "clean").mkdir(exist_ok=True)
        soundfile.write(tmp_path / "clean" / f"{n}.wav", rng.normal(0, 0.1, 12_000), 8000)
    options = {"kind": "audio", "arch": "band-mixer", "loss": "spectral", "batch_size": 2, "patch": 1024,
               "net": ["window=64", "stem=4", "channels=8", "mixed=4", "dilations=1,2"], "rate": 8000}  # fmt: skip
    monkeypatch.setitem(recipes.RECIPES, "one", recipes.Recipe("one", options, ({"steps": 2}, {"steps": 1})))
    monkeypatch.setitem(recipes.RECIPES, "two", recipes.Recipe("two", {**options, "steps": 4, "seed": 9}))
    both = recipes.Recipe("both", {"kind": "audio"}, average_of=("one", "two"))
    monkeypatch.setitem(recipes.RECIPES, "both", both)
    out = tmp_path / "m.onnx"
    line = ["train", tmp_path / "clean", "-o", out, "--recipe", "both", "--threads", 1, "-q"]
    assert run(*line) == 0
    card = ModelFile.read(out).card
    trainings = card.training["average_of"]
    assert [(t["recipe"], t["steps"], t["seed"]) for t in trainings] == [("one", 1, 0), ("two", 4, 9)]
    assert ModelFile.read(tmp_path / "m.one.1.onnx").card.training["recipe"] == "one, stage 1"

    # What is there is not trained again; what stands in the way of any of them is told before the first.
    written = [tmp_path / name for name in ("m.one.onnx", "m.two.onnx")]
    stamps = [path.stat().st_mtime_ns for path in written]
    out.unlink()
    assert run(*line, "--resume") == 0
    assert [path.stat().st_mtime_ns for path in written] == stamps
    assert ModelFile.read(out).card.training["average_of"] == trainings
    assert run(*line, "--resume") == 0, "all is there"
    assert run(*line) == 2
    assert "m.onnx exists already; --overwrite replaces it" in capsys.readouterr().err

    # What --overwrite has begun is not taken for finished.
    def ends(*arguments, **options):
        raise InputError("the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr("denoise_cli.train.fit.fit", ends)
        assert run(*line, "--overwrite") == 1
    assert out.exists(), "until there is a new one"
    assert not any(path.exists() for path in written)
    assert run(*line, "--init", out) == 2
    assert "a beginning of their own" in capsys.readouterr().err
    (tmp_path / "q.onnx").write_bytes(b"another's")
    assert run(*line[:3], tmp_path / "q.onnx", *line[4:], "--resume") == 2
    assert (tmp_path / "q.onnx").read_bytes() == b"another's"
    (tmp_path / "n.two.sheet.png").write_bytes(b"mine")
    assert run("train", tmp_path / "clean", "-o", tmp_path / "n.onnx", "--recipe", "both", "-q") == 2
    assert "n.two.sheet.png exists already" in capsys.readouterr().err
    assert not (tmp_path / "n.one.1.ckpt").exists()
