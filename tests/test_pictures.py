"""Sheets, comparisons and curves: what was asked for stands in the picture, pixel by pixel."""

import math

import numpy as np
import pytest
from PIL import Image

from denoise_cli.charts import LINES, curve
from denoise_cli.pictures import ACCENT, GAP, INK, MARGIN, before_after, picture, sheet


def ramp(channels: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((channels, height, width), np.float32)


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image)


def rgb(colour: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(colour[1:]))


def count(image: Image.Image, colour: str) -> int:
    return int(np.all(pixels(image) == rgb(colour), axis=-1).sum())


def where(page: Image.Image, part: np.ndarray) -> list[tuple[int, int]]:
    """(top, left) of every place where ``part`` (h, w, 3) stands in the page."""
    big = pixels(page)
    h, w = part.shape[:2]
    tops, lefts = np.nonzero(np.all(big[: -h + 1, : -w + 1] == part[0, 0], axis=-1))
    return [(t, c) for t, c in zip(tops, lefts, strict=True) if np.array_equal(big[t : t + h, c : c + w], part)]


# --- picture ----------------------------------------------------------------------------------------------


def test_values_are_clipped_and_rounded_and_gray_is_spread():
    x = np.array([[[-1, 0.5, 2, 0.1]]], np.float32)
    assert pixels(picture(x)).tolist() == [[[0] * 3, [128] * 3, [255] * 3, [26] * 3]]


def test_channels_keep_their_order():
    x = np.zeros((4, 1, 1), np.float32)
    x[1] = 1
    assert pixels(picture(x)).tolist() == [[[0, 255, 0]]]


@pytest.mark.parametrize("shape", [(3, 4), (0, 4, 4), (1, 0, 4)])
def test_what_is_no_picture_is_refused(shape):
    with pytest.raises(ValueError, match="C, H, W"):
        picture(np.zeros(shape, np.float32))


# --- sheet ------------------------------------------------------------------------------------------------


def test_every_cell_stands_in_the_sheet_in_reading_order():
    rows = [[ramp(3, 40, 60, 3 * r + c) for c in range(3)] for r in range(2)]
    page = sheet(rows, cell=60)
    assert page.size == (2 * MARGIN + 3 * 60 + 2 * GAP, 2 * MARGIN + 2 * 40 + GAP)
    for r, row in enumerate(rows):
        for c, x in enumerate(row):
            assert where(page, pixels(picture(x))) == [(MARGIN + r * (40 + GAP), MARGIN + c * (60 + GAP))]


def test_a_tiny_picture_is_enlarged_by_a_whole_factor_only():
    x = ramp(1, 28, 28)
    page = sheet([[x]], cell=100)
    assert page.width == 2 * MARGIN + 84  # three times; 100 is no multiple of 28
    assert where(page, np.kron(pixels(picture(x)), np.ones((3, 3, 1), np.uint8))) == [(MARGIN, MARGIN)]


def test_a_large_picture_is_cut_at_its_centre_with_its_grain():
    x = ramp(3, 90, 200)
    page = sheet([[x]], cell=50)
    assert page.size == (2 * MARGIN + 50, 2 * MARGIN + 50)
    assert where(page, pixels(picture(x[:, 20:70, 75:125]))) == [(MARGIN, MARGIN)]


def test_or_made_smaller_as_a_whole():
    x = np.zeros((1, 100, 200), np.float32)
    x[:, :, 100:] = 1
    page = pixels(sheet([[x]], cell=50, fit="shrink"))
    assert page.shape[:2] == (2 * MARGIN + 25, 2 * MARGIN + 50)
    assert page[MARGIN + 12, MARGIN + 5].tolist() == [0, 0, 0]
    assert page[MARGIN + 12, MARGIN + 44].tolist() == [255, 255, 255]


