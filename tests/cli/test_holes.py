"""Pictures with holes: what the mask calls missing is filled, and nothing else moves."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import read_png, scene, write_png
from PIL import Image, ImageOps

from denoise_cli import denoise
from denoise_cli.card import ModelCard
from denoise_cli.errors import UsageError
from denoise_cli.holes import Holes, value
from denoise_cli.nets import build, config_of
from denoise_cli.session import Session
from denoise_cli.train.export import export


@pytest.fixture(scope="module")
def filler(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model that says it was trained with masking noise."""
    path = tmp_path_factory.mktemp("models") / "filler.onnx"
    torch.manual_seed(0)
    net = build("conv-dae", {"channels": 3, "width": 4})
    card = ModelCard("filler", multiple=net.multiple, noise="gaussian|masking:value=0.5", net=config_of(net))
    export(net, card, path)
    return path


def test_holes_are_filled_by_the_model_and_all_else_is_kept(command, filler, tmp_path):
    x = scene(50, 70)
    hole = np.zeros((1, 50, 70), np.float32)
    hole[0, 10:20, 30:45] = 1
    picture, mask = write_png(tmp_path / "x.png", x), write_png(tmp_path / "mask.png", hole)
    done = command("run", picture, "--mask", mask, "-m", filler, "-o", tmp_path / "y.png")
    assert done.code == 0, done.err
    y, before = read_png(tmp_path / "y.png"), read_png(picture)
    missing = hole[0] > 0
    assert np.array_equal(y[:, ~missing], before[:, ~missing])
    seen = np.where(hole > 0, np.float32(0.5), x)
    wanted = denoise.array(seen, Session(filler, "cpu")).clip(0, 1) * 255
    assert np.abs(y - wanted)[:, missing].max() < 0.51, "which saw the value of its training there, not the picture"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_mask_lies_over_the_picture_as_both_are_shown(command, filler, tmp_path, orientation):
    """Pillow turns one of them; the other has been made to be seen as it is stored."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    x = (np.moveaxis(scene(40, 60), 0, 2) * 255).astype(np.uint8)
    hole = np.zeros((40, 60), np.uint8)
    hole[4:9, 7:30] = 255
    Image.fromarray(x).save(tmp_path / "x.png", exif=exif)
    shown = ImageOps.exif_transpose(Image.open(tmp_path / "x.png"))
    Image.fromarray(hole).save(tmp_path / "stored.png", exif=exif)
    ImageOps.exif_transpose(Image.open(tmp_path / "stored.png")).save(tmp_path / "upright.png")
    for mask in ("stored", "upright"):
        done = command("run", tmp_path / "x.png", "--mask", tmp_path / f"{mask}.png", "-m", filler,
                       "-o", tmp_path / "y.png", "--on-exists", "overwrite")  # fmt: skip
        assert done.code == 0, done.err
        changed = (read_png(tmp_path / "y.png") != read_png(tmp_path / "x.png")).any(0)
        assert changed.any()
        assert not changed[hole == 0].any()
    Image.fromarray(hole[:30]).save(tmp_path / "small.png")
    done = command("run", tmp_path / "x.png", "--mask", tmp_path / "small.png", "-m", filler)
    assert (done.code, f"is 60x30, the picture {shown.width}x{shown.height}" in done.err) == (1, True)


def test_what_the_model_saw_in_its_holes_is_known():
    assert value(ModelCard("m", noise="gaussian:std=5+masking:amount=0.2")) == 0
    assert value(ModelCard("m", noise="gaussian|masking:value=0.25")) == 0.25
    for noise in ("gaussian:std=5", "", "recorded noise, 0 to 20 dB"):
        with pytest.raises(UsageError, match="was not trained with masking noise"):
            value(ModelCard("m", noise=noise))


def test_a_mask_goes_without_a_strength(command, filler, tmp_path):
    picture = write_png(tmp_path / "x.png", scene(20, 20))
    done = command("run", picture, "--mask", picture, "-m", filler, "-o", tmp_path / "y.png", "--strength", 0.5)
    assert (done.code, done.err.count("\n"), "leave --strength out" in done.err) == (2, 1, True)


def test_a_mask_that_does_not_go_with_it_is_refused(command, filler, model, tmp_path):
    picture, small = write_png(tmp_path / "x.png", scene(20, 30)), write_png(tmp_path / "m.png", np.eye(8, 9)[None])
    done = command("run", picture, "--mask", small, "-m", filler)
    assert (done.code, "is 9x8, the picture 30x20" in done.err) == (1, True)
    done = command("run", picture, "--mask", picture, "-m", model)
    assert (done.code, "was not trained with masking noise" in done.err) == (2, True)
    assert command("run", picture, "--mask", tmp_path / "none.png", "-m", filler).code == 2
    assert command("run", picture, small, "--mask", small, "-m", filler, "-o", tmp_path / "out").code == 2
    black = write_png(tmp_path / "black.png", np.zeros((1, 20, 30)))
    done = command("run", picture, "--mask", black, "-m", filler)
    assert (done.code, "black.png: no hole in it" in done.err) == (2, True)
    white = write_png(tmp_path / "white.png", np.ones((1, 20, 30)))
    done = command("run", picture, "--mask", white, "-m", filler)
    assert (done.code, "white.png: all of it is one hole" in done.err) == (2, True)
    done = command("run", tmp_path / "gone.png", "--mask", small, "-m", filler)
    assert (done.code, "gone.png: no such file" in done.err, "--mask" in done.err) == (1, True, False)
    done = command("run", picture, "--mask", small, "-m", filler, "--flag-anomalies")
    assert (done.code, "leave --mask out" in done.err) == (2, True)
    os.mkfifo(tmp_path / "pipe.png")
    done = command("run", picture, "--mask", tmp_path / "pipe.png", "-m", filler)
    assert (done.code, "not a regular file" in done.err) == (2, True)
    done = command("run", picture, "--mask", tmp_path / "a\n\x1b[31mb.png", "-m", filler)
    assert (done.code, done.err.count("\n"), "\x1b" in done.err) == (2, 1, False)
    assert not list(tmp_path.glob("*.denoised.*"))


def test_what_is_transparent_in_a_mask_is_no_hole(tmp_path):
    mask = np.full((20, 30, 4), 255, np.uint8)
    mask[..., 3] = 0
    mask[5:9, 7:20, 3] = 255
    for mode in ("RGBA", "LA"):
        Image.fromarray(mask).convert(mode).save(tmp_path / "mask.png")
        assert np.array_equal(Holes.read(tmp_path / "mask.png").missing, mask[..., 3] > 0)


def test_light_pixels_are_the_missing_ones(tmp_path):
    shades = np.array([[[0, 0.4, 0.6, 1]]] * 3)
    shades[0, 0, 0] = 1  # red is not white
    assert Holes.read(write_png(tmp_path / "m.png", shades)).missing.tolist() == [[False, False, True, True]]
