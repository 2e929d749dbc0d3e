"""The models that ship: found, whole, equal to what their cards say, and better than nothing."""

from __future__ import annotations

import dataclasses
import shutil
import tomllib

import numpy as np
import pytest
from conftest import ROOT, scene

from denoise_cli import denoise, shipped
from denoise_cli.corrupt import parse
from denoise_cli.errors import ModelError
from denoise_cli.media import image
from denoise_cli.metrics import is_white, psnr
from denoise_cli.models import Models
from denoise_cli.session import Session
from denoise_cli.signal import Header, Signal

SHARED = ROOT.parent / "shared" / "data" / "images" / "test"


@pytest.fixture(scope="module")
def session() -> Session:
    return Session(shipped.locate("image"), "cpu")


@pytest.fixture(scope="module")
def models() -> Models:
    """What `run` takes where no model is named."""
    return Models(None, device="cpu")


def cleaned(noisy: np.ndarray, models: Models) -> np.ndarray:
    return denoise.array(noisy, models).clip(0, 1)


def test_a_name_and_a_path_are_found_and_a_stranger_is_refused_with_the_choices():
    assert shipped.locate("image").name == "image.onnx"
    assert shipped.locate(str(shipped.locate("image"))) == shipped.locate("image")
    with pytest.raises(ModelError, match="one of: gray, gray-white, image, image-white, speech"):
        shipped.locate("imgae")


def test_every_model_is_packed_into_the_wheel():
    hatch = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]
    names = [path.name for path in (ROOT / "models").glob("*.onnx")]
    packed = hatch["build"]["targets"]["wheel"]["force-include"]
    assert packed == {f"models/{name}": f"denoise_cli/_models/{name}" for name in names}
    assert shipped.FOLDERS[0].name == "_models"


@pytest.mark.parametrize("name", shipped.FOR["image"])
def test_threads_that_share_a_tile_change_no_bit_of_it(name):
    one, *others = (Session(shipped.locate(name), "cpu", threads) for threads in (1, 2, 3))
    for height, width in ((512, 512), (8, 8), (264, 40)):
        x = scene(height, width, one.card.channels)[None]
        assert all(np.array_equal(one(x), other(x)) for other in others)


def test_a_model_whose_bits_depend_on_threads_has_one():
    x = 0.1 * np.random.default_rng(0).standard_normal((1, 1, 256 * 200), dtype=np.float32)
    one, many = (Session(shipped.locate("speech"), "cpu", threads) for threads in (1, 4))
    assert np.array_equal(one(x), many(x))


@pytest.mark.parametrize(
    ("size", "threads", "each"),
    [((3, 512, 512), 4, 4), ((3, 512, 512), 1, 1), ((1, 512, 512), 6, 6), ((3, 1500, 1500), 8, 2),
     ((3, 6000, 6000), 8, 1), ((4, 512, 512), 4, 1)],
)  # fmt: skip
def test_the_only_file_spreads_its_tiles_over_the_threads(session, size, threads, each):
    header, options = Header.picture(size), denoise.Options(threads=threads)
    assert denoise.spread(header, session.card, options) == each
    opened = []
    models = Models(None, device="cpu", on_open=opened.append, spread=lambda h, card: each)
    assert models(header)._threads == each
    assert opened[0] is models(header)


def test_the_card_tells_how_the_model_was_made(session):
    card = session.card
    assert card.command.startswith("denoise train ")
    assert card.data
    assert card.licence == "Apache-2.0"
    assert card.training["steps"] > 0
    assert "gaussian:std=0-55" in card.noise


@pytest.mark.parametrize("name", ["cells", "glass", "harbour", "hills", "page", "tartan"])
def test_every_sample_comes_out_at_least_two_decibels_closer_to_its_original(models, name):
    noisy, clean = (image.read(ROOT / folder / f"{name}.png").data for folder in ("samples", "docs/clean"))
    assert psnr(cleaned(noisy, models), clean) > psnr(noisy, clean) + 2


def test_a_picture_of_one_channel_meets_the_model_for_gray_ones():
    models = Models(None, device="cpu")
    groups = {"gray": ((0,),), "image": ((0, 1, 2),), "gray of four": ((0,), (1,), (2,), (3,))}
    names = {of: models(Header("image", 4, 8, 8, groups=each)).card.name for of, each in groups.items()}
    assert names == {"gray": "gray", "image": "image", "gray of four": "gray"}
    assert models.latest == "gray"


@pytest.mark.parametrize("channels", [1, 3])
def test_white_noise_meets_the_model_for_it_whatever_the_blocks_and_tiles(channels):
    clean = image.read(ROOT / "docs/clean" / "hills.png").data[:channels, :320, :400]
    rng = np.random.default_rng(0)
    white = parse("gaussian:std=15+quantise")(clean, rng)
    other = parse("poisson:peak=30+quantise")(clean, rng)
    for x, name in (
        (white, "gray-white" if channels == 1 else "image-white"),
        (other, "gray" if channels == 1 else "image"),
    ):
        expected = denoise.array(x, Session(shipped.locate(name), "cpu"))
        for options in (denoise.Options(threads=1), denoise.Options(threads=3, batch=4)):
            models = Models(None, device="cpu")
            assert np.array_equal(denoise.array(x, models, options), expected)
            assert models.latest == name


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("std", "white"), [(2, False), (6, True), (15, True)])
def test_of_two_models_the_one_that_leaves_less_of_white_noise_serves(channels, std, white):
    names = ("gray", "gray-white") if channels == 1 else ("image", "image-white")
    clean = image.read(ROOT / "docs/clean" / "hills.png").data[:channels, :320, :400]
    noisy = parse(f"gaussian:std={std}+quantise")(clean, np.random.default_rng(0)).astype(np.float32)
    models = Models(None, device="cpu")
    denoise.array(noisy, models)
    assert (models.latest == names[1]) is white