def test_titles_and_captions_are_drawn_where_they_belong():
    x = np.full((1, 64, 64), 0.5, np.float32)
    bare = sheet([[x, x]], cell=64)
    titled = sheet([[x, x]], ["noisy", "clean"], cell=64)
    captioned = sheet([[x, x]], captions=[["", "28.91 dB"]], cell=64)
    assert titled.height > bare.height
    assert count(titled.crop((0, 0, titled.width, MARGIN + 32)), INK) > 20
    half = captioned.width // 2
    below = pixels(captioned)[MARGIN + 64 + 4 :]
    assert (below[:, :half] == 255).all()  # an empty caption leaves no mark
    assert (below[:, half:] < 160).any()


def test_long_texts_widen_their_column():
    x = np.zeros((1, 32, 32), np.float32)
    text = "a caption that is much wider than its picture"
    page = sheet([[x, x]], captions=[[text, ""]], cell=32)
    ink = np.nonzero((pixels(page)[MARGIN + 32 + 4 :] < 200).any(axis=(0, 2)))[0]
    assert ink.min() >= MARGIN - 2
    assert ink.max() < page.width - MARGIN - 32  # not under the second picture


def test_rows_may_differ_in_length_and_size():
    x, y = ramp(3, 30, 50), ramp(1, 50, 20, 1)
    page = sheet([[x, y], [y]], ["one", "two"], [["a"]], cell=50)
    first_row = MARGIN + 36  # below the titles
    middle, second_row = first_row + 10, first_row + 50 + 32 + GAP
    assert [top for top, _ in where(page, pixels(picture(x)))] == [middle]
    assert [top for top, _ in where(page, pixels(picture(y)))] == [first_row, second_row]


def test_an_empty_sheet_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        sheet([[], []])


# --- before_after -----------------------------------------------------------------------------------------


