"""Spectrograms: what sounds where stands in the picture, and the axes say so."""

from __future__ import annotations

import numpy as np
import pytest

from denoise_cli.pictures import HAIRLINE, QUIET
from denoise_cli.spectrograms import (
    FLOOR_DB,
    LEFT,
    MAGMA,
    _frequencies,
    _times,
    before_after,
    of_blocks,
    sheet,
    spectrogram,
)  # fmt: skip


def tone(frequency: float, seconds: float, rate: int, amplitude: float = 1.0) -> np.ndarray:
    return (amplitude * np.sin(2 * np.pi * frequency * np.arange(int(seconds * rate)) / rate))[None].astype("f4")


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_a_tone_stands_at_its_frequency(rate, part):
    levels = spectrogram(tone(part * rate / 2, 1, rate), rate, size=(50, 200)).levels
    assert levels.shape == (200, 50)
    assert np.ptp(levels.argmax(axis=0)) <= 1
    assert 1 - levels.argmax(axis=0).mean() / 199 == pytest.approx(part, abs=0.015)


def test_levels_are_those_of_a_sine_of_full_scale():
    x = tone(1000, 1, 16000)  # in the middle of a bin of 31.25 Hz, which is a row of 256
    assert spectrogram(x, 16000, size=(9, 256)).levels[:, 1:-1].max() == pytest.approx(0, abs=3.1)  # on two rows
    assert spectrogram(0 * x, 16000).levels.max() == pytest.approx(FLOOR_DB, abs=1e-3)
    quieter = spectrogram(x / 10, 16000).levels - spectrogram(x, 16000).levels
    assert quieter[spectrogram(x, 16000).levels > -80] == pytest.approx(-20, abs=0.01)


