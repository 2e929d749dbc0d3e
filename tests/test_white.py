"""Which noise is white Gaussian noise of one strength, and which is not."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import scene

from denoise_cli import tiles
from denoise_cli.corrupt import parse
from denoise_cli.metrics import is_white, traits


def noisy(spec: str, channels: int = 3, seed: int = 0) -> np.ndarray:
    clean = scene(320, 300, channels, seed=seed, grain=0)
    return parse(f"{spec}+quantise")(clean, np.random.default_rng(seed)).astype(np.float32)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("std", [6, 15, 25, 50])
def test_what_is_drawn_for_each_sample_is_white_and_its_strength_is_found(std, channels):
    for seed in range(5):
        found = traits(noisy(f"gaussian:std={std}", channels, seed))
        assert found is not None
        assert found.white, found
        assert found.std == pytest.approx(std, rel=0.1)


def test_noise_that_nothing_has_cut_off_is_white_too():
    x = scene(320, 300, grain=0) + np.random.default_rng(0).normal(0, 30 / 255, (3, 320, 300)).astype(np.float32)
    assert is_white(x)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "spec",
    ["gaussian:std=0", "gaussian:std=3", "poisson:peak=30", "poisson:peak=100", "speckle:std=0.3",
     "salt-pepper:amount=0.02", "salt-pepper:amount=0.2", "salt-pepper:amount=0.5", "masking:amount=0.5"],
)  # fmt: skip
def test_other_noise_is_not(spec, channels):
    assert not any(is_white(noisy(spec, channels, seed)) for seed in range(5))


@pytest.mark.parametrize("spec", ["camera:shot=0.01", "camera:shot=0.03,luma=1", "gaussian:std=25+jpeg:quality=90"])
def test_what_a_camera_or_a_file_has_smoothed_is_not(spec):
    assert not any(is_white(noisy(spec, seed=seed)) for seed in range(5))


def test_the_same_noise_in_all_channels_is_not():
    gray = noisy("gaussian:std=25", 1)
    assert is_white(gray)
    assert traits(gray.repeat(3, axis=0)).correlation == pytest.approx(1)
    assert not is_white(gray.repeat(3, axis=0))


def test_noise_of_other_strength_in_the_shadows_is_not():
    x = noisy("gaussian:std=0", 3)
    rng = np.random.default_rng(0)
    x = x + np.where(x.mean(axis=0) < np.median(x.mean(axis=0)), 15, 30) / 255 * rng.normal(size=x.shape)
    assert not is_white(x.astype(np.float32))


@pytest.mark.parametrize(
    "x",
    [np.zeros((3, 7, 400)), np.zeros((0, 64, 64)), np.zeros((3, 64, 64)), np.ones((1, 64, 64)),
     np.full((3, 64, 64), 0.5), np.full((3, 64, 64), np.nan), np.full((3, 64, 64), np.inf),
     np.random.default_rng(0).normal(0.5, 0.1, (3, 12, 12)), np.random.default_rng(0).normal(0.5, 9, (3, 64, 64)),
     np.stack([np.random.default_rng(0).normal(0.5, 0.1, (64, 64)), np.full((64, 64), 0.5)])],
    ids=["low", "no channel", "black", "white", "even", "NaN", "infinite", "tiny", "cut off", "a channel is even"],
)  # fmt: skip
@pytest.mark.filterwarnings("error")
def test_too_little_to_tell_by_is_not(x):
    assert not is_white(x.astype(np.float32))


@pytest.mark.parametrize("stds", [(10, 20, 40), (40, 20, 20), (20, 25, 30)])
def test_channels_of_unlike_strength_are_not(stds):
    x = (
        noisy("gaussian:std=0")
        + np.random.default_rng(0).normal(size=(3, 320, 300)) * np.reshape(stds, (3, 1, 1)) / 255
    )
    assert not is_white(x.astype(np.float32))


def test_noise_that_was_sharpened_or_seen_through_a_mosaic_is_not():
    x = np.full((1, 320, 300), 0.5) + np.random.default_rng(0).normal(0, 20 / 255, (1, 320, 300))
    blurred = (x + np.roll(x, 1, 1) + np.roll(x, -1, 1) + np.roll(x, 1, 2) + np.roll(x, -1, 2)) / 5
    assert is_white(x.astype(np.float32))
    assert not is_white((x + (x - blurred)).astype(np.float32))
    mosaic = x + 0.1 * (np.indices((320, 300)).sum(0) % 2)
    assert not is_white(mosaic.astype(np.float32))


@pytest.mark.parametrize("cuts", [[], [1], [3, 40], list(range(1, 50))])
@pytest.mark.parametrize("rows", [1, 17, 50, 80])
def test_the_first_rows_of_a_picture_are_seen_and_nothing_is_lost(cuts, rows):
    x = np.random.default_rng(0).random((2, 50, 6), dtype=np.float32)
    first, blocks = tiles.peek(np.split(x, cuts, axis=1), rows)
    assert np.array_equal(first, x[:, :rows])
    every = list(blocks)
    assert [block.shape[1] for block in every] == np.diff([0, *cuts, 50]).tolist()
    assert np.array_equal(np.concatenate(every, axis=1), x)


def test_no_more_is_read_than_is_looked_at():
    read = []

    def blocks():
        for n in range(10):
            read.append(n)
            yield np.zeros((1, 4, 5), np.float32)

    tiles.peek(blocks(), 9)
    assert read == [0, 1, 2]
