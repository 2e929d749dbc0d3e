"""Recordings through the model: long segments that overlap, at the model's rate, and the band above it.

    frames    |------------ core ------------|------------ core ------------|
    segment        |<========== read ==========>| halo                          context, cropped

The model hears `rate` samples a second; what a recording of another rate holds besides is for upper_band.py.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from denoise_cli import treble, upper_band
from denoise_cli.gentle import Gentle
from denoise_cli.hearing import Hearing
from denoise_cli.session import Session
from denoise_cli.signal import Header
from denoise_cli.workers import Options, Tile, Workers

CORE = 20  # seconds, about: longer ones leave the cache and take memory, shorter ones overlap more
RESAMPLED = 10  # at most, where copies at another rate take memory too: the peak then stays below 400 MB
MARGIN = 0.1  # seconds that the filters of resampling reach, and more


@dataclass(frozen=True)
class Plan:
    """How a recording is cut, in seconds and frames; a function of rate and model alone."""

    rate: int  # of the recording
    model_rate: int
    multiple: int
    unit: int  # seconds, whole, in which both rates and the model's grid come out even
    core: int  # frames
    halo: int  # frames

    @classmethod
    def of(cls, rate: int, model_rate: int, multiple: int, halo: int) -> Plan:
        """`halo` is the model's, in its own samples."""
        unit = multiple // math.gcd(model_rate, multiple)
        if rate == model_rate:
            seconds, context = CORE, math.ceil(halo / multiple) * multiple
        else:
            seconds = min(CORE, RESAMPLED)
            context = math.ceil((halo / model_rate + MARGIN + upper_band.SPAN) / unit) * unit * rate
        step = unit * rate
        core = math.ceil(max(seconds * rate, context) / step) * step  # its end is context, too
        return cls(rate, model_rate, multiple, unit, core, context)


def segments(
    blocks: Iterable[np.ndarray], header: Header, workers: Workers, options: Options
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (input, output) of consecutive frames, (C, n, 1) each, to the end of `blocks`, wherever that is."""
    assert header.rate is not None, "a recording has a rate"
    session = workers.session(header)
    card = session.card
    assert card.rate is not None, "so says its card"
    channels = 1 if options.link else header.channels
    gentle = [Gentle(header.rate) for _ in range(channels)] if options.gentle else []
    hearing = [] if card.level is None else [Hearing(header.rate, card.level) for _ in range(channels)]
    about = math.ceil(upper_band.SPAN * card.rate) if gentle else 0  # how far that looks to either side
    plan = Plan.of(header.rate, card.rate, card.multiple, card.halo + about)
    ahead: deque[_Segment] = deque()
    for left, core, right in cut(blocks, plan.core, plan.halo):
        ahead.append(_Segment(left, core, right, plan, session, workers, options, hearing))
        del left, core, right
        if len(ahead) > len(workers.threads):
            yield ahead.popleft().join(options, gentle)
    while ahead:
        yield ahead.popleft().join(options, gentle)


def cut(
    blocks: Iterable[np.ndarray], length: int, halo: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Blocks (C, n, 1) -> (context before, core of `length`, context after), (C, n) each; none at the ends."""
    left: np.ndarray | None = None
    held: list[np.ndarray] = []
    count = 0
    for block in blocks:
        held.append(block[:, :, 0])
        count += block.shape[1]
        while count >= length + halo:
            x = np.concatenate(held, axis=1)
            core, rest = x[:, :length], x[:, length:]
            yield (x[:, :0] if left is None else left), core, rest[:, :halo]
            left, held, count = core[:, length - halo :].copy(), [rest.copy()], rest.shape[1]
            del x, core, rest
    if count:
        x = np.concatenate(held, axis=1)
        while x.shape[1]:
            core, x = x[:, :length], x[:, length:]
            yield (core[:, :0] if left is None else left), core, x[:, :halo]
            left = core[:, max(0, core.shape[1] - halo) :]


class _Segment:
    """One segment on its way through the session."""

    def __init__(
        self,
        left: np.ndarray,
        core: np.ndarray,
        right: np.ndarray,
        plan: Plan,
        session: Session,
        workers: Workers,
        options: Options,
        hearing: Sequence[Hearing],
    ):
        self.core, self.plan = core, plan
        self.keep = slice(left.shape[1], left.shape[1] + core.shape[1])
        self.x = np.concatenate([left, core, right], axis=1)
        self.heard = upper_band.resampled(self.x, plan.rate, plan.model_rate)  # what the model hears
        length = self.heard.shape[1]
        padded = np.pad(self.heard, ((0, 0), (0, -length % plan.multiple)))
        self.said = np.empty_like(self.heard)
        self.groups = [slice(0, len(core))] if options.link else [slice(c, c + 1) for c in range(len(core))]
        self.tiles = []
        for index, group in enumerate(self.groups):
            gain = np.float32(hearing[index].gain(core[group]) if hearing else 1)
            self.tiles.append(Tile(session, padded[group] * gain, partial(self._deliver, group, gain)))
        for tile in self.tiles:
            workers.submit(tile)

    def _deliver(self, channels: slice, gain: np.float32, y: np.ndarray) -> None:
        self.said[channels] = y[:, : self.said.shape[1]] / gain

    def join(self, options: Options, gentle: Sequence[Gentle]) -> tuple[np.ndarray, np.ndarray]:
        """The core's input and output, (C, n, 1) each; waits for the model."""
        for tile in self.tiles:
            tile.done.result()
        self.tiles.clear()
        if gentle and options.atten_lim is None:
            for group in self.groups:
                self.said[group] = treble.spared(self.heard[group], self.said[group], self.plan.model_rate)
        whole = upper_band.restored(self.x, self.heard, self.said, self.plan.rate, self.plan.model_rate)
        y = whole[:, self.keep]
        strength: float | np.ndarray = options.strength
        if options.atten_lim is not None:
            strength = options.strength * (1 - 10 ** (-options.atten_lim / 20))
        elif gentle:
            left = [
                np.broadcast_to(one.left(self.x[group], whole[group], self.keep), self.core[group].shape)
                for one, group in zip(gentle, self.groups, strict=True)
            ]
            strength = options.strength * (1 - np.concatenate(left))
        if np.any(strength < 1):
            y = self.core + np.asarray(strength, np.float32) * (y - self.core)
        return self.core[:, :, None], np.ascontiguousarray(y)[:, :, None]