def test_the_whole_and_the_chosen_detail_stand_side_by_side():
    noisy, clean = ramp(3, 120, 160), ramp(3, 120, 160, 1)
    page = before_after(noisy, clean, detail=(10, 20, 30, 40), zoom=3, cell=160)
    for x, left in ((noisy, 0), (clean, page.width // 2)):
        part = np.kron(pixels(picture(x[:, 10:40, 20:60])), np.ones((3, 3, 1), np.uint8))
        ((top, at),) = where(page, part)
        assert top > 120
        assert left < at < left + page.width // 2
    assert count(page, ACCENT) == 2 * (40 * 30 - 36 * 26)  # one frame, two pixels wide, in each


def test_the_detail_is_found_where_edges_stand_on_flat_ground():
    x = np.full((1, 400, 600), 0.488, np.float32)
    x[:, ::2, ::2] = x[:, 1::2, 1::2] = 0.512  # an even texture has more edges, but must not win
    x[:, 270:370, 470:570] = 0.5
    x[:, 300:340, 500:540] = 1
    page = before_after(x, x, cell=200)
    square = np.full((80, 80, 3), 255, np.uint8)  # 40 pixels, enlarged twice
    left_detail = page.crop((MARGIN, MARGIN + 36 + 134, MARGIN + 200, page.height - MARGIN))
    assert where(left_detail, square)


def test_a_tiny_pair_comes_without_a_detail():
    x, y = ramp(1, 28, 28), ramp(1, 28, 28, 1)
    page = before_after(x, y, titles=(), cell=56)
    assert page.size == (2 * MARGIN + 2 * 56 + GAP, 2 * MARGIN + 56)
    assert count(page, ACCENT) == 0


@pytest.mark.parametrize("detail", [(-1, 0, 5, 5), (0, 0, 5, 41), (0, 0, 0, 5), (26, 0, 5, 5)])
def test_a_detail_outside_is_refused(detail):
    with pytest.raises(ValueError, match="outside of 30x40"):
        before_after(ramp(1, 30, 40), ramp(1, 30, 40), detail=detail)


def test_pairs_of_two_sizes_are_refused():
    with pytest.raises(ValueError, match="cannot compare"):
        before_after(ramp(1, 30, 40), ramp(1, 40, 30))


# --- curve ------------------------------------------------------------------------------------------------


def rows_of(image: Image.Image, colour: str, column: int) -> np.ndarray:
    """Rows at which the plot (below its legend) has the colour in one column."""
    return 110 + np.nonzero(np.all(pixels(image)[110:, column] == rgb(colour), axis=-1))[0]


def test_a_rising_line_rises():
    page = curve({"a": [(0, 0), (10, 5)]}, "t", "x", "y")
    early, late = rows_of(page, LINES[0], 200), rows_of(page, LINES[0], 800)
    assert early.min() > late.max()


def test_a_power_law_is_straight_on_a_logarithmic_axis():
    page = curve({"a": [(i, 10.0**-i) for i in range(5)]}, log=True)
    left, middle, right = (rows_of(page, LINES[0], c).mean() for c in (200, 500, 800))
    assert middle == pytest.approx((left + right) / 2, abs=2)
    bent = curve({"a": [(i, 10.0**-i) for i in range(5)]})
    left, middle, right = (rows_of(bent, LINES[0], c).mean() for c in (200, 500, 800))
    assert middle > (left + right) / 2 + 20


def test_each_line_has_its_colour_in_the_legend_and_the_second_axis_its_own_scale():
    page = curve({"loss": [(0, 0.1), (9, 0.1)]}, right={"psnr": [(0, 30), (9, 31)]}, rlabel="dB")
    legend = page.crop((0, 60, page.width, 90))
    assert count(legend, LINES[0]) > 50
    assert count(legend, LINES[1]) > 50
    psnr = [rows_of(page, LINES[1], c).mean() for c in (150, 850)]
    assert psnr[0] - psnr[1] > 200  # one dB fills the height although the loss is 300 times smaller
    assert (pixels(page)[130:470, page.width - 70 :] < 128).any()  # numbers on the right


def test_what_cannot_be_drawn_is_left_out():
    good = [(0, 1.0), (1, 2.0), (2, 3.0)]
    bad = [*good, (3, math.nan), (4, math.inf), (math.nan, 1.0)]
    assert pixels(curve({"a": bad})).tobytes() == pixels(curve({"a": good})).tobytes()
    assert (
        pixels(curve({"a": [*good, (1, 0.0)]}, log=True)).tobytes()
        == pixels(curve({"a": good}, log=True)).tobytes()
    )


def test_a_single_point_is_a_dot_and_no_point_an_empty_frame():
    assert count(curve({"a": [(5, 2.0)]}).crop((0, 110, 1000, 560)), LINES[0]) > 20
    assert count(curve({"a": []}).crop((0, 110, 1000, 560)), LINES[0]) == 0


def test_a_value_that_rounds_to_a_power_of_ten_has_a_tick_below_it():
    page = curve({"a": [(0, 9.999999999999998e-13), (1, 3e-12)]}, log=True)
    assert count(page.crop((0, 110, 1000, 560)), LINES[0]) > 20


@pytest.mark.parametrize("scale", [1e-6, 0.03, 1, 7.3, 1e5])
@pytest.mark.parametrize("log", [False, True])
def test_every_scale_keeps_the_line_inside_the_frame(scale, log):
    page = curve({"a": [(0, scale), (1, 9 * scale), (2, 2 * scale)]}, log=log)
    rows = np.nonzero(np.all(pixels(page)[110:] == rgb(LINES[0]), axis=-1).any(axis=1))[0] + 110
    assert rows.min() >= 120
    assert rows.max() <= 560 - 76
    assert np.ptp(rows) > 100  # and uses it


def test_more_lines_than_colours_do_not_fail():
    page = curve({str(i): [(0, i), (1, i + 1)] for i in range(9)})
    assert count(page, LINES[5]) > 50


# --- all --------------------------------------------------------------------------------------------------


def test_the_same_numbers_give_the_same_picture():
    x, y = ramp(3, 90, 120), ramp(3, 90, 120, 1)
    for draw in (
        lambda: sheet([[x, y]], ["a", "b"], [["1", "2"]]),
        lambda: before_after(x, y, zoom=4, cell=120),
        lambda: curve({"a": [(0, 1), (1, 3)]}, "t"),
    ):
        assert draw().tobytes() == draw().tobytes()
        assert draw().mode == "RGB"
