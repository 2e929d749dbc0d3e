"""`denoise train`: a folder in, a model out; stopped in any way, it goes on where it was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from conftest import ROOT, read_png, scene, write_png
from PIL import Image
from safetensors.torch import load_file

from denoise_cli import nets, processor, recipes, shipped
from denoise_cli.charts import LINES
from denoise_cli.cli.architectures import net_options
from denoise_cli.model_file import ModelFile
from denoise_cli.session import Session

TINY = ["--net", "widths=8,16", "--net", "blocks=1,1", "--patch", "16", "-b", "4", "--threads", "1"]


@pytest.fixture(autouse=True)
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    for n in range(4):
        write_png(tmp_path / "clean" / f"{n % 2}" / f"{n}.png", scene(40, 50, seed=n))
    return tmp_path / "clean"


def weights(model: Path) -> dict[str, np.ndarray]:
    return {w.name: onnx.numpy_helper.to_array(w) for w in onnx.load(model).graph.initializer}


def assert_equal_to_the_bit(a: Path, b: Path) -> None:
    """The models, and the checkpoints beside them."""
    x, y = weights(a), weights(b)
    assert x.keys() == y.keys()
    assert all(np.array_equal(x[name], y[name]) for name in x)
    p, q = load_file(a.with_suffix(".ckpt")), load_file(b.with_suffix(".ckpt"))
    assert p.keys() == q.keys()
    assert all(torch.equal(p[name], q[name]) for name in p)


@pytest.mark.parametrize("loss", ["log-mse", "mse"])
def test_the_curve_shows_losses_of_either_sign(command, clean, tmp_path, loss):
    assert command("train", clean, "-o", tmp_path / "m.onnx", "--steps", 12, *TINY, "--loss", loss).code == 0
    with Image.open(tmp_path / "m.curve.png") as drawn:
        below_the_legend = np.asarray(drawn.convert("RGB"))[110:].reshape(-1, 3)
    assert (below_the_legend == list(bytes.fromhex(LINES[0][1:]))).all(axis=1).sum() > 20


def test_a_folder_becomes_a_model_that_runs(command, clean, tmp_path):
    out = tmp_path / "new" / "mine.onnx"
    (clean / "bad.png").write_text("no picture\n")
    (clean / "more").symlink_to(tmp_path, target_is_directory=True)
    done = command("train", clean, "-o", out, "--steps", 12, *TINY, "--licence", "CC0", "--data-note", "scenes")
    assert (done.code, done.out) == (0, "")
    assert sorted(path.name for path in out.parent.iterdir()) == [
        "mine.ckpt", "mine.curve.png", "mine.onnx", "mine.sheet.png"
    ]  # fmt: skip
    assert "4 pictures to train on, 1 to validate" in done.err
    assert f"left out: {clean / 'bad.png'}" in done.err
    assert f"left out: {clean / 'more'}: link to a folder" in done.err
    assert f"{out}: 12 steps in" in done.err
    parity = float(done.err.split("largest difference ")[1].split()[0])
    assert parity < 1e-4
    for picture in ("mine.curve.png", "mine.sheet.png"):
        with Image.open(out.parent / picture) as image:
            assert min(image.size) > 100

    card = Session(out, "cpu").card
    assert (card.name, card.channels, card.multiple, card.arch) == ("mine", 3, 4, "unet")
    assert (card.licence, card.data, card.training["steps"]) == ("CC0", "scenes", 12)
    assert card.command.split()[0] == "denoise"
    assert "validation PSNR" in card.metrics
    assert command("run", clean / "0" / "0.png", "-m", out, "-o", tmp_path / "y.png").code == 0
    assert read_png(tmp_path / "y.png").shape == (3, 40, 50)

    before = out.read_bytes()
    done = command("train", clean, "-o", out, "--steps", 12, *TINY)
    assert (done.code, done.err) == (2, f"denoise: {out} exists already; --overwrite replaces it\n")
    out.rename(out.with_name("kept.onnx"))
    done = command("train", clean, "-o", out, "--steps", 12, *TINY)
    assert done.code == 2
    assert "mine.ckpt exists already" in done.err
    assert out.with_name("kept.onnx").read_bytes() == before
    assert command("train", clean, "-o", out, "--steps", 12, *TINY, "--resume", "--lr", 1).code == 2
    assert command("train", clean, "-o", out, "--steps", 2, *TINY, "--overwrite", "-q").err == ""
    assert Session(out, "cpu").card.training["steps"] == 2


def test_gray_pictures_give_a_gray_model_with_the_loss_of_its_net(command, tmp_path):
    for n in range(3):
        write_png(tmp_path / "clean" / f"{n}.png", scene(28, 28, 1, seed=n))
    done = command("train", tmp_path / "clean", "-o", tmp_path / "m.onnx", "--arch", "conv-dae", "--net", "width=4",
                   "--patch", 28, "-b", 2, "--steps", 3, "--threads", 1, "--val", tmp_path / "clean" / "2.png",
                   "--noise", "gaussian:std=50", "--noise", "quantise")  # fmt: skip
    assert done.code == 0
    card = Session(tmp_path / "m.onnx", "cpu").card
    assert (card.channels, card.training["loss"], card.noise) == (1, "bce", "gaussian:std=50+quantise")


def test_without_a_picture_there_is_nothing_to_train_on(command, tmp_path):
    (tmp_path / "clean").mkdir()
    done = command("train", tmp_path / "clean", "-o", tmp_path / "m.onnx", "--steps", 1)
    assert (done.code, "no pictures to train on" in done.err) == (1, True)
    (tmp_path / "clean" / "bad.png").write_text("no picture\n")
    assert command("train", tmp_path / "clean", "-o", tmp_path / "m.onnx", "--steps", 1).code == 1
    assert [path.name for path in tmp_path.iterdir()] == ["clean"]


def test_a_loss_that_is_not_finite_exits_1_without_a_model(command, clean, tmp_path):
    done = command(
        "train", clean, "-o", tmp_path / "m.onnx", "--steps", 50, "--lr", "1e30", "--optimiser", "sgd", *TINY
    )
    assert done.code == 1
    assert "not finite" in done.err
    assert not (tmp_path / "m.onnx").exists()


def test_a_training_goes_on_from_a_model_as_it_was_made(command, clean, tmp_path, monkeypatch):
    first = ["--noise", "masking:amount=0.3", "--loss", "l1", "--channels", "1"]
    assert command("train", clean, "-o", tmp_path / "a.onnx", "--steps", 3, *TINY, *first).code == 0
    monkeypatch.setattr(shipped, "FOLDERS", (tmp_path,))
    for start in ("a", tmp_path / "a.onnx", tmp_path / "a.ckpt"):
        out = tmp_path / "b.onnx"
        done = command("train", clean, "-o", out, "--init", start, "--steps", 1, "--lr", "1e-12", "--patch", 16,
                       "--overwrite")  # fmt: skip
        assert done.code == 0, done.err
        a, b = ModelFile.read(tmp_path / "a.onnx").card, ModelFile.read(out).card
        assert (b.arch, b.net, b.noise, b.channels) == (a.arch, a.net, a.noise, 1)
        assert b.training["loss"] == "l1"
        x, y = weights(tmp_path / "a.onnx"), weights(out)
        assert all(np.allclose(x[name], y[name], atol=1e-6) for name in x)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").mkdir()  # the name of a model, and of a folder that happens to be there
    assert command("train", clean, "-o", "b.onnx", "--init", "a", "--steps", 1, "--overwrite", *TINY).code == 0
    done = command("train", clean, "-o", tmp_path / "c.onnx", "--init", "b", "--steps", 1, "--kind", "audio")
    assert (done.code, "give --kind image" in done.err) == (2, True)
    done = command("train", clean, "-o", tmp_path / "c.onnx", "--init", "d", "--steps", 1)
    assert (done.code, done.err.count("\n"), 'no model "d"' in done.err) == (3, 1, True)
    done = command("train", clean, "-o", tmp_path / "c.onnx", "--init", "d.ckpt", "--steps", 1)
    assert (done.code, done.err.count("\n"), "d.ckpt: not a checkpoint" in done.err) == (3, 1, True)
    assert not (tmp_path / "c.onnx").exists()


@pytest.mark.parametrize("fast", [True, False])
def test_bfloat16_is_not_imitated_unless_it_is_asked_for(command, clean, tmp_path, monkeypatch, fast):
    monkeypatch.setattr(processor, "multiplies_halves", lambda: fast)
    monkeypatch.setitem(recipes.RECIPES, "halves", recipes.Recipe("", {"amp": True}))
    asked = {"recipe": ["--recipe", "halves"], "flag": ["--amp"], "none": []}
    wanted = {"recipe": fast, "flag": True, "none": False}
    for name, options in asked.items():
        out = tmp_path / f"{name}.onnx"
        done = command("train", clean, "-o", out, "--steps", 1, *TINY, *options)
        assert done.code == 0
        assert ModelFile.read(out).card.training["amp"] is wanted[name]
        assert ("has no arithmetic for bfloat16" in done.err) is (not fast and name != "none")


def test_a_damaged_checkpoint_is_named(command, clean, tmp_path):
    (tmp_path / "m.ckpt").write_bytes(b"damaged")
    done = command("train", clean, "-o", tmp_path / "m.onnx", "--steps", 1, *TINY, "--resume")
    assert done.code == 3
    assert f"{tmp_path / 'm.ckpt'}: not a checkpoint" in done.err


@pytest.mark.parametrize("output", ["", ".", "/", "m.pt"])
@pytest.mark.parametrize("more", [[], ["--resume"], ["--recipe", "image"]])
def test_an_output_that_is_no_name_of_a_model_is_refused(command, clean, output, more):
    done = command("train", clean, "-o", output, *more)
    assert (done.code, "a model is an .onnx file" in done.err, done.err.count("\n")) == (2, True, 1)


def test_a_name_that_leaves_no_room_for_what_stands_beside_is_refused(command, clean, tmp_path):
    done = command("train", clean, "-o", tmp_path / ("a" * 246 + ".onnx"))
    assert (done.code, "too long a name" in done.err, done.err.count("\n")) == (2, True, 1)


def test_without_torch_it_says_what_to_install(command, clean, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    done = command("train", clean, "-o", tmp_path / "m.onnx", "--steps", 1)
    assert (done.code, 'pip install "denoise-cli[train]"' in done.err) == (3, True)


def stop_when_it_has_a_checkpoint(
    sent: signal.Signals, clean: Path, out: Path, *arguments: str, ignored: signal.Signals | None = None
) -> tuple[int, str]:
    """The exit code and standard error; `ignored` is sent, too, to a process that was started deaf to it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "denoise_cli", "train", clean, "-o", out, *TINY, *arguments],
        stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)},
        preexec_fn=None if ignored is None else lambda: signal.signal(ignored, signal.SIG_IGN),
    )  # fmt: skip
    give_up = time.monotonic() + 90
    while not out.with_suffix(".ckpt").exists() and process.poll() is None and time.monotonic() < give_up:
        time.sleep(0.01)
    if ignored is not None:
        process.send_signal(ignored)
        time.sleep(0.2)
    process.send_signal(sent)
    _, err = process.communicate(timeout=20)
    return process.returncode, err.decode()


