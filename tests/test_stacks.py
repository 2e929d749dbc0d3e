"""Stacks of pictures through a model and through eval: as many pictures would, one by one, but in one row."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import scene
from PIL import Image

from denoise_cli import corrupt, denoise, grids, metrics, stacks
from denoise_cli.cli import main
from denoise_cli.errors import InputError, UsageError
from denoise_cli.evaluate import stacks as evaluate
from denoise_cli.media import arrays
from denoise_cli.session import Session


def levels(count: int, channels: int, seed: int = 0, height: int = 20, width: int = 23) -> np.ndarray:
    x = np.stack([scene(height, width, channels, seed=seed + n) for n in range(count)])
    return (x * 255).round().astype(np.uint8)


def saved(path: Path, x: np.ndarray) -> Path:
    with path.open("wb") as file:
        arrays.write(file, x)
    return path


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", ["model", "gray_model"])
def test_a_batch_gives_what_each_picture_gives_alone(request, kind, channels):
    session = Session(request.getfixturevalue(kind), "cpu")
    x = levels(3, channels).astype(np.float32) / 255
    for options in (denoise.Options(), denoise.Options(strength=0.25, ensemble=4)):
        alone = np.stack([denoise.array(one, session, options) for one in x])
        assert np.abs(stacks.batch(x, session, options) - alone).max() < 1e-5


def test_threads_share_a_stack_and_change_no_bit(model, monkeypatch):
    session, x = Session(model, "cpu"), levels(40, 3).astype(np.float32) / 255
    alone = stacks.batch(x, session, denoise.Options(threads=1))
    monkeypatch.setattr(stacks, "PIECE", 5 * x.shape[2] * x.shape[3])
    callers = set()

    class Seen(Session):
        def __call__(self, x, sigma=None):
            callers.add((threading.get_ident(), len(x)))
            time.sleep(0.01)
            return super().__call__(x, sigma)

    shared = stacks.batch(x, Seen(model, "cpu"), denoise.Options(threads=3))
    assert np.abs(shared - alone).max() < 1e-5
    assert {size for _, size in callers} == {5}
    assert len({thread for thread, _ in callers}) == 3
    one = stacks.batch(x, session, denoise.Options(threads=1))
    assert np.array_equal(one, shared)


def test_batches_cover_a_stack_and_are_bounded():
    parts = list(stacks.slices(1000, 28, 28))
    assert [index for part in parts for index in range(part.start, part.stop)] == list(range(1000))
    assert max(part.stop - part.start for part in parts) * 28 * 28 <= stacks.PIXELS
    assert len(list(stacks.slices(3, 4000, 4000))) == 3


def test_scores_are_the_means_of_those_of_the_pictures(tmp_path):
    x = levels(6, 3)
    both = evaluate.pair(None, saved(tmp_path / "x.npy", x))
    noise = corrupt.parse("gaussian:std=40")
    row, examples = evaluate.evaluate(both, lambda noisy: noisy / 2, noise, seed=5)
    clean = x.astype(np.float32) / 255
    before, after = [], []
    for index, one in enumerate(clean):
        noisy = noise(one, np.random.default_rng([5, index]))
        noisy = np.round(noisy.clip(0, 1) * np.float32(255)) / np.float32(255)
        before.append(noisy)
        after.append(np.round(noisy / 2 * np.float32(255)) / np.float32(255))
        assert np.array_equal(examples[index].noisy, noisy)
    for values, mean, std in ((before, row.noisy_psnr, row.noisy_psnr_std), (after, row.psnr, row.psnr_std)):
        psnr = [metrics.psnr(y, one) for y, one in zip(values, clean, strict=True)]
        assert (mean, std) == pytest.approx((np.mean(psnr), np.std(psnr)), rel=1e-5)
    mse = [metrics.mse(y, one) for y, one in zip(after, clean, strict=True)]
    assert (row.mse, row.mse_std) == pytest.approx((np.mean(mse), np.std(mse)), rel=1e-5)
    assert (row.pictures, row.pixels) == (6, 6 * 20 * 23)


def test_a_range_is_drawn_anew_for_every_picture(tmp_path):
    both = evaluate.pair(None, saved(tmp_path / "x.npy", levels(8, 1)))
    row, examples = evaluate.evaluate(both, None, corrupt.parse("gaussian:std=0-100"), clip=False)
    spread = [float((e.noisy - e.clean).std()) for e in examples]
    assert max(spread) > 2 * min(spread)
    assert row.noisy_psnr == pytest.approx(row.psnr, abs=1.0)


def test_equal_pictures_are_infinitely_good(tmp_path):
    row, _ = evaluate.evaluate(evaluate.pair(None, saved(tmp_path / "x.npy", levels(2, 1))), None)
    assert (row.psnr, row.mse) == (float("inf"), 0.0)


def test_stacks_that_do_not_go_together_are_refused(tmp_path):
    a, b = saved(tmp_path / "a.npy", levels(2, 1)), saved(tmp_path / "b.npy", levels(3, 1))
    with pytest.raises(InputError, match=r"\(2, 1, 20, 23\)"):
        evaluate.pair(a, b)


def test_a_model_for_recordings_takes_no_stack(voice_model, sigma_model):
    with pytest.raises(Exception, match="is for audio files"):
        stacks.check(Session(voice_model, "cpu"), denoise.Options())
    with pytest.raises(UsageError, match="must be told"):
        stacks.check(Session(sigma_model, "cpu"), denoise.Options())


# --- denoise eval -----------------------------------------------------------------------------------------


def test_eval_of_a_stack_is_one_row_a_level_with_a_sheet(tmp_path, gray_model, capsys):
    np.savez(tmp_path / "x.npz", x_train=levels(2, 1)[:, 0], x_test=levels(12, 1, seed=2)[:, 0])
    arguments = [
        "eval",
        tmp_path / "x.npz",
        "-m",
        gray_model,
        "--sweep",
        "std=0.1fs,51",
        "--csv",
        tmp_path / "x.csv",
    ]
    assert main([str(a) for a in [*arguments, "--sheet", tmp_path / "s.png"]]) == 0
    heading, *lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert heading[:3] == ["noise", "pictures", "noisy dB"]
    assert [line[:2] for line in lines] == [["std=0.1fs", "12"], ["std=51", "12"]]
    assert float(lines[0][2]) == pytest.approx(20, abs=0.7)  # a tenth of full scale: 20 dB, but for clipping
    assert float(lines[1][2]) == pytest.approx(14, abs=1.0)
    assert len((tmp_path / "x.csv").read_text().splitlines()) == 3
    with Image.open(tmp_path / "s.png") as sheet:
        assert sheet.width > 10 * 23

    assert main([str(a) for a in [*arguments, "--json", "--fail-under", "psnr=99"]]) == 1
    out, err = capsys.readouterr()
    rows = json.loads(out)["rows"]
    assert [round(row["noisy_psnr"], 2) for row in rows] == [float(line[2]) for line in lines]
    assert "is under 99" in err


def test_eval_of_two_stacks_makes_no_noise(tmp_path, capsys):
    x = levels(3, 1)
    noisy = (x // 2 + 20).astype(np.uint8)
    a, b = saved(tmp_path / "noisy.npy", noisy), saved(tmp_path / "clean.npy", x)
    assert main(["eval", str(a), str(b), "--baseline", "noisy"]) == 0
    line = capsys.readouterr().out.splitlines()[1].split("\t")
    whole = [(p.astype(np.float32) / 255, q.astype(np.float32) / 255) for p, q in zip(noisy, x, strict=True)]
    psnr = np.mean([metrics.psnr(p, q) for p, q in whole])
    assert float(line[4]) == pytest.approx(psnr, abs=0.006)


def test_a_grid_holds_its_pictures_pixel_by_pixel():
    x = np.zeros((1, 4, 4), np.float32)
    x[0, 1, 2] = 1
    blocks = [grids.Block("one", [("a", [x, 1 - x]), ("b", [x, x])]), grids.Block("two", [("c", [x, x])])]
    page = np.asarray(grids.drawn(blocks, cell=20))
    assert page.shape[2] == 3
    left, top = grids.MARGIN + grids.BESIDE, grids.MARGIN + grids.HEAD
    cell = page[top : top + 20, left : left + 20]
    expected = np.kron(x[0], np.ones((5, 5))) * 255
    assert np.array_equal(cell, np.repeat(expected[:, :, None], 3, 2).astype(np.uint8))
    assert len(page) > 2 * (grids.MARGIN + grids.HEAD) + 60
