"""Tiles: every pixel once, on the grid, and tiled equals whole for anything of bounded reach."""

from __future__ import annotations

import numpy as np
import pytest

from denoise_cli import tiles


@pytest.mark.parametrize("length", [1, 7, 8, 63, 64, 65, 1000, 4097])
@pytest.mark.parametrize("core", [8, 24, 100, 5000])
@pytest.mark.parametrize("halo", [0, 5, 16])
@pytest.mark.parametrize("multiple", [1, 8])
def test_cuts_cover_each_position_once_and_read_from_the_grid(length, core, halo, multiple):
    cuts = tiles.cuts(length, core, halo, multiple)
    assert [i for cut in cuts for i in range(cut.start, cut.stop)] == list(range(length))
    for cut in cuts:
        assert cut.stop - cut.start <= max(multiple, core)
        assert cut.low % multiple == 0
        assert cut.low <= max(0, cut.start - halo)
        assert cut.high >= min(length, cut.stop + halo)
        assert 0 <= cut.low <= cut.start < cut.stop <= cut.high <= length


@pytest.mark.parametrize(("height", "width"), [(1, 5000), (5000, 1), (1224, 1632), (17, 3), (3000, 9000)])
def test_grid_keeps_tiles_within_the_area(height, width):
    rows, columns = tiles.grid(height, width, halo=56, multiple=8, area=1 << 20)
    assert max(r.high - r.low for r in rows) * max(c.high - c.low for c in columns) <= (1 << 20) * 1.02
    assert rows[-1].stop == height
    assert columns[-1].stop == width


def read(all_cuts) -> int:
    return sum(cut.high - cut.low for cut in all_cuts)


@pytest.mark.parametrize("seed", range(200))
def test_of_all_grids_the_one_that_reads_least_is_found_without_trying_all(seed, monkeypatch):
    rng = np.random.default_rng(seed)
    height, width, halo, multiple = (int(rng.integers(1, high)) for high in (400, 400, 20, 9))
    area = max(int(rng.integers(500, 40_000)), 2 * (2 * (halo + multiple) + multiple) ** 2)
    found = tiles.grid(height, width, halo, multiple, area)
    for count in range(1, -(-width // (halo + multiple)) + 1):  # more are all halo
        columns = tiles.cuts(width, -(-width // (count * multiple)) * multiple, halo, multiple)
        tallest = area // max(cut.high - cut.low for cut in columns)
        core = height if tallest >= height else tallest - 2 * (halo + multiple)
        if core >= multiple:
            assert read(found[0]) * read(found[1]) <= read(tiles.cuts(height, core, halo, multiple)) * read(columns)


def test_a_plan_for_a_small_halo_tries_few_grids(monkeypatch):
    tried, cuts = [], tiles.cuts
    monkeypatch.setattr(tiles, "cuts", lambda *args: tried.append(args) or cuts(*args))
    tiles.grid(6000, 4000, 0, 1)
    tiles.grid(6000, 4000, 3, 1)
    assert len(tried) < 500


def test_a_picture_that_fits_is_one_tile_and_one_a_little_larger_is_halved():
    rows, columns = tiles.grid(1000, 1000, 56, 8)
    assert (len(rows), len(columns)) == (1, 1)
    rows, columns = tiles.grid(321, 481, 56, 8)  # off the grid of 8
    assert (len(rows), len(columns)) == (1, 1)
    rows, columns = tiles.grid(1224, 1632, 56, 8, area=1120 * 1120)
    assert len(rows) * len(columns) == 2


@pytest.mark.parametrize("block", [1, 7, 64, 1000])
def test_windows_hold_exactly_the_rows_they_claim_whatever_the_blocks(block):
    x = np.arange(2 * 300 * 5, dtype=np.float32).reshape(2, 300, 5)
    cuts = tiles.cuts(300, 64, 16, 8)
    pieces = (x[:, i : i + block] for i in range(0, 300, block))
    seen = list(tiles.windows(pieces, cuts))
    assert [cut for cut, _ in seen] == cuts
    for cut, window in seen:
        assert np.array_equal(window, x[:, cut.read])


def test_windows_say_where_the_data_end_early():
    with pytest.raises(ValueError, match="row 10 of 64"):
        list(tiles.windows(iter([np.zeros((1, 10, 4), np.float32)]), tiles.cuts(64, 32, 0)))


def blur(x: np.ndarray, reach: int) -> np.ndarray:
    """A mean over (2 reach + 1) squared pixels, with zeros outside: any network of that receptive field."""
    padded = np.pad(x, [(0, 0), (reach, reach), (reach, reach)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, (2 * reach + 1, 2 * reach + 1), axis=(1, 2))
    return windows.mean(axis=(-1, -2))


def test_tiled_equals_whole_with_a_halo_of_the_reach_and_differs_with_less():
    x = np.random.default_rng(0).random((1, 90, 110)).astype(np.float32)

    def tiled(halo: int) -> np.ndarray:
        y = np.zeros_like(x)
        for row in tiles.cuts(90, 32, halo):
            for column in tiles.cuts(110, 32, halo):
                part = blur(x[:, row.read, column.read], 4)
                y[:, row.start : row.stop, column.start : column.stop] = part[:, row.keep, column.keep]
        return y

    assert np.allclose(tiled(4), blur(x, 4), atol=1e-6)
    assert not np.allclose(tiled(2), blur(x, 4), atol=1e-3)


def test_pad_mirrors_up_to_the_multiple_and_leaves_what_fits():
    x = np.arange(12, dtype=np.float32).reshape(1, 3, 4)
    assert tiles.pad(x, 1) is x
    padded = tiles.pad(x, 4)
    assert padded.shape == (1, 4, 4)
    assert np.array_equal(padded[0, 3], x[0, 2])


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (5, 3), (3, 4), (17, 30), (8, 9)])
def test_pad_equals_the_symmetric_padding_of_numpy(shape):
    x = np.random.default_rng(0).random((2, *shape), dtype=np.float32)
    for multiple in (1, 2, 4, 8, 16):
        expected = np.pad(x, [(0, 0), (0, -shape[0] % multiple), (0, -shape[1] % multiple)], mode="symmetric")
        assert np.array_equal(tiles.pad(x, multiple), expected)