def test_in_the_background_it_does_not_hear_the_interrupt_of_the_terminal(clean, tmp_path):
    code, err = stop_when_it_has_a_checkpoint(
        signal.SIGTERM, clean, tmp_path / "m.onnx", "--max-time", "10m", "--checkpoint-every", "0s",
        ignored=signal.SIGINT,
    )  # fmt: skip
    assert (code, "stopped at step " in err) == (143, True)
    assert not (tmp_path / "m.onnx").exists()


@pytest.mark.parametrize("name", ["m.onnx", "m.ckpt", "m.curve.png", "m.sheet.png"])
def test_what_stands_in_the_place_of_an_output_is_told_before_torch_is_loaded(
    command, clean, tmp_path, monkeypatch, name
):
    monkeypatch.setitem(sys.modules, "torch", None)
    out = tmp_path / "m.onnx"
    (tmp_path / name).mkdir()
    for more in ([], ["--overwrite"], ["--resume"]):
        done = command("train", clean, "-o", out, *more)
        assert (done.code, done.err) == (2, f"denoise: output {tmp_path / name} is a folder\n")
    (tmp_path / name).rmdir()
    (tmp_path / name).write_bytes(b"mine")
    done = command("train", clean, "-o", out)
    assert (done.code, f"{tmp_path / name} exists already; " in done.err) == (2, True)
    assert command("train", clean, "-o", out, "--overwrite").code == 3, "only torch is missing"
    done = command("train", clean, "-o", tmp_path / name / "m.onnx")
    assert (done.code, "is not a folder" in done.err) == (2, True)
    assert (tmp_path / name).read_bytes() == b"mine"


