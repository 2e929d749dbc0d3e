"""Evaluation: the right pairs, the noise of `denoise corrupt`, and scores as a file would have them."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from conftest import read_png, scene, write_png
from PIL import Image

from denoise_cli import evaluate, noising
from denoise_cli.corrupt import parse
from denoise_cli.errors import BackendError, UsageError
from denoise_cli.evaluate import Pair, PictureRow, means, pairs, sweep
from denoise_cli.media import SUFFIXES, files, image
from denoise_cli.metrics import psnr, ssim


def score(matched, denoiser=None, noise=None, **options) -> list:
    return list(evaluate.evaluate(matched, denoiser, None if noise is None else parse(noise), **options))


def test_pairs_are_matched_by_relative_path(folder, tmp_path):
    for name in ("a.png", "sub/b.png"):
        write_png(tmp_path / "noisy" / name, scene(20, 20))
    assert pairs(tmp_path / "noisy", folder) == [
        Pair("a.png", folder / "a.png", tmp_path / "noisy" / "a.png"),
        Pair("sub/b.png", folder / "sub/b.png", tmp_path / "noisy" / "sub/b.png"),
    ]


def test_what_is_left_out_is_said_and_what_cannot_be_entered_is_refused(folder, tmp_path, monkeypatch):
    (folder / "gone.png").symlink_to("nowhere")
    said = []
    assert len(pairs(None, folder, say=said.append)) == 4
    assert said == [f"{folder / 'gone.png'}: left out, dangling link"]
    found = files.Found(missing=[("closed", "permission denied")])
    monkeypatch.setattr(files, "find", lambda *given, **more: found)
    with pytest.raises(UsageError, match="closed: permission denied"):
        pairs(None, folder)


def test_pairs_are_matched_without_the_suffix_where_it_differs(folder, tmp_path):
    Image.new("RGB", (64, 64)).save(write_png(tmp_path / "noisy/sub/b.png", scene(2, 2)).with_suffix(".jpg"))
    (tmp_path / "noisy/sub/b.png").unlink()
    assert [pair.clean for pair in pairs(tmp_path / "noisy", folder)] == [folder / "sub/b.png"]


def test_an_exact_name_goes_before_a_stem(folder, tmp_path):
    write_png(tmp_path / "noisy/a.png", scene(20, 20))
    Image.new("RGB", (64, 64)).save(folder / "a.jpg")
    assert [pair.clean for pair in pairs(tmp_path / "noisy", folder)] == [folder / "a.png"]


def test_a_stem_that_fits_two_files_is_refused(folder, tmp_path):
    Image.new("RGB", (64, 64)).save(folder / "a.jpg")
    write_png(tmp_path / "noisy/a.png", scene(20, 20)).rename(tmp_path / "noisy/a.bmp")
    with pytest.raises(UsageError, match="2 files of that name"):
        pairs(tmp_path / "noisy", folder)


def test_a_noisy_file_without_a_partner_is_refused(folder, tmp_path):
    stray = write_png(tmp_path / "noisy/sub/stray.png", scene(20, 20))
    with pytest.raises(UsageError, match="no file of that name") as caught:
        pairs(tmp_path / "noisy", folder)
    assert str(stray) in str(caught.value)


def test_clean_files_without_a_noisy_one_are_left_out_and_alone_they_are_all_taken(folder, tmp_path):
    write_png(tmp_path / "noisy/a.png", scene(20, 20))
    assert len(pairs(tmp_path / "noisy", folder)) == 1
    assert [pair.name for pair in pairs(None, folder)] == ["a.png", "gray.png", "sub/b.png", "sub/deep/c.png"]


def test_two_files_are_a_pair_whatever_their_names(folder):
    (pair,) = pairs(folder / "a.png", folder / "sub/b.png")
    assert (pair.clean, pair.noisy) == (folder / "sub/b.png", folder / "a.png")


def test_what_cannot_be_paired_is_refused(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no such file or folder"):
        pairs(tmp_path / "absent", folder)
    with pytest.raises(UsageError, match="no pictures"):
        pairs(None, tmp_path / "empty")
    with pytest.raises(UsageError, match="two files or two folders"):
        pairs(folder / "a.png", folder)


def test_a_sweep_puts_each_value_into_the_first_part_that_has_the_option():
    swept = sweep(parse("quantise:bits=6+gaussian:std=1,mean=3+speckle:std=0.5"), "std=15,25,0-50")
    assert [(label, str(chain)) for label, chain in swept] == [
        ("std=15", "quantise:bits=6+gaussian:std=15,mean=3+speckle:std=0.5"),
        ("std=25", "quantise:bits=6+gaussian:mean=3+speckle:std=0.5"),  # 25 is the default
        ("std=0-50", "quantise:bits=6+gaussian:std=0-50,mean=3+speckle:std=0.5"),
    ]


@pytest.mark.parametrize("setting", ["std", "std=", "std=a", "peak=3", "=3", "", "std=-1"])
def test_a_sweep_of_nothing_is_refused(setting):
    with pytest.raises(UsageError):
        sweep(parse("gaussian"), setting)


@pytest.mark.parametrize("spec", ["gaussian:std=25", "gaussian:std=0-55", "salt-pepper+gaussian:std=10,p=0.5"])
def test_the_noise_is_that_of_corrupt_with_the_same_seed(folder, tmp_path, spec):
    found = files.find([str(folder)], str(tmp_path / "noisy"), tag="noisy", suffixes=SUFFIXES)
    for result in noising.run(found.jobs, parse(spec), seed=7):
        assert result.error is None
    for made in score(pairs(None, folder), noise=spec, seed=7):
        written = image.read(tmp_path / "noisy" / made.pair.name).data
        assert np.array_equal(made.noisy, written)
        assert not np.array_equal(made.noisy, made.clean)


@pytest.mark.parametrize("blocks", [1, 3])
def test_the_noise_is_that_of_corrupt_in_frames_and_in_pictures_of_many_blocks(tmp_path, monkeypatch, blocks):
    frames = [Image.fromarray((scene(48, 50, seed=n) * 255).astype(np.uint8).transpose(1, 2, 0)) for n in range(3)]
    frames[0].save(tmp_path / "a.tif", save_all=True, append_images=frames[1:] if blocks == 1 else [])
    if blocks > 1:
        monkeypatch.setattr(image, "BLOCK_SAMPLES", 48 * 50 * 3 // blocks)
    found = files.find([str(tmp_path / "a.tif")], None, tag="noisy", suffixes=SUFFIXES)
    assert [result.error for result in noising.run(found.jobs, parse("gaussian:std=25"), seed=7)] == [None]
    (made,) = score(pairs(None, tmp_path / "a.tif"), noise="gaussian:std=25", seed=7)
    assert np.array_equal(made.noisy, image.read(tmp_path / "a.noisy.tif").data)


def test_a_picture_smaller_than_the_window_of_ssim_has_its_psnr_alone(tmp_path):
    for sides, there in (((1, 50), False), ((11, 10), False), ((11, 11), True)):
        (item,) = score(pairs(None, write_png(tmp_path / "a.png", scene(*sides))), noise="gaussian")
        assert item.row.psnr == item.row.noisy_psnr == psnr(item.noisy, item.clean)
        assert (item.row.ssim is not None, item.row.noisy_ssim is not None) == (there, there)
        note = f"no SSIM: it needs at least 11x11 pixels, and this has {sides[1]}x{sides[0]}"
        assert item.notes == (() if there else (note,))


def test_the_mean_ssim_is_that_of_the_pictures_that_have_one():
    rows = [
        PictureRow("a", "", 10.0, 0.5, 20.0, 0.25, 9, 1.0),
        PictureRow("small", "", 20.0, None, 30.0, None, 9, 1.0),
    ]
    mean = means(rows)
    assert (mean["noisy_psnr"], mean["noisy_ssim"], mean["psnr"], mean["ssim"]) == (15, 0.5, 25, 0.25)
    assert math.isnan(means(rows[1:])["ssim"])


def test_a_made_noise_scores_as_the_file_of_it(folder, tmp_path):
    found = files.find([str(folder)], str(tmp_path / "noisy"), tag="noisy", suffixes=SUFFIXES)
    list(noising.run(found.jobs, parse("gaussian:std=40"), seed=3))
    made = [item.row for item in score(pairs(None, folder), noise="gaussian:std=40", seed=3)]
    read = [item.row for item in score(pairs(tmp_path / "noisy", folder))]
    assert [(r.file, r.psnr, r.ssim) for r in made] == [(r.file, r.psnr, r.ssim) for r in read]


def test_unclipped_noise_is_scored_as_it_is(tmp_path):
    path = write_png(tmp_path / "a.png", np.ones((3, 200, 200), np.float32))
    (clipped,) = score(pairs(None, path), noise="gaussian:std=25")
    (bare,) = score(pairs(None, path), noise="gaussian:std=25", clip=False)
    assert bare.row.noisy_psnr == pytest.approx(20 * math.log10(255 / 25), abs=0.1)
    assert clipped.row.noisy_psnr == pytest.approx(bare.row.noisy_psnr + 10 * math.log10(2), abs=0.1)


def test_without_a_denoiser_the_input_is_scored(folder):
    for item in score(pairs(None, folder), noise="gaussian:std=25"):
        assert (item.row.psnr, item.row.ssim) == (item.row.noisy_psnr, item.row.noisy_ssim)
        assert item.row.psnr == psnr(item.noisy, item.clean)
        assert item.row.ssim == ssim(item.noisy, item.clean)
        assert np.array_equal(item.denoised, item.noisy)


def test_a_perfect_denoiser_scores_infinity(folder):
    (pair,) = pairs(None, folder / "a.png")
    (item,) = score([pair], lambda x: image.read(pair.clean).data, "gaussian:std=25")
    assert (item.row.psnr, item.row.ssim) == (math.inf, pytest.approx(1))
    assert item.row.noisy_psnr < 25


def test_pictures_that_are_stored_turned_are_scored_as_they_are_shown(tmp_path):
    rng = np.random.default_rng(0)
    clean = (255 * np.moveaxis(scene(40, 60), 0, 2)).astype(np.uint8)
    noisy = np.clip(clean + rng.normal(0, 25, clean.shape), 0, 255).astype(np.uint8)
    Image.fromarray(clean).save(tmp_path / "clean.png")
    Image.fromarray(noisy).save(tmp_path / "upright.png")
    (plain,) = score(pairs(tmp_path / "upright.png", tmp_path / "clean.png"))
    for orientation, stored in ((3, noisy[::-1, ::-1]), (6, np.rot90(noisy)), (8, np.rot90(noisy, -1))):
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "turned.png", exif=exif)
        (turned,) = score(pairs(tmp_path / "turned.png", tmp_path / "clean.png"))
        assert turned.row.noisy_psnr == pytest.approx(plain.row.noisy_psnr, abs=1e-9)


def test_results_are_scored_clipped_and_rounded_to_the_depth_of_the_file(folder):
    (pair,) = pairs(folder / "a.png", folder / "a.png")
    (item,) = score([pair], lambda noisy: noisy.data + 0.4 / 255)  # less than half a step: a file would not know
    assert item.row.psnr == math.inf
    (item,) = score([pair], lambda noisy: noisy.data * 0 + 7)
    assert item.denoised.max() == 1


def test_float_pictures_are_scored_as_they_are_written_beyond_full_scale_too(tmp_path):
    clean = 2 * scene(30, 40, 1)[0] - 0.3
    noisy = clean + np.float32(0.1)
    for name, x in (("clean", clean), ("noisy", noisy)):
        Image.fromarray(x).save(tmp_path / f"{name}.tif")
    both = pairs(tmp_path / "noisy.tif", tmp_path / "clean.tif")
    for denoiser, wanted in ((None, 20), (lambda signal: signal.data - np.float32(0.09), 40)):
        (row,) = (scored.row for scored in score(both, denoiser))
        assert row.noisy_psnr == pytest.approx(20, abs=0.01)
        assert row.psnr == pytest.approx(wanted, abs=0.01)


def test_noise_made_on_a_float_picture_is_that_of_corrupt(tmp_path):
    clean = 2 * scene(30, 40, 1)[0] - 0.3
    Image.fromarray(clean).save(tmp_path / "clean.tif")
    (made,) = score(pairs(None, tmp_path / "clean.tif"), noise="gaussian:std=25")
    assert made.row.noisy_psnr == pytest.approx(20.17, abs=0.5)
    assert made.noisy.max() > 1.5


def test_a_denoiser_that_is_out_of_order_ends_all(folder):
    def fail(x):
        raise BackendError("no device")

    with pytest.raises(BackendError):
        score(pairs(folder, folder), fail)


def test_files_that_cannot_be_scored_say_why_and_the_others_are_scored(folder, tmp_path):
    write_png(tmp_path / "noisy/a.png", read_png(folder / "a.png") / 255)
    write_png(tmp_path / "noisy/gray.png", scene(48, 51, 1))
    (tmp_path / "noisy/sub").mkdir()
    (tmp_path / "noisy/sub/b.png").write_text("no picture\n")
    a, gray, b = score(pairs(tmp_path / "noisy", folder))
    assert a.row.psnr == math.inf
    assert isinstance(gray, evaluate.Failed)
    assert gray.error == "gray.png: noisy is 51x48 with 1 channels, clean is 50x48 with 1 channels"
    assert "b.png" in b.error


def test_means_are_means_and_infinity_stays():
    rows = [PictureRow(str(n), "", 10.0 * n, 0.5, 20.0, n / 4, 1_000_000, float(n)) for n in (1, 3)]
    assert means(rows) == {
        "noisy_psnr": 20, "noisy_ssim": 0.5, "psnr": 20, "ssim": 0.5, "seconds_per_megapixel": 2
    }  # fmt: skip
    rows.append(PictureRow("same", "", 20.0, 0.5, math.inf, 1.0, 1_000_000, 0.0))
    assert means(rows)["psnr"] == math.inf


def test_infinity_is_null_in_json(folder, capsys):
    from denoise_cli.cli import main

    assert main(["eval", str(folder / "a.png"), str(folder / "a.png"), "--baseline", "noisy", "--json"]) == 0
    document = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert document["rows"][0]["psnr"] is None
    assert document["mean"][0]["ssim"] == pytest.approx(1)
    assert Path(document["rows"][0]["file"]).name == "a.png"