def test_white_noise_on_cloth_does_not_meet_the_model_that_takes_threads_for_noise():
    clean = image.read(ROOT / "docs/clean" / "tartan.png").data
    noisy = parse("gaussian:std=25+quantise")(clean, np.random.default_rng(0)).astype(np.float32)
    assert is_white(noisy)
    general, special = (
        psnr(denoise.array(noisy, Session(shipped.locate(name), "cpu")), clean) for name in ("image", "image-white")
    )
    assert general > special + 1
    models = Models(None, device="cpu")
    denoise.array(noisy, models)
    assert models.latest == "image"


def test_noise_that_is_white_in_some_bands_or_some_frames_only_meets_the_model_for_any():
    x = scene(320, 300, 2, grain=0)
    x[0] = parse("gaussian:std=30")(x[:1], np.random.default_rng(0))[0]
    white = parse("gaussian:std=30")(scene(640, 300, 1), np.random.default_rng(0)).astype(np.float32)
    pages = Signal(white, Header("image", 1, 320, 300, frames=2))
    for picture in (Signal(x, Header.picture(x.shape)), Signal(x[::-1].copy(), Header.picture(x.shape)), pages):
        models = Models(None, device="cpu")
        denoise.signal(picture, models)
        assert models.latest == "gray"


def test_single_channels_beside_colours_meet_the_model_that_has_seen_gray():
    x = parse("gaussian:std=30")(scene(320, 300, 4), np.random.default_rng(0)).astype(np.float32)
    cmyk = dataclasses.replace(Header.picture(x.shape), groups=((0, 1, 2), (3,)))
    models = Models(None, device="cpu")
    denoise.signal(Signal(x, cmyk), models)
    assert models.latest == "image"


def test_a_model_for_white_noise_that_lacks_the_precision_is_done_without(tmp_path, monkeypatch):
    for name in ("image", "image.fp16", "gray", "gray.fp16", "image-white"):
        shutil.copy(ROOT / "models" / f"{name.partition('.')[0]}.onnx", tmp_path / f"{name}.onnx")
    monkeypatch.setattr(shipped, "FOLDERS", (tmp_path,))
    header = dataclasses.replace(Header.picture((3, 64, 64)), white=True)
    assert Models(None, device="cpu", kinds=["image"])(header).path.name == "image-white.onnx"
    assert Models(None, "fp16", "cpu", kinds=["image"])(header).path.name == "image.fp16.onnx"


def test_a_model_that_is_named_is_taken_whatever_the_noise():
    x = parse("gaussian:std=30+quantise")(scene(320, 300), np.random.default_rng(0))
    models = Models("image", device="cpu")
    assert np.array_equal(denoise.array(x, models.only), denoise.array(x, Session(shipped.locate("image"), "cpu")))
    assert models.latest == "image"


@pytest.mark.parametrize("name", ["hills", "harbour", "glass"])
def test_noise_that_a_camera_has_smoothed_is_seen_too(session, name):
    clean = image.read(ROOT / "docs/clean" / f"{name}.png").data
    noisy = parse("camera:shot=0.01,luma=0.8,chroma=2+quantise")(clean, np.random.default_rng(0))
    assert psnr(denoise.array(noisy, session).clip(0, 1), clean) > psnr(noisy, clean) + 2


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("sigma", "gain"), [(10, 1.5), (25, 5), (50, 8)])
def test_the_level_of_the_noise_needs_no_telling(models, channels, sigma, gain):
    clean = scene(160, 160, channels, seed=9)
    noisy = parse(f"gaussian:std={sigma}+quantise")(clean, np.random.default_rng(0))
    assert psnr(cleaned(noisy, models), clean) > psnr(noisy, clean) + gain


def test_tiled_equals_whole_to_a_hundredth_of_a_step(session):
    x = parse("gaussian:std=25+quantise")(scene(400, 424), np.random.default_rng(0))
    whole = denoise.array(x, session, denoise.Options(tile=4096))
    tiled = denoise.array(x, session, denoise.Options(tile=192))
    rows, columns = denoise.plan(Header("image", 3, 400, 424), session.card.halo, session.card.multiple, 192)
    assert len(rows) * len(columns) > 1
    assert np.abs(tiled - whole).max() * 255 < 0.01


@pytest.mark.skipif(not SHARED.is_dir(), reason="the papers' test sets are not in the repository")
@pytest.mark.parametrize(("name", "least"), [("set12", 29.7), ("cbsd68", 30.4)])
def test_on_pictures_of_the_papers_it_is_as_good_as_benchmarked(models, name, least):
    files = sorted((SHARED / name).iterdir())[:6]
    noise = parse("gaussian:std=25+quantise")
    scores = []
    for index, path in enumerate(files):
        clean = image.read(path).data
        noisy = noise(clean, np.random.default_rng(index))
        scores.append(psnr(cleaned(noisy, models), clean))
    assert np.mean(scores) > least