def test_resumed_without_a_checkpoint_it_replaces_no_model(command, clean, tmp_path):
    out = tmp_path / "m.onnx"
    out.write_bytes(b"mine")
    done = command("train", clean, "-o", out, "--resume", "--steps", 1, *TINY)
    assert done.code == 2
    assert f"there is no {tmp_path / 'm.ckpt'} to go on from, and {out} exists already" in done.err
    assert out.read_bytes() == b"mine"


def test_a_table_has_no_sheet_that_could_be_in_the_way(command, tmp_path):
    (tmp_path / "x.csv").write_text("a,b\n" + "".join(f"{n},{n % 7}\n" for n in range(40)))
    (tmp_path / "m.sheet.png").write_bytes(b"mine")
    done = command("train", tmp_path / "x.csv", "--kind", "table", "-o", tmp_path / "m.onnx", "--steps", 1)
    assert (done.code, (tmp_path / "m.sheet.png").read_bytes()) == (0, b"mine")


def test_killed_and_resumed_gives_the_model_of_an_unbroken_run(command, clean, tmp_path):
    steps = ("--steps", "120")
    assert command("train", clean, "-o", tmp_path / "whole.onnx", *steps, *TINY).code == 0
    out = tmp_path / "broken.onnx"
    code, _ = stop_when_it_has_a_checkpoint(signal.SIGKILL, clean, out, *steps, "--checkpoint-every", "0s")
    assert code == -signal.SIGKILL
    assert not out.exists()
    done = command("train", clean, "-o", out, *steps, *TINY, "--resume")
    assert done.code == 0
    assert "resumed at step " in done.err
    assert 0 < int(done.err.split("resumed at step ")[1].split()[0]) < 120
    assert_equal_to_the_bit(tmp_path / "whole.onnx", out)
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_it_leaves_a_checkpoint_of_the_last_step(command, clean, tmp_path, sent, code):
    out = tmp_path / "m.onnx"
    got, err = stop_when_it_has_a_checkpoint(sent, clean, out, "--max-time", "10m", "--checkpoint-every", "0s")
    assert got == code
    assert "Traceback" not in err
    assert "stopped at step " in err
    assert not out.exists()
    stopped = int(err.split("stopped at step ")[1].split(";")[0])
    done = command("train", clean, "-o", out, "--steps", stopped + 3, *TINY, "--resume")
    assert done.code == 0
    assert f"resumed at step {stopped} from" in done.err
    assert Session(out, "cpu").card.training["steps"] == stopped + 3


