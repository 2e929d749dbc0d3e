"""At what level a model hears a recording: the answer does not depend on how loud the recorder was set."""

from __future__ import annotations

import numpy as np
import pytest
from test_segments import RATE, Fake, db, recording, run

from denoise_cli import segments
from denoise_cli.hearing import LEAP, MOST, Hearing
from denoise_cli.metrics.floor import LevelMeter


def gate(x):
    """What a net does that knows one level only: what is faint counts as silence."""
    return np.where(np.abs(x) > 0.05, x, 0)


def loud(x: np.ndarray) -> float:
    meter = LevelMeter(RATE)
    meter.add(x[:, :, None])
    return meter.level(0.9)


@pytest.mark.parametrize("decibels", [-38, -20, 9])
def test_faint_and_loud_recordings_get_the_same_answer(decibels):
    x, gain = recording(3), 10 ** (decibels / 20)
    y = run(x, Fake(gate, level=-20.0))
    assert -20 < db(y - x, x) < -3, "the gate has done something"
    assert db(run(np.float32(gain) * x, Fake(gate, level=-20.0)) / gain - y, y) < -40
    if gain < 1:
        assert db(run(np.float32(gain) * x, Fake(gate)) / gain - y, y) > -12, "as it comes, it would not"


def test_the_model_hears_its_level_and_nothing_of_it_is_left_in_the_output():
    heard = []
    x = 0.01 * recording(3)
    y = run(x, Fake(lambda x: heard.append(x) or x, level=-30.0))
    assert np.allclose(y, x, rtol=1e-6, atol=0)
    assert loud(np.concatenate(heard)[0]) == pytest.approx(-30, abs=0.3)


def test_each_channel_of_its_own_is_brought_to_the_level_and_linked_ones_keep_their_balance():
    heard = []
    x = recording(3, channels=2) * np.float32([[1], [0.01]])
    model = Fake(lambda x: heard.append(x) or x, level=-30.0)
    run(x, model, link=False)
    assert [round(loud(tile[0])) for tile in heard] == [-30, -30]
    heard.clear()
    run(x, model)
    assert db(heard[0][0, :1], heard[0][0, 1:]) == pytest.approx(db(x[:1], x[1:]), abs=0.01)


def test_silence_and_what_is_shorter_than_a_frame_are_heard_as_they_come():
    for x in (np.zeros((1, RATE), np.float32), recording(0.01)):
        heard = []
        assert np.array_equal(run(x, Fake(lambda x, heard=heard: heard.append(x) or x, level=-23.0)), x)
        assert np.array_equal(heard[0][0, :, : x.shape[1]], x)


def test_the_gain_leaps_where_it_must_and_stays_where_it_may():
    hearing = Hearing(RATE, -23.0)
    x = recording(10)
    first = hearing.gain(x)
    assert 20 * np.log10(first) == pytest.approx(-23 - loud(x), abs=0.1)
    assert hearing.gain(x * np.float32(10 ** ((LEAP - 1) / 20))) == first
    for _ in range(20):  # a loud part that is most of what was heard
        last = hearing.gain(x * np.float32(10 ** ((LEAP + 3) / 20)))
    assert 20 * np.log10(last / first) == pytest.approx(-LEAP - 3, abs=0.5)
    assert 20 * np.log10(Hearing(RATE, 0.0).gain(x * 1e-5)) == pytest.approx(MOST)


def test_every_segment_is_brought_back_by_its_own_gain(monkeypatch):
    monkeypatch.setattr(segments, "CORE", 4)
    x = recording(14)
    x[:, : 6 * RATE] *= 0.01
    heard = []
    y = run(x, Fake(lambda x: heard.append(x) or x, halo=512, level=-23.0))
    assert np.allclose(y, x, rtol=1e-6, atol=0)
    assert loud(heard[0][0]) == pytest.approx(-23, abs=0.5)
    assert len(heard) > 2


@pytest.mark.parametrize("quiet", [20, 600])
@pytest.mark.parametrize("length", [10, 20])
def test_after_a_long_quiet_the_first_words_are_heard_at_their_own_level(quiet, length):
    voice = recording(10)
    hiss = np.random.default_rng(1).normal(0, 10 ** (-75 / 20), (1, quiet * RATE)).astype(np.float32)
    hearing = Hearing(RATE, -23.0)
    assert 20 * np.log10(hearing.gain(hiss)) == pytest.approx(MOST)
    words = np.concatenate([hiss[:, : (length - 2) * RATE], voice[:, : 2 * RATE]], axis=1)
    assert 20 * np.log10(hearing.gain(words)) == pytest.approx(-23 - loud(voice), abs=LEAP)
    assert 20 * np.log10(hearing.gain(voice)) == pytest.approx(-23 - loud(voice), abs=LEAP)


@pytest.mark.parametrize(("seconds", "length"), [(0.05, 2), (0.25, 10), (0.5, 10), (0.9, 20)])
def test_a_slam_in_a_quiet_voice_does_not_make_the_voice_faint(seconds, length):
    x, slam = 0.03 * recording(length), round(seconds * RATE)
    before = Hearing(RATE, -23.0).gain(x)
    x[:, RATE : RATE + slam] = np.random.default_rng(2).normal(0, 0.5, slam)
    assert 20 * np.log10(Hearing(RATE, -23.0).gain(x) / before) == pytest.approx(0, abs=1.5)


def test_a_slam_in_a_recording_whose_pauses_a_gate_has_emptied_is_no_voice():
    x = 0.03 * recording(20)
    x[:, 2 * RATE : -RATE // 2] = 0
    before = Hearing(RATE, -23.0).gain(x)
    x[:, RATE : RATE + round(0.3 * RATE)] = np.random.default_rng(2).normal(0, 0.5, round(0.3 * RATE))
    assert 20 * np.log10(Hearing(RATE, -23.0).gain(x) / before) == pytest.approx(0, abs=1.5)


def test_the_loudest_seconds_are_counted_among_frames_with_a_sound():
    meter, rng = LevelMeter(RATE), np.random.default_rng(0)
    for seconds, std in ((3, 0.0), (2, 0.01), (1, 0.1)):
        meter.add(rng.normal(0, std, (1, seconds * RATE, 1)).astype(np.float32))
    assert meter.loudest(0.9) == pytest.approx(-20, abs=1)
    assert meter.loudest(1.2) == pytest.approx(-40, abs=1)
    assert meter.loudest(3.0) == pytest.approx(-40, abs=1)
    assert meter.loudest(3.1) == -120
    assert meter.loudest(0) == pytest.approx(-20, abs=1), "one frame at least"
