"""Metrics against closed forms, an independent implementation, and noise of a known level."""

import math

import numpy as np
import pytest
from skimage.metrics import structural_similarity

from denoise_cli.metrics import FLATTEST, NoiseMeter, mse, noise_std, psnr, residual, ssim


def scene(channels: int, height: int, width: int) -> np.ndarray:
    """Slopes, a disc, stripes and a flat floor: what an estimator of noise must tell from noise."""
    y, x = np.mgrid[:height, :width].astype(np.float32) / max(height, width)
    planes = []
    for c in range(channels):
        plane = 0.3 + 0.3 * x + 0.1 * c * y
        plane[(x - 0.4) ** 2 + (y - 0.3) ** 2 < 0.02] = 0.8
        plane += 0.15 * np.sin(200 * x) * (x > 0.7)
        planes.append(plane)
    return np.stack(planes).astype(np.float32)


def spoil(x: np.ndarray, std: float, seed: int = 0) -> np.ndarray:
    """Gaussian noise of ``std`` 8-bit steps, clipped and rounded as a file stores it."""
    noise = np.random.default_rng(seed).normal(0, std, x.shape)
    return (np.clip(np.rint(x * 255 + noise), 0, 255) / 255).astype(np.float32)


# --- PSNR, MSE, residual ----------------------------------------------------------------------------------


def test_a_constant_offset_has_a_closed_form():
    x = np.full((3, 5, 7), 0.25, np.float32)
    assert mse(x, x + 0.5) == 0.25
    assert psnr(x, x + 0.5) == pytest.approx(20 * math.log10(2))
    assert psnr(x * 255, (x + 0.5) * 255, peak=255) == pytest.approx(20 * math.log10(2))
    assert residual(x, x + 0.5) == 127.5


def test_colour_has_one_mse_over_all_channels():
    x, y = np.zeros((3, 4, 4)), np.zeros((3, 4, 4))
    y[0] = 0.3
    assert psnr(x, y) == pytest.approx(-10 * math.log10(0.09 / 3))


def test_equal_pictures_are_infinitely_good():
    x = scene(3, 16, 16)
    assert psnr(x, x.copy()) == math.inf
    assert residual(x, x.copy()) == 0


def test_integers_do_not_wrap_around():
    dark, bright = np.zeros((1, 2, 2), np.uint8), np.full((1, 2, 2), 255, np.uint8)
    assert mse(dark, bright) == 255**2


@pytest.mark.parametrize("metric", [mse, psnr, residual, ssim])
def test_different_shapes_are_refused(metric):
    with pytest.raises(ValueError, match=r"\(1, 16, 16\) and \(3, 16, 16\)"):
        metric(np.zeros((1, 16, 16)), np.zeros((3, 16, 16)))


def test_nothing_is_not_zero_error():
    with pytest.raises(ValueError, match="nothing to compare"):
        mse(np.zeros((1, 0, 4)), np.zeros((1, 0, 4)))


# --- SSIM -------------------------------------------------------------------------------------------------


def reference_ssim(x, y, peak=1.0):
    return structural_similarity(
        *(x.astype(np.float64), y.astype(np.float64)),
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=peak,
        channel_axis=0,
    )


@pytest.mark.parametrize("shape", [(1, 11, 11), (1, 11, 90), (1, 200, 37), (3, 74, 75), (3, 139, 64)])
@pytest.mark.parametrize("std", [2, 50])
def test_ssim_is_that_of_scikit_image(shape, std):
    x = scene(*shape)
    assert ssim(spoil(x, std), x) == pytest.approx(reference_ssim(spoil(x, std), x), abs=1e-6)
    noise = np.random.default_rng(1).random((2, *shape), np.float32)
    assert ssim(*noise) == pytest.approx(reference_ssim(*noise), abs=1e-6)


def test_ssim_knows_its_peak():
    x, y = scene(1, 40, 40), spoil(scene(1, 40, 40), 25)
    assert ssim(x * 255, y * 255, peak=255) == pytest.approx(ssim(x, y))
    assert ssim(x, y, peak=255) > ssim(x, y) + 0.1


def test_ssim_of_itself_is_one():
    assert ssim(scene(3, 70, 30), scene(3, 70, 30)) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("shape", [(1, 10, 64), (1, 64, 10), (0, 20, 20), (20, 20)])
def test_ssim_refuses_what_its_window_does_not_fit(shape):
    with pytest.raises(ValueError, match="at least 11"):
        ssim(np.zeros(shape), np.zeros(shape))


