"""Is a file like those the model knows? Its reconstruction error against the threshold in the model's card."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from denoise_cli.card import ModelCard
from denoise_cli.metrics import ErrorMeter, exceeds
from denoise_cli.pipeline import Result
from denoise_cli.workers import Options


class Verdict:
    """Watches one file go through the model; does nothing unless anomalies are to be flagged."""

    def __init__(self, card: ModelCard, options: Options):
        self._meter: ErrorMeter | None = None
        if options.flag:
            self._meter, self._limit = ErrorMeter(card.std), float(card.anomaly["threshold"])  # checked by Workers

    def add(self, x: np.ndarray, y: np.ndarray) -> None:
        if self._meter is not None:
            self._meter.add(x, y)

    def on(self, result: Result) -> Result:
        """The result of this file with its score and whether it is above the threshold."""
        if self._meter is None:
            return result
        score = self._meter.mean()
        return replace(result, score=score, anomaly=exceeds(score, self._limit))
