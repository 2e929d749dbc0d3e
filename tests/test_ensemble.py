"""The mean over mirrored and turned copies: each is another one, and each is undone."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import scene

from denoise_cli import denoise, ensemble
from denoise_cli.denoise import Options
from denoise_cli.errors import UsageError
from denoise_cli.session import Session


def ramp(height: int = 16, width: int = 24) -> np.ndarray:
    return np.random.default_rng(0).random((1, 3, height, width), dtype=np.float32)


@pytest.mark.parametrize("size", ensemble.SIZES)
def test_every_copy_is_another_one_and_is_undone(size):
    seen = []

    def model(x: np.ndarray) -> np.ndarray:
        seen.append(x.copy())
        return x.copy()

    x = ramp()
    assert np.allclose(ensemble.mean(model, x, 8, size), x, atol=1e-6)
    assert len(seen) == size
    assert len({(copy.shape, copy.tobytes()) for copy in seen}) == size
    assert all(np.array_equal(np.sort(copy, axis=None), np.sort(x, axis=None)) for copy in seen)


def test_of_one_copy_the_bytes_are_those_of_the_model():
    x = ramp()
    assert np.array_equal(ensemble.mean(lambda copy: copy * 2 - 1, x, 8), x * 2 - 1)


def test_a_model_that_leans_to_a_side_leans_no_more_after_all_eight():
    lean = np.linspace(0, 1, 16, dtype=np.float32)

    def model(x: np.ndarray) -> np.ndarray:
        return x + lean[: x.shape[-1]]

    x = np.zeros((1, 1, 16, 16), np.float32)
    both = ensemble.mean(model, x, 8, 2)
    assert np.allclose(both, 0.5, atol=1e-6), "its mirror image leans the other way"
    assert np.allclose(ensemble.mean(model, x, 8, 8), 0.5, atol=1e-6)


def test_a_picture_of_any_size_is_extended_once_for_all_copies():
    shapes = []

    def model(x: np.ndarray) -> np.ndarray:
        shapes.append(x.shape[-2:])
        return x.copy()

    x = ramp(13, 21)
    assert np.allclose(ensemble.mean(model, x, 8, 8), x, atol=1e-6)
    assert set(shapes) == {(16, 24), (24, 16)}


def test_tiles_and_threads_change_nothing(model):
    session, x = Session(model, "cpu"), scene(220, 300)
    whole = denoise.array(x, session, Options(ensemble=4, threads=1))
    assert not np.array_equal(whole, denoise.array(x, session))
    tiled = denoise.array(x, session, Options(ensemble=4, tile=64))
    assert np.abs(tiled - whole).max() < 0.01 / 255
    assert np.array_equal(denoise.array(x, session, Options(ensemble=4, tile=64, threads=2)), tiled)


def test_other_sizes_are_refused():
    with pytest.raises(UsageError, match="--ensemble must be one of 1, 2, 4, 8, not 3"):
        Options(ensemble=3)
    with pytest.raises(UsageError, match="leave --strength, --ensemble and --atten-lim out"):
        Options(ensemble=2, flag=True)
