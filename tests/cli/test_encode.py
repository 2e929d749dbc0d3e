"""`denoise encode` and `denoise decode`: files in, latents out, and back under the same names."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, denoise, read_png, scene, write_png
from PIL import Image
from test_latent import TINY, made

from denoise_cli.session import Session


@pytest.fixture(scope="module")
def latent_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("latent") / "tiny.onnx", **TINY)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for n, name in enumerate(("b.png", "a.png", "sub/c.png")):
        write_png(tmp_path / "pictures" / name, scene(16, 8, 1, seed=n))
    return tmp_path / "pictures"


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_a_folder_there_and_back(command, latent_model, pictures, tmp_path, suffix):
    z = tmp_path / f"z{suffix}"
    done = command("encode", pictures, "-o", z, "-m", latent_model)
    assert (done.code, done.out) == (0, "")
    assert "3 pictures, 3x2x1 numbers each instead of 128" in done.err
    if suffix == ".npy":
        assert np.load(z).shape == (3, 3, 2, 1)
        about = json.loads((tmp_path / "z.json").read_text())
        assert about["names"] == ["a.png", "b.png", "sub/c.png"]
        assert (about["height"], about["width"], about["channels"], about["model"]) == (16, 8, 1, "tiny")
    done = command("decode", z, "-m", latent_model, "-o", tmp_path / "out")
    assert (done.code, done.out) == (0, "")
    session = Session(latent_model, "cpu")
    for name in ("a.png", "b.png", "sub/c.png"):
        expected = session(read_png(pictures / name)[None].astype(np.float32) / 255)[0]
        assert np.array_equal(read_png(tmp_path / "out" / name), np.round(expected * 255).astype(np.uint8))

    assert command("decode", z, "-m", latent_model, "-o", tmp_path / "out").code == 2
    (tmp_path / "out" / "a.png").unlink()
    assert command("decode", z, "-m", latent_model, "-o", tmp_path / "out", "--on-exists", "skip").code == 0
    assert (tmp_path / "out" / "a.png").exists()


def test_latents_that_another_model_made_are_refused(command, latent_model, pictures, tmp_path):
    other = made(tmp_path / "other.onnx", **TINY, seed=1)
    z = tmp_path / "z.npz"
    assert command("encode", pictures, "-o", z, "-m", latent_model).code == 0
    done = command("decode", z, "-m", other, "-o", tmp_path / "out")
    assert (done.code, 'another model made, "tiny"' in done.err, done.err.count("\n")) == (1, True, 1)
    assert not list((tmp_path / "out").glob("*"))
    found = dict(np.load(z))
    bare = tmp_path / "bare.npy"
    np.save(bare, found["latents"])
    assert command("decode", bare, "-m", other, "-o", tmp_path / "out").code == 0


def test_decode_writes_nothing_through_a_link_below_its_folder(command, latent_model, pictures, tmp_path):
    z, elsewhere = tmp_path / "z.npz", tmp_path / "elsewhere"
    assert command("encode", pictures, "-o", z, "-m", latent_model).code == 0
    elsewhere.mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "sub").symlink_to(elsewhere)
    done = command("decode", z, "-m", latent_model, "-o", tmp_path / "out")
    assert (done.code, "is a link" in done.err, done.err.count("\n")) == (2, True, 1)
    assert not list(elsewhere.iterdir())
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["sub"]


def test_an_array_file_there_and_back(command, latent_model, tmp_path):
    x = (np.stack([scene(8, 8, 1, seed=n)[0] for n in range(5)]) * 255).round().astype(np.uint8)
    np.savez(tmp_path / "x.npz", x_train=x[:2], x_test=x)
    done = command("encode", f"{tmp_path / 'x.npz'}:x_test", "-o", tmp_path / "z.npy", "-m", latent_model)
    assert done.code == 0
    assert np.load(tmp_path / "z.npy").shape == (5, 3)
    assert command("decode", tmp_path / "z.npy", "-m", latent_model, "-o", tmp_path / "y.npy").code == 0
    y = np.load(tmp_path / "y.npy")
    assert (y.shape, y.dtype) == ((5, 8, 8), np.uint8)
    expected = Session(latent_model, "cpu")(x[:, None].astype(np.float32) / 255)
    assert np.array_equal(y, np.round(expected[:, 0] * 255).astype(np.uint8))
    done = command("encode", tmp_path / "x.npz", "-o", tmp_path / "w.npy", "-m", latent_model)
    assert (done.code, "say which" in done.err) == (2, True)


def test_pictures_of_several_array_files_are_numbered_on(command, latent_model, tmp_path):
    for name in ("x", "y"):
        np.save(tmp_path / f"{name}.npy", np.zeros((2, 8, 8), np.uint8))
    z = tmp_path / "z.npz"
    assert command("encode", tmp_path / "x.npy", tmp_path / "y.npy", "-o", z, "-m", latent_model).code == 0
    assert command("decode", z, "-o", tmp_path / "out", "-m", latent_model).code == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [f"0000{n}.png" for n in range(4)]


def test_two_pictures_of_one_name_are_refused_before_any_work(command, latent_model, pictures, tmp_path):
    write_png(tmp_path / "more" / "a.png", scene(16, 8, 1))
    done = command("encode", pictures, tmp_path / "more", "-o", tmp_path / "z.npy", "-m", latent_model)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "one by one" in done.err
    assert not (tmp_path / "z.npy").exists()


def test_a_picture_whose_name_is_a_number_does_not_go_with_array_files(command, latent_model, pictures, tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((2, 16, 8), np.uint8))
    (pictures / "a.png").rename(pictures / "00001.png")
    done = command("encode", tmp_path / "x.npy", pictures, "-o", tmp_path / "z.npy", "-m", latent_model)
    assert (done.code, "encode it alone" in done.err) == (2, True)
    assert not (tmp_path / "z.npy").exists()


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["\ud800", "b"], "is no text"),
        (["a.png", "a.png/b.png"], "lies below a.png"),
        (["x" * 300, "b"], "too long"),
    ],
)
def test_names_that_no_file_can_have_are_refused_before_any_is_written(
    command, latent_model, tmp_path, names, said
):
    np.save(tmp_path / "z.npy", np.zeros((2, 3), np.float32))
    about = {"names": names, "height": 8, "width": 8, "channels": 1}
    (tmp_path / "z.json").write_text(json.dumps(about))
    done = command("decode", tmp_path / "z.npy", "-m", latent_model, "-o", tmp_path / "out")
    assert (done.code, said in done.err, done.err.count("\n")) == (1, True, 1)
    assert not (tmp_path / "out").exists()


def test_neither_takes_torch(latent_model, pictures, tmp_path):
    """In a process of its own where torch, onnx and their like cannot be imported."""
    block = tmp_path / "block"
    for name in ("torch", "onnx", "onnxscript", "safetensors"):
        (block / name).mkdir(parents=True)
        (block / name / "__init__.py").write_text("raise ImportError('not here')")
    env = {"PYTHONPATH": f"{block}:{ROOT}"}
    z = tmp_path / "z.npz"
    assert denoise("encode", pictures, "-o", z, "-m", latent_model, env=env).returncode == 0
    assert denoise("decode", z, "-o", tmp_path / "out", "-m", latent_model, env=env).returncode == 0
    assert len(list((tmp_path / "out").rglob("*.png"))) == 3


def test_a_bad_or_odd_file_is_named_and_the_others_go_on(command, latent_model, pictures, tmp_path):
    (pictures / "bad.png").write_text("no picture\n")
    write_png(pictures / "z.png", scene(8, 8, 1))
    write_png(pictures / "colour.png", scene(16, 8, 3))
    done = command("encode", pictures, "-o", tmp_path / "z.npz", "-m", latent_model)
    assert done.code == 1
    assert "bad.png" in done.err
    assert "z.png: is 8x8 with 1 channels, and those before are 8x16 with 1 channels" in done.err
    assert "colour.png: is 8x16 with 3 channels" in done.err
    with np.load(tmp_path / "z.npz") as held:
        assert held["names"].tolist() == ["a.png", "b.png", "sub/c.png"]


def test_a_missing_file_stops_no_others_and_pictures_are_encoded_as_they_are_shown(
    command, latent_model, pictures, tmp_path
):
    x = Image.open(pictures / "a.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    x.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    done = command("encode", pictures / "a.png", tmp_path / "gone.png", tmp_path / "turned.png",
                   "-o", tmp_path / "z.npz", "-m", latent_model)  # fmt: skip
    assert (done.code, "gone.png: no such file" in done.err) == (1, True), done.err
    with np.load(tmp_path / "z.npz") as held:
        assert held["names"].tolist() == ["a.png", "turned.png"]
        upright, turned = held["values"] if "values" in held else held["latents"]
    assert np.array_equal(upright, turned)


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        (["encode", "pictures", "-o", "z.npy", "-m", "image"], 3, 'model "image" has no bottleneck'),
        (["encode", "pictures", "-o", "z.txt", "-m", "MODEL"], 2, ".npy or .npz"),
        (["encode", "absent", "-o", "z.npy", "-m", "MODEL"], 1, "absent: no such file"),
        (["encode", "-", "-o", "z.npy", "-m", "MODEL"], 2, "not -"),
        (["encode", "pictures", "-o", "z.npy"], 2, "--model"),
        (["decode", "absent.npy", "-o", "out", "-m", "MODEL"], 2, "absent.npy: no such file"),
        (["decode", "pictures/a.png", "-o", "out", "-m", "MODEL"], 2, "latents are .npy or .npz"),
        (["decode", "pictures/a.png", "-o", "out.png", "-m", "MODEL"], 2, "name a folder"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(
    command, latent_model, pictures, tmp_path, monkeypatch, arguments, code, named
):
    monkeypatch.chdir(tmp_path)
    done = command(*[latent_model if argument == "MODEL" else argument for argument in arguments])
    assert (done.code, done.out) == (code, "")
    assert named in done.err
    assert done.err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pictures"]


def test_no_input_and_no_stranger_is_overwritten(command, latent_model, pictures, tmp_path):
    x = np.zeros((2, 8, 8), np.uint8)
    np.save(tmp_path / "x.npy", x)
    both = ("-m", latent_model, "--on-exists", "overwrite")
    done = command("encode", tmp_path / "x.npy", "-o", tmp_path / "x.npy", *both)
    assert (done.code, "is the input" in done.err) == (2, True)
    assert np.array_equal(np.load(tmp_path / "x.npy"), x)
    assert command("encode", tmp_path / "x.npy", "-o", tmp_path / "z.npy", *both).code == 0
    before = (tmp_path / "z.npy").read_bytes()
    done = command("decode", tmp_path / "z.npy", "-o", tmp_path / "z.npy", *both)
    assert (done.code, "is the input" in done.err) == (2, True)
    assert (tmp_path / "z.npy").read_bytes() == before

    (tmp_path / "notes.json").write_text("mine")
    done = command("encode", pictures, "-o", tmp_path / "notes.npy", "-m", latent_model, "--on-exists", "skip")
    assert (done.code, "name another -o" in done.err) == (2, True)
    assert (tmp_path / "notes.json").read_text() == "mine"

    np.save(tmp_path / "mine.npy", x)
    done = command("encode", pictures, "-o", tmp_path / "mine.npy", "-m", latent_model, "--on-exists", "skip")
    assert (done.code, "name another -o" in done.err) == (2, True)
    assert np.array_equal(np.load(tmp_path / "mine.npy"), x)
    assert not (tmp_path / "mine.json").exists()