def test_every_net_is_listed_with_the_options_that_build_it(command):
    done = command("train", "--arch", "help")
    assert done.code == 0
    listed = [line.split("\t") for line in done.out.splitlines()[1:]]
    assert [arch for arch, _, _ in listed] == [arch for arch in nets.NETS if arch != "average"]
    for arch, kind, options in listed:
        given = net_options(options.split())
        net = nets.build(arch, given)
        assert getattr(net, "kind", "image") == kind
        assert nets.config_of(net) == nets.config_of(nets.build(arch, {}))
        assert len(given) >= len(nets.config_of(net)) - 1, "but for channels, which the files decide"


def test_what_was_held_out_and_cannot_be_read_ends_no_training(command, clean, tmp_path):
    first = sorted(clean.rglob("*.png"))[0]  # one in 90 is held out, beginning with it
    first.write_bytes(first.read_bytes()[:60])
    train = ["train", clean, "-o", tmp_path / "m.onnx", "--steps", 1, *TINY]
    done = command(*train)
    assert done.code == 0, done.err
    assert "so nothing is validated" in done.err
    assert f"left out: {first}" in done.err
    assert command(*train, "--overwrite", "--val", first.parent).code == 0, "another file of the folder is whole"
    shown = tmp_path / "val" / first.name
    shown.parent.mkdir()
    shown.write_bytes(first.read_bytes())
    done = command(*train, "--overwrite", "--val", shown.parent)
    assert (done.code, f"--val {shown.parent}: nothing in it can be read" in done.err) == (2, True), done.err