@pytest.mark.parametrize("seconds", [0.5, 4, 300])
def test_what_begins_in_the_middle_begins_in_the_middle(seconds):
    rate = 8000
    x = np.random.default_rng(0).standard_normal((1, int(seconds * rate))).astype(np.float32)
    x[:, : x.shape[1] // 2] = 0
    loud = spectrogram(x, rate, size=(100, 20)).levels.mean(axis=0) > -60
    assert not loud[:46].any()
    assert loud[50:].all()


@pytest.mark.parametrize("samples", [1, 2, 100, 255, 257, 5000])
@pytest.mark.parametrize("channels", [1, 2])
def test_any_length_gives_the_same_size(samples, channels):
    x = np.random.default_rng(0).standard_normal((channels, samples)).astype(np.float32)
    drawn = spectrogram(x, 8000, size=(80, 30))
    assert drawn.levels.shape == (30, 80)
    assert np.isfinite(drawn.levels).all()
    assert drawn.seconds == samples / 8000


def test_channels_are_averaged_as_powers():
    x = tone(1000, 0.5, 8000)
    one = spectrogram(x, 8000).levels
    both = spectrogram(np.concatenate([x, -x]), 8000).levels
    assert both == pytest.approx(one, abs=1e-3)


def test_what_is_no_recording_is_refused():
    for x in (np.zeros(5), np.zeros((1, 0)), np.zeros((1, 5, 1))):
        with pytest.raises(ValueError, match="C, T"):
            spectrogram(x, 8000)
    with pytest.raises(ValueError, match="cannot compare"):
        before_after(np.zeros((1, 5)), np.zeros((1, 6)), 8000)
    with pytest.raises(ValueError, match="at least one"):
        sheet([[]])


@pytest.mark.parametrize("seconds", [0.01, 0.3, 7, 60])
@pytest.mark.parametrize("cut", [100, 65_536])
def test_blocks_give_what_the_whole_gives(seconds, cut):
    x = np.random.default_rng(0).standard_normal((2, int(seconds * 8000))).astype("f4")
    x[:, x.shape[1] // 2 :] *= 0.01
    whole = spectrogram(x, 8000, size=(90, 30))
    blocks = (x[:, i : i + cut] for i in range(0, x.shape[1], cut))
    streamed = of_blocks(blocks, x.shape[1], 8000, size=(90, 30))
    assert np.allclose(streamed.levels, whole.levels, atol=1e-3)
    assert streamed.seconds == whole.seconds


# --- Axes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "texts"),
    [
        (0.02, ["0.000", "0.005", "0.010", "0.015", "0.020 s"]),
        (1, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0 s"]),
        (8.3, ["0", "2", "4", "6", "8 s"]),
        (75, ["0", "15", "30", "45", "60", "75 s"]),
        (200, ["0:00", "1:00", "2:00", "3:00 min"]),
        (1800, ["0:00", "5:00", "10:00", "15:00", "20:00", "25:00", "30:00 min"]),
        (36000, ["0:00", "2:00", "4:00", "6:00", "8:00", "10:00 h"]),
    ],
)
def test_times_are_round_and_name_their_unit(seconds, texts):
    assert list(_times(seconds).values()) == texts
    assert 0 <= min(_times(seconds)) <= max(_times(seconds)) <= 1.0001


@pytest.mark.parametrize("seconds", [1 / 192000, 1e-3, 0.1234, 59, 61, 3599, 7201, 1e6])
def test_every_duration_has_a_few_times(seconds):
    assert 1 <= len(_times(seconds)) <= 8


@pytest.mark.parametrize(
    ("rate", "texts"),
    [
        (1000, ["0", "100", "200", "300", "400", "500 Hz"]),
        (8000, ["0", "1", "2", "3", "4 kHz"]),
        (16000, ["0", "2", "4", "6", "8 kHz"]),
        (44100, ["0", "5", "10", "15", "20 kHz"]),
        (96000, ["0", "10", "20", "30", "40 kHz"]),
    ],
)
def test_frequencies_are_round_and_name_their_unit(rate, texts):
    assert list(_frequencies(rate).values()) == texts


def test_the_ticks_stand_where_the_tone_does():
    page = np.asarray(before_after(*2 * [tone(2000, 1, 16000)], 16000)).astype(int)
    panel = page[:, LEFT + 400]
    brightest = panel.sum(axis=1)[70:320].argmax() + 70
    quiet = np.array(tuple(bytes.fromhex(QUIET[1:])))
    ticks = np.nonzero((page[:330, LEFT - 4] == quiet).all(axis=1))[0]
    assert len(ticks) == 5  # 8, 6, 4, 2, 0 kHz
    assert abs(ticks[3] - brightest) <= 1


# --- Pages ------------------------------------------------------------------------------------------------


def test_both_panels_have_one_scale_of_colours():
    x = np.random.default_rng(0).standard_normal((1, 16000)).astype(np.float32)
    page = np.asarray(before_after(x, x / 100, 16000)).astype(int)
    top, bottom = page[80:300, LEFT + 10 : LEFT + 800], page[440:650, LEFT + 10 : LEFT + 800]
    assert top.mean() > bottom.mean() + 60
    same = np.asarray(before_after(x, x, 16000))
    rows = np.nonzero((same == tuple(bytes.fromhex(HAIRLINE[1:]))).all(axis=2).sum(axis=1) > 800)[0]
    one, two = same[rows[0] + 1 : rows[1], LEFT : LEFT + 900], same[rows[2] + 1 : rows[3], LEFT : LEFT + 900]
    assert np.array_equal(one, two)


def test_the_size_of_a_page_does_not_depend_on_the_recording():
    sizes = {
        before_after(x, x, rate).size
        for x, rate in ((tone(100, 0.01, 8000), 8000), (tone(100, 20, 48000).repeat(2, axis=0), 48000))
    }
    assert len(sizes) == 1


def test_nothing_is_cut_at_the_edges():
    x = tone(100, 3600, 8000)
    pages = [
        before_after(x, x, 8000, captions=("a", "b")),
        sheet([[spectrogram(x, 8000, size=(100, 60))] * 2], ["one", "two"], [["left", "right"]]),
    ]
    for page in pages:
        pixels = np.asarray(page)
        for edge in (pixels[:8], pixels[-8:], pixels[:, :8], pixels[:, -8:]):
            assert (edge == 255).all()


def test_a_name_too_long_for_its_panel_keeps_its_end():
    x = tone(100, 1, 8000)
    panel = spectrogram(x, 8000, size=(100, 60))
    names = ["a", "very/long/" * 20 + "a", "b"]
    page = np.asarray(sheet([[panel] * 3], captions=[names]))
    below = (page[-40:] < 200).any(axis=(0, 2))
    assert not below[LEFT + 100 + 15 : LEFT + 100 + 22].any()  # nothing reaches into the neighbour's
    assert not (page[:, :8] < 255).any()


def test_colours_grow_brighter_all_the_way():
    luminance = MAGMA @ (0.2126, 0.7152, 0.0722)
    assert (np.diff(luminance) > 0).all()


def test_the_same_recording_gives_the_same_picture():
    x = tone(300, 1, 8000)
    assert before_after(x, x / 2, 8000).tobytes() == before_after(x, x / 2, 8000).tobytes()
