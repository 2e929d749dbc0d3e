"""Cards: JSON and back, lies refused, gray and colour lifted and lowered."""

from __future__ import annotations

import json

import numpy as np
import pytest

from denoise_cli.card import ModelCard
from denoise_cli.errors import ModelError

CARD = ModelCard("m", multiple=8, halo=56, noise="gaussian:std=0-55", net={"widths": [1, 2]})


def test_json_and_back():
    assert ModelCard.from_json(CARD.to_json()) == CARD


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema": 2}, "schema 2 is unknown"),
        ({"channels": 0}, "channels"),
        ({"channels": "3"}, "channels"),
        ({"multiple": 0}, "multiple"),
        ({"halo": -1}, "halo"),
        ({"halo": 1e309}, "halo"),
        ({"rate": 10}, "rate"),
        ({"kind": "smell"}, "kind"),
        ({"level": -20.0}, "level is for recordings"),
        ({"kind": "audio", "rate": 16000, "level": 3}, "level must be -100..0 dB"),
        ({"kind": "audio", "rate": 16000, "level": "-20"}, "level must be"),
        ({"noise_input": 1}, "noise_input"),
        ({"name": "x\x1b[31m"}, "name"),
        ({"colour": "red"}, "unknown field 'colour'"),
    ],
)
def test_a_card_that_lies_is_refused(change, said):
    with pytest.raises(ModelError, match=said):
        ModelCard.from_json(json.dumps(json.loads(CARD.to_json()) | change))


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "{}", "[" * 100_000, "x" * (2 << 20)])
def test_what_is_no_card_is_refused(text):
    with pytest.raises(ModelError):
        ModelCard.from_json(text)


@pytest.mark.parametrize("model_channels", [1, 3])
@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_lift_and_lower_are_inverses(model_channels, channels):
    card = ModelCard("m", channels=model_channels)
    x = np.random.default_rng(0).random((channels, 4, 5), dtype=np.float32)
    y = np.full_like(x, np.nan)
    for which, sample in card.lift(x):
        assert sample.shape == (model_channels, 4, 5)
        y[which] = card.lower(sample, channels)
    assert np.allclose(x, y, atol=1e-7)


def test_colour_runs_as_one_sample_and_gray_as_three_equal_channels():
    card = ModelCard("m", channels=3)
    colour = np.random.default_rng(0).random((3, 2, 2), dtype=np.float32)
    ((which, sample),) = card.lift(colour)
    assert which == slice(0, 3)
    assert np.array_equal(sample, colour)
    ((which, sample),) = card.lift(colour[:1])
    assert which == slice(0, 1)
    assert np.array_equal(sample, np.repeat(colour[:1], 3, axis=0))
