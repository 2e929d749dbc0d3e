"""The error that a model leaves, told without the clean picture; and which of two models serves by it."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from conftest import scene

from denoise_cli import sight
from denoise_cli.corrupt import parse
from denoise_cli.metrics import probed, risks

STD = 25 / 255


def shrunk(weight: float):
    """A denoiser: so much of each pixel, the rest from the mean over 5 x 5 of them."""

    def apply(x: np.ndarray) -> np.ndarray:
        moved = [np.roll(x, (dy, dx), (1, 2)) for dy in range(-2, 3) for dx in range(-2, 3)]
        return weight * x + (1 - weight) * np.mean(moved, axis=0, dtype=x.dtype)

    return apply


def estimated(x: np.ndarray, models) -> list[float]:
    return risks(x, STD, [(model(x), model(probed(x, STD))) for model in models])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("cut", [False, True], ids=["as it is", "cut at 0 and 1"])
@pytest.mark.parametrize("brightness", [0.5, 0.02, 0.97])
def test_the_difference_of_two_errors_is_told_without_the_clean_picture(channels, cut, brightness):
    clean = (brightness + 0.1 * (scene(192, 192, channels) - 0.5)).clip(0, 1)
    noisy = clean + STD * np.random.default_rng(1).standard_normal(clean.shape, dtype=np.float32)
    if cut:
        noisy = noisy.clip(0, 1)
    models = [shrunk(weight) for weight in (0.0, 0.3, 0.8)]
    real = [np.square((model(noisy) - clean) / STD).mean() for model in models]
    found = estimated(noisy, models)
    assert np.subtract(found, found[0]) == pytest.approx(np.subtract(real, real[0]), abs=0.06)
    assert np.argsort(found).tolist() == np.argsort(real).tolist()


def test_the_probe_is_the_same_on_every_call_and_small():
    x = scene(64, 64)
    assert np.array_equal(probed(x, STD), probed(x, STD))
    assert np.abs(probed(x, STD) - x) == pytest.approx(np.full(x.shape, 0.1 * STD), abs=1e-6)


def session(apply, multiple: int = 4) -> SimpleNamespace:
    return SimpleNamespace(card=SimpleNamespace(multiple=multiple), apply=apply)


def compute(model, x):
    return model.apply(x)


@pytest.mark.parametrize("best", [0, 1, 2])
def test_the_model_that_leaves_least_is_found_where_its_place_is(best):
    noisy = parse("gaussian:std=25+quantise")(scene(300, 260), np.random.default_rng(0)).astype(np.float32)
    weights = [0.5, 0.5, 0.5]
    weights[best] = 0.1
    models = [session(shrunk(weight)) for weight in weights]
    assert sight.better(noisy, ((0, 1, 2),), [STD], models, compute) == best


def test_of_several_bands_all_count():
    noisy = parse("gaussian:std=25")(scene(300, 260, 2), np.random.default_rng(0)).astype(np.float32)
    keen, idle = session(shrunk(0.1)), session(lambda x: x)
    first = sight.piece(noisy, 4)[0, :2, :2]
    mixed = session(lambda x: shrunk(0.1)(x) if np.abs(x[0, :2, :2] - first).max() < 0.02 else x + 0.3)
    assert sight.better(noisy, ((0,), (1,)), [STD, STD], [idle, keen], compute) == 1
    assert sight.better(noisy, ((0,),), [STD], [idle, mixed], compute) == 1
    assert sight.better(noisy, ((0,), (1,)), [STD, STD], [idle, mixed], compute) == 0


def test_what_is_too_small_to_tell_by_gets_the_first():
    def forbidden(model, x):
        raise AssertionError("nothing is computed")

    noisy = parse("gaussian:std=25")(scene(40, 400), np.random.default_rng(0)).astype(np.float32)
    assert sight.better(noisy, ((0, 1, 2),), [STD], [session(None), session(None)], forbidden) == 0


@pytest.mark.parametrize("size", [(3, 48, 48), (1, 61, 300), (3, 513, 700), (1, 262, 4000)])
@pytest.mark.parametrize("multiple", [1, 4, 12])
def test_the_piece_is_on_the_grid_of_the_models_and_a_small_part(size, multiple):
    x = np.random.default_rng(0).random(size, dtype=np.float32)
    part = sight.piece(x, multiple)
    assert all(length % multiple == 0 for length in part.shape[1:])
    assert part.shape[1] * part.shape[2] <= max(x.shape[1] * x.shape[2] / sight.PIECE, sight.LEAST**2)


def test_the_piece_is_where_most_is_to_be_seen():
    x = np.full((1, 600, 600), 0.5, np.float32)
    x[:, 400:, 400:] = np.random.default_rng(0).random((200, 200))
    assert sight.piece(x, 8).var() > 0.05