# --- The estimate of noise --------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("std", [5, 10, 15, 25, 50])
def test_noise_is_found_within_a_tenth(channels, std):
    assert noise_std(spoil(scene(channels, 200, 300), std)) == pytest.approx(std, rel=0.1)


@pytest.mark.parametrize("level", [0.0, 1.0])
@pytest.mark.parametrize("std", [15, 50])
def test_noise_that_clips_is_measured_as_if_it_had_not(level, std):
    flat = spoil(np.full((1, 256, 256), level, np.float32), std)
    assert flat.std() * 255 < 0.6 * std  # half of it is gone, see the half-normal distribution
    assert noise_std(flat) == pytest.approx(std, rel=0.2)


def test_clipped_areas_are_not_mistaken_for_the_flattest():
    x = np.full((1, 256, 256), 0.5, np.float32)
    x[:, :, 128:] = 0  # its noise is cut in half: less energy, but no better a place to look
    assert noise_std(spoil(x, 50)) == pytest.approx(50, rel=0.04)


def test_a_clean_picture_has_next_to_none():
    assert noise_std(spoil(scene(3, 200, 300), 0)) < 1
    assert noise_std(np.full((3, 64, 64), 0.5, np.float32)) < 1e-3


def test_a_clean_drawing_in_black_and_white_has_none():
    page = np.ones((1, 120, 160), np.float32)
    page[:, 20::24, 10:150] = 0  # lines
    assert noise_std(page) == 0
    assert noise_std(spoil(page, 25)) == pytest.approx(25, rel=0.2)


def test_a_third_of_pure_black_means_no_noise():
    x = np.random.default_rng(0).random((1, 120, 160), np.float32)
    x[:, :, :60] = 0
    assert noise_std(x) == 0


def test_a_saturated_corner_does_not_hide_the_noise_elsewhere():
    x = spoil(scene(1, 200, 300), 25)
    x[:, :60, :200] = 1
    assert noise_std(x) == pytest.approx(25, rel=0.1)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 5000), (3, 5000, 1), (3, 7, 7), (0, 9, 9), (1, 0, 9)])
def test_what_holds_no_patch_has_no_estimate(shape):
    assert noise_std(np.random.default_rng(0).random(shape, np.float32)) == 0


def test_a_thumbnail_still_has_one():
    estimates = [noise_std(spoil(np.full((1, 28, 28), 0.5, np.float32), 25, seed)) for seed in range(20)]
    assert np.mean(estimates) == pytest.approx(25, rel=0.05)
    assert np.std(estimates) < 2.5


def test_pieces_say_what_the_whole_says():
    x = spoil(scene(3, 640, 300), 25)
    meter = NoiseMeter()
    for top in range(0, 640, 160):
        meter.add(x[:, top : top + 160])
    assert meter.std() == pytest.approx(noise_std(x), rel=0.05)
    assert meter.std() == pytest.approx(25, rel=0.1)


def test_pieces_may_come_in_any_order():
    parts = [spoil(scene(1, 80, 120), 25, seed) for seed in range(5)]
    forth, back = NoiseMeter(), NoiseMeter()
    for part in parts:
        forth.add(part)
    for part in reversed(parts):
        back.add(part)
    assert forth.std() == pytest.approx(back.std(), rel=1e-5)


def test_rows_too_few_for_a_patch_are_joined():
    x = spoil(scene(1, 96, 200), 25)
    meter = NoiseMeter()
    for top in range(0, 96, 3):
        meter.add(x[:, top : top + 3])
    assert meter.std() == pytest.approx(25, rel=0.1)


def test_the_meter_does_not_grow():
    meter = NoiseMeter()
    for seed in range(4):
        meter.add(spoil(scene(1, 64, 64), 25, seed))
    held = [v for v in vars(meter).values() if isinstance(v, np.ndarray)]
    assert max(len(v) for v in held) == FLATTEST


def test_the_meter_keeps_no_view_of_a_block_that_is_used_again():
    block = spoil(np.full((1, 4, 200), 0.5, np.float32), 25)
    meter = NoiseMeter()
    meter.add(block)
    meter.add(block)
    expected = meter.std()
    again, scratch = NoiseMeter(), block.copy()
    again.add(scratch)
    scratch[:] = 0.5
    again.add(block)
    assert again.std() == expected > 0


def test_the_same_picture_always_reads_the_same():
    x = spoil(scene(3, 120, 90), 15)
    assert noise_std(x) == noise_std(x.copy())


def test_a_recording_is_no_picture():
    with pytest.raises(ValueError, match=r"\(C, H, W\)"):
        NoiseMeter().add(np.zeros((1, 100), np.float32))
