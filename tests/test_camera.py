"""The noise of a camera: closed forms of its variance and correlation, step by step, and the file as a whole."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from conftest import scene

from denoise_cli.corrupt import Camera, parse
from denoise_cli.corrupt.camera import linear, toned
from denoise_cli.corrupt.draws import Span, draws_for
from denoise_cli.corrupt.mosaic import passes, smoothed
from denoise_cli.errors import InputError, UsageError
from denoise_cli.signal import Header

# Everything after the sensor switched off: noise at each pixel and channel, in light.
BARE = {"mosaic": 0, "luma": 0, "chroma": 0, "red": 1, "blue": 1, "saturation": 1, "contrast": 1, "demosaic": 0}
FIXED = "camera:shot=0.002,read=0.0001,red=2,blue=1.6,demosaic=0.5,luma=0.7,chroma=2,saturation=1.3,contrast=1.4"


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def flat(light, side: int = 256, contrast: float = 1.0, tint: float = 1e-5) -> np.ndarray:
    """A picture whose channels hold so much light, (3, side, side); a hint of colour keeps it from being gray."""
    colour = (np.float32(light) + np.float32([tint, 0, -tint])).reshape(3, 1, 1)
    return np.broadcast_to(toned(colour, contrast), (3, side, side)).copy()


def noise_of(camera: Camera, light, side: int = 256, library: str = "numpy") -> np.ndarray:
    """What is added to light: (3, side, side)."""
    contrast = camera.contrast.value
    x = flat(light, side, contrast)
    if library == "numpy":
        noisy = camera(x, rng())
    else:
        noisy = camera(torch.from_numpy(x)[None], torch.Generator().manual_seed(0))[0].numpy()
    return linear(noisy, contrast) - linear(x, contrast)


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def beside(noise: np.ndarray, lag: int = 1) -> float:
    return correlation(noise[..., lag:], noise[..., :-lag])


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_in_light_the_variance_is_shot_times_signal_plus_read(library):
    camera = Camera(shot=0.001, read=0.0002, **BARE)
    for light in (0.2, 0.4, 0.7):
        noise = noise_of(camera, light, library=library)
        assert noise.var() == pytest.approx(0.001 * light + 0.0002, rel=0.02)
        assert abs(beside(noise)) < 0.01
        assert abs(correlation(noise[0], noise[1])) < 0.02


def test_white_balance_amplifies_red_and_blue():
    noise = noise_of(Camera(shot=0.001, read=0.0002, **{**BARE, "red": 2, "blue": 1.5}), 0.5)
    expected = [2**2 * (0.001 * 0.5 / 2 + 0.0002), 0.001 * 0.5 + 0.0002, 1.5**2 * (0.001 * 0.5 / 1.5 + 0.0002)]
    assert noise.var(axis=(1, 2)) == pytest.approx(expected, rel=0.03)


def test_a_sensor_sees_paler_colours_and_the_matrix_drives_their_noise_apart():
    light, shot = np.array([0.6, 0.3, 0.3]), 0.001
    noise = noise_of(Camera(shot=shot, read=0, **{**BARE, "saturation": 2}), light)
    weights = np.array([0.299, 0.587, 0.114])
    gray = weights @ light
    variance = shot * (gray + (light - gray) / 2)
    matrix = 2 * np.eye(3) - weights  # x -> luma + 2 (x - luma)
    expected = matrix @ np.diag(variance) @ matrix.T
    assert np.allclose(np.cov(noise.reshape(3, -1)), expected, atol=0.02 * expected.max())


def test_bilinear_demosaicking_correlates_neighbours_as_its_weights_say_and_no_colours():
    noise = noise_of(Camera(shot=0, read=0.0004, **{**BARE, "mosaic": 1}), 0.4, side=512)
    # Half of green is seen and half the mean of four; along a row, half of red is seen and half the mean of two.
    assert noise.var(axis=(1, 2)) == pytest.approx(0.0004 * np.array([0.75**2, 0.625, 0.75**2]), rel=0.02)
    assert [beside(plane) for plane in noise] == pytest.approx([2 / 3, 0.4, 2 / 3], abs=0.02)
    assert [beside(plane, 2) for plane in noise] == pytest.approx([1 / 6, 0.05, 1 / 6], abs=0.02)
    assert [beside(plane.T) for plane in noise] == pytest.approx([2 / 3, 0.4, 2 / 3], abs=0.02)
    assert abs(correlation(noise[0], noise[1])) < 0.02


def test_interpolating_differences_from_green_leaves_noise_in_common():
    noise = noise_of(Camera(shot=0, read=0.0004, **{**BARE, "mosaic": 1, "demosaic": 1}), 0.4)
    assert correlation(noise[0], noise[1]) > 0.2
    assert correlation(noise[0], noise[2]) > 0.2


def test_where_the_pattern_begins_differs_from_sample_to_sample():
    camera = Camera(shot=0, read=0.0004, **{**BARE, "mosaic": 1})
    batch = torch.from_numpy(flat(0.4, 32)).repeat(64, 1, 1, 1)
    red = linear(camera(batch, torch.Generator().manual_seed(0)).numpy(), 1.0)[:, 0] - 0.4
    power = np.square(red).reshape(64, 16, 2, 16, 2).mean(axis=(1, 3)).reshape(64, 4)
    assert set(power.argmax(1)) == {0, 1, 2, 3}


@pytest.mark.parametrize("sigma", [0.3, 0.7, 1.0, 2.0, 4.0, 6.5])
def test_smoothing_has_the_sigma_that_is_asked_for_and_keeps_the_mean(sigma):
    reach = passes(Span(0, 6.5))
    point = np.zeros((1, 81, 81))
    point[0, 40, 40] = 1
    kernel = smoothed(point, sigma, reach)[0]
    distance = np.arange(len(kernel)) - len(kernel) // 2
    assert kernel.sum() == pytest.approx(1)
    assert kernel.sum(0) @ distance**2 == pytest.approx(sigma**2)
    assert kernel.min() >= 0
    few = passes(Span(0, sigma))  # the passes that such a sigma needs; the others change nothing
    spare = sum(reach) - sum(few)
    shorter = smoothed(point, sigma, few)[0]
    assert np.allclose(shorter[spare : len(shorter) - spare, spare : len(shorter) - spare], kernel)


def test_chroma_is_smoothed_apart_from_luma():
    sharp = Camera(shot=0, read=0.0004, **BARE)
    smooth = Camera(shot=0, read=0.0004, **{**BARE, "chroma": 3})
    weights = np.array([0.299, 0.587, 0.114], np.float32)
    for camera, lags in ((sharp, [0, 0]), (smooth, [0, np.exp(-(2**2) / (4 * 3**2))])):
        noise = noise_of(camera, 0.4)
        luma = np.tensordot(weights, noise, 1)
        assert [beside(luma, 2), beside(noise[2] - luma, 2)] == pytest.approx(lags, abs=0.05)
        assert luma.var() == pytest.approx(0.0004 * (weights @ weights), rel=0.03)


def test_in_light_the_mean_is_that_of_the_picture():
    camera = parse(FIXED).parts[0]
    for light in (0.1, 0.3, 0.7):
        noise = noise_of(camera, light, side=512)
        assert abs(noise.mean(axis=(1, 2))).max() < 0.02 * noise.std()


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_without_noise_the_picture_stays_as_it_is(library):
    x = scene(48, 64)
    x[:, 0], x[:, 1] = 0, 1
    if library == "numpy":
        same = Camera(shot=0)(x, rng())
    else:
        same = Camera(shot=0)(torch.from_numpy(x), torch.Generator().manual_seed(0)).numpy()
    assert abs(same - x).max() * 255 < 0.001


def test_the_tone_curve_is_nearly_that_of_srgb_and_its_inverse_is_one():
    y = np.linspace(0, 1, 1000, dtype=np.float32)
    srgb = np.where(y <= 0.04045, y / 12.92, ((y + 0.055) / 1.055) ** 2.4)
    assert abs(linear(y, 1.0) - srgb).max() < 1e-3
    for contrast in (1.0, 1.5, 3.0):
        assert np.allclose(toned(linear(y, contrast), contrast), y, atol=1e-5)
    assert np.gradient(toned(linear(y, 1.0), 2.0), y)[500] == pytest.approx(2, rel=0.01)


def test_what_is_noisy_is_clipped():
    noisy = Camera(shot=0.5)(np.concatenate([flat(0, 64), flat(1, 64)], axis=2), rng())
    assert (noisy.min(), noisy.max()) == (pytest.approx(0, abs=1e-4), pytest.approx(1))


def test_the_same_seed_gives_the_same_noise_and_another_seed_another():
    x = flat(0.3, 64)
    batch = torch.from_numpy(x)[None]
    assert np.array_equal(Camera()(x, rng(1)), Camera()(x, rng(1)))
    assert not np.array_equal(Camera()(x, rng(1)), Camera()(x, rng(2)))
    one, same, other = (Camera()(batch, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_numpy_and_torch_agree_and_so_does_a_stream():
    camera, light = parse(FIXED).parts[0], [0.5, 0.3, 0.2]
    noises = [noise_of(camera, light, 384, library) for library in ("numpy", "torch")]
    hit = camera.stream(Header("image", 3, 384, 384), rng())
    x = flat(light, 384, 1.4)
    noises.append(linear(np.concatenate([hit(x[:, :176]), hit(x[:, 176:])], axis=1), 1.4) - linear(x, 1.4))
    expected, *others = [
        [
            *noise.std(axis=(1, 2)) * 10,
            *map(beside, noise),
            correlation(noise[0], noise[1]),
            correlation(*noise[1:]),
        ]
        for noise in noises
    ]
    for other in others:
        assert other == pytest.approx(expected, abs=0.03)


def test_no_seam_shows_between_blocks_of_any_height():
    x = flat(0.4, 500)
    hit = parse("camera:shot=0.002,luma=1,chroma=0,contrast=1").stream(Header("image", 3, 500, 500), rng())
    cuts = [0, 64, 128, 160, 161, 163, 300, 500]
    blocks = [hit(x[:, top:bottom]) for top, bottom in pairwise(cuts)]
    noise = (np.concatenate(blocks, axis=1) - x)[1]
    power = np.square(noise).mean(1)
    down = (noise[1:] * noise[:-1]).mean(1) / power.mean()  # the correlation of each row with the next
    seams = [cut - 1 for cut in cuts[1:-1]] + [cut - 1 for cut in range(64, 500, 64)]
    assert down.mean() > 0.5
    assert down[seams].min() > down.mean() - 5 * down.std()
    assert power[cuts[1:-1]] == pytest.approx(power.mean(), rel=0.35)


def test_the_pattern_goes_on_from_block_to_block():
    camera = Camera(shot=0, read=0.0004, **{**BARE, "mosaic": 1})
    x = flat(0.4, 300)
    hit = camera.stream(Header("image", 3, 300, 300), rng())
    green = linear(np.concatenate([hit(x[:, :33]), hit(x[:, 33:200]), hit(x[:, 200:])], axis=1), 1.0)[1] - 0.4
    odd = (np.indices(green.shape).sum(0) % 2).astype(bool)
    weak, strong = sorted((green[odd].var(), green[~odd].var()))
    assert [weak, strong] == pytest.approx([0.0001, 0.0004], rel=0.03)


def test_gray_stays_gray_and_is_the_luma_of_colour():
    x = np.stack([flat(0.4, tint=0), flat(0.4)])
    camera = Camera(shot=0.002, read=0, red=2, blue=2, demosaic=1, luma=0.5, chroma=2, saturation=1, contrast=1)
    for noisy in (camera(x, rng()), camera(torch.from_numpy(x), torch.Generator().manual_seed(0)).numpy()):
        assert np.array_equal(noisy[0, 0], noisy[0, 1])
        assert np.array_equal(noisy[0, 0], noisy[0, 2])
        assert not np.array_equal(noisy[1, 0], noisy[1, 1])
        gray, colour = (linear(noisy, 1.0) - linear(x, 1.0)).astype(np.float64)
        luma = np.tensordot([0.299, 0.587, 0.114], colour, 1)
        assert gray[0].std() == pytest.approx(luma.std(), rel=0.03)
        assert beside(gray[0]) == pytest.approx(beside(luma), abs=0.02)
    single = camera(x[0, :1], rng(0))
    assert single.shape == (1, 256, 256)
    assert (linear(single, 1.0) - 0.4).std() == pytest.approx(gray[0].std(), rel=0.03)
    hit = camera.stream(Header("image", 1, 256, 256), rng())
    assert (linear(hit(x[0, :1]), 1.0) - 0.4).std() == pytest.approx(gray[0].std(), rel=0.03)


def test_every_sample_has_a_camera_of_its_own():
    batch = torch.from_numpy(flat(0.4, 64)).repeat(32, 1, 1, 1)
    noise = (Camera()(batch, torch.Generator().manual_seed(0)) - batch).numpy()
    levels = noise.std(axis=(1, 2, 3)) * 255
    assert len(np.unique(levels)) == 32
    assert levels.min() < 3
    assert levels.max() > 6


def test_shot_noise_is_drawn_from_its_logarithm_and_read_noise_goes_with_it():
    generator = rng()
    shots = np.log([Camera().drawn(generator).shot.value for _ in range(2000)])
    place = (shots - np.log(0.0001)) / (np.log(0.012) - np.log(0.0001))
    assert [place.min(), place.mean(), place.max()] == pytest.approx([0, 0.5, 1], abs=0.02)
    light = flat(0.1, 8)
    draws = [draws_for(light, rng(seed)) for seed in range(500)]
    read = np.log([Camera(shot=0.004)._exposure(one).read for one in draws])
    assert read.mean() == pytest.approx(2.18 * np.log(0.004) + 1.20, abs=0.04)
    assert read.std() == pytest.approx(0.26, rel=0.1)


@pytest.mark.parametrize("shape", [(3, 1, 1), (1, 1, 5), (3, 2, 40), (3, 7, 3)])
@pytest.mark.parametrize("mosaic", [0, 1])
def test_tiny_pictures(shape, mosaic):
    x = np.full(shape, 0.5, np.float32)
    camera = Camera(mosaic=mosaic)
    hit = camera.stream(Header("image", *shape), rng())
    for noisy in (camera(x, rng()), hit(x), hit(x), camera(torch.from_numpy(x)[None], None)[0].numpy()):
        assert noisy.shape == shape
        assert noisy.dtype == np.float32
        assert np.isfinite(noisy).all()


def test_p_is_the_share_of_files_and_of_samples():
    x = np.full((3, 8, 8), 0.5, np.float32)
    header = Header("image", 3, 8, 8)
    files = [np.array_equal(parse("camera:p=0.3").stream(header, rng(seed))(x), x) for seed in range(300)]
    assert np.mean(files) == pytest.approx(0.7, abs=0.08)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("camera:mosaic=0.5", "mosaic must be 0 or 1"),
        ("camera:shot=0-0.1", "above 0"),
        ("camera:chroma=9", "in 0..6.5"),
        ("camera:contrast=0.5", "in 1..5"),
        ("camera:iso=100", "choose from shot, read"),
    ],
)
def test_a_camera_that_cannot_be_is_refused(spec, said):
    with pytest.raises(UsageError, match=said):
        parse(spec)


def test_a_camera_sees_gray_or_rgb_and_nothing_else():
    with pytest.raises(InputError, match="this has 4 channels"):
        parse("camera").check(Header("image", 4, 8, 8))
    with pytest.raises(InputError, match="camera is for pictures"):
        parse("camera").check(Header("audio", 1, 8, rate=8000))
    with pytest.raises(UsageError, match="this has 2 channels"):
        parse("camera")(np.zeros((2, 8, 8), np.float32), rng())
