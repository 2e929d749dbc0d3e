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


def test_lift_and_lower_are_inverses():
    rng = np.random.default_rng(0)
    for model_channels in (1, 3):
        card = ModelCard("m", channels=model_channels)
        for channels in (1, 2, 3):
            x = rng.random((channels, 4, 5), dtype=np.float32)
            lifted = card.lift(x)
            assert lifted.shape[1:] == (model_channels, 4, 5)
            assert np.allclose(card.lower(list(lifted), channels), x, atol=1e-7)


def test_colour_runs_as_one_sample_and_gray_as_three_equal_channels():
    card = ModelCard("m", channels=3)
    assert card.lift(np.zeros((3, 2, 2), np.float32)).shape == (1, 3, 2, 2)
    assert card.lift(np.zeros((1, 2, 2), np.float32)).shape == (1, 3, 2, 2)
