"""Training on tables and series: noise in standardised units made on the fly, scored on rows that were held out.

What is missing in the training data is told to the net as missing, and counts neither in the loss nor in a score.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor, nn

from denoise_cli import corrupt
from denoise_cli.corrupt import Chain
from denoise_cli.errors import DenoiseError, InputError, TrainingError, UnavailableError, UsageError
from denoise_cli.media import TABLE_SUFFIXES
from denoise_cli.media import table as tables
from denoise_cli.media.layout import Layout, Tabular
from denoise_cli.signal import Header
from denoise_cli.train import columns, tasks
from denoise_cli.train.loop import Options
from denoise_cli.train.scale import Scale
from denoise_cli.train.stream import Pair, Stream

NOISE: dict[Tabular, str] = {
    "table": "masking:amount=0.1-0.5",
    "series": "gaussian:std=0-1+masking:amount=0-0.1,size=8",
}
ARCH: dict[Tabular, str] = {"table": "dense", "series": "series"}
LOSSES = ("mse", "l1", "charbonnier", "bce")  # those that are a mean over values, so that some may be left out
BATCH = {"table": 128, "series": 16}
OPTIMISER, RATE = "adamw", 1e-3
SEGMENT = 512  # samples of a training segment by default
HELD = (
    10  # without --val, and with fewer files than are held out as a whole, one row in so many, or the last of time
)
NAMED = 12  # columns that are told by name
LEAST = 20  # rows, or segments' samples, from which any are held out
BUDGET = 1 << 30  # bytes of values that are kept in memory
CELLS, LONGEST = 1 << 18, 1 << 16  # values of a table, moments of a series, that are validated in one call
LEVELS = 4  # noisy versions of every row that is held out


class Samples(Stream[np.ndarray]):
    """Rows of tables, or segments of series, each value in standard deviations; nets see the columns' own units."""

    def __init__(self, data: Sequence[np.ndarray], scale: Scale, noise: Chain, options: Options, kind: Tabular):
        self.data = [scale.inwards(x) for x in data]
        self.scale, self.noise, self.kind = scale, noise, kind
        self.batch_size, self.seed, self.length = options.batch_size, options.seed, options.patch
        self.axes = 1 if kind == "table" else 2
        if kind == "table":
            self.rows = np.concatenate(self.data, axis=1).T  # (n, F)
        self.chances = np.cumsum([x.shape[1] for x in data]) / sum(x.shape[1] for x in data)

    def batch(self, step: int) -> np.ndarray:
        """(B, F), or (B, C, length), standardised, NaN where missing."""
        rng = np.random.default_rng([self.seed, step])
        if self.kind == "table":
            return self.rows[rng.integers(len(self.rows), size=self.batch_size)]
        return np.stack([self._segment(rng) for _ in range(self.batch_size)])

    def _segment(self, rng: np.random.Generator) -> np.ndarray:
        """Any part of any file, a long one as much more often as it is longer; a short one ends in a gap."""
        x = self.data[int(np.searchsorted(self.chances, rng.random(), side="right"))]
        start = int(rng.integers(max(1, x.shape[1] - self.length + 1)))
        part = x[:, start : start + self.length]
        return np.pad(part, ((0, 0), (0, self.length - part.shape[1])), constant_values=np.nan)

    def pair(self, batch: np.ndarray, device: torch.device, generator: torch.Generator) -> Pair:
        z = torch.from_numpy(batch).to(device)
        noisy = self.noise.on_table(as_columns(z), generator).reshape(z.shape)
        mean, std = self.scale.shaped(self.axes, device)
        return Pair(noisy * std + mean, z * std + mean)

    def judged(self, loss: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
        """In standard deviations, over the values whose clean side is known."""

        def known(output: Tensor, target: Tensor) -> Tensor:
            mean, std = self.scale.shaped(self.axes, target.device)
            there = ~torch.isnan(target)
            if not bool(there.any()):
                return output.sum() * 0
            return loss(((output - mean) / std)[there], ((target - mean) / std)[there])

        return known


def as_columns(z: Tensor) -> Tensor:
    """(B, F) or (B, C, T) -> (B, C, T, 1), as corruptions take tables."""
    return z[:, :, None, None] if z.ndim == 2 else z[:, :, :, None]


class Tables:
    """A ``Task`` for tables and series; reads its files when it is made, for they decide the size of the net."""

    metric = "SNR"
    stream: Samples

    def __init__(
        self,
        clean: Path,
        options: Options,
        val: Path | None = None,
        kind: Tabular = "table",
        taken: Sequence[str] = (),
    ):
        """`taken` names the columns that are modelled; (): those of numbers that are fit for it."""
        self.kind = kind
        noun = "tables" if kind == "table" else "series"
        self._skipped: list[tasks.LeftOut] = []
        training, validation = tasks.split(clean, val, TABLE_SUFFIXES, noun, self._skipped)
        self.files = [*training, *validation]
        self._notes: list[str] = []
        self.taken, self.names = tuple(taken), tuple(taken) or None
        self.data = self._read(training, clean)
        names: Counter[str] = Counter(self.names or ())
        twice = [name for name, count in names.items() if name and count > 1]
        if twice:  # no file could be matched with the model by its names
            raise TrainingError(f'{clean}: has more than one column "{twice[0]}"')
        self._leave_out_the_unfit(training, clean)
        self.held = []
        if validation:
            self.held = tasks.to_validate(lambda: self._read(validation, val or clean), val, self._notes.append)
        if not validation:
            self._hold_out(options)
        features = len(self.data[0])
        size = "features" if kind == "table" else "channels"
        net = {**options.net, size: features}
        if options.loss == "bce" and kind == "table":
            net["sigmoid"] = True
        self.options = dataclasses.replace(options, net=net)
        self.scale = self._scale(net)
        samples = sum(x.shape[1] for x in self.data)
        self.count = samples if kind == "table" else math.ceil(samples / options.patch)
        header = Header(kind, features, None)
        try:
            corrupt.parse(options.noise).check(header)
        except InputError as error:
            raise UsageError(f"--noise {options.noise}: {error}") from None
        if options.loss not in LOSSES:
            raise UsageError(f"--loss {options.loss} is not for {noun}; choose from {', '.join(LOSSES)}")

    def _read(self, paths: Sequence[Path], root: Path) -> list[np.ndarray]:
        """(F, n) float32 each, NaN where missing; files that do not go with the first are noted and left out."""
        data: list[np.ndarray] = []
        room = BUDGET
        for path in paths:
            try:
                with self._opened(path) as source:
                    room -= 4 * source.header.channels * (source.header.length or 0)
                    if room < 0:
                        raise TrainingError(f"{root}: more than {BUDGET >> 30} GiB of values; train on fewer files")
                    if self.names is None:
                        self.names = tuple(source.names)
                        self._notes += source.doubtful()
                    data.append(np.concatenate([block[:, :, 0] for block in source.blocks()], axis=1))
            except (UnavailableError, TrainingError):
                raise
            except (DenoiseError, OSError) as error:
                self._skipped.append((path, str(error)))
        data = self._known(data)
        if not data:
            reason = f": {self._skipped[0][1]}" if self._skipped else ""
            raise TrainingError(f"{root}: nothing to train on{reason}")
        return data

    def _opened(self, path: Path) -> closing[tables.TableSource]:
        """A file with the columns of the first one, which takes what it has."""
        layout = Layout(self.kind)
        if self.names is not None:
            names = self.names if any(self.names) else ()
            layout = Layout(self.kind, names, len(self.names), by_name=bool(self.taken))
        return closing(tables.open_table(path.open("rb"), str(path), layout))

    def _leave_out_the_unfit(self, paths: Sequence[Path], root: Path) -> None:
        """What is unfit is no column of the model, where names say which is meant; else it is told.

        The files are asked once more, for float32 hides much of what they hold.
        """
        if not columns.suspected(self.data):
            return
        bad, courses = {path for path, _ in self._skipped}, []
        for path in paths:
            if path not in bad:
                with self._opened(path) as source:
                    courses.append(source.course())
        names = self.names or ()
        rest, notes = columns.kept(names, courses, root, chosen=bool(self.taken))
        self._notes += notes
        self.names = tuple(names[c] for c in rest)
        self.data = self._known([x[rest] for x in self.data])

    def _known(self, data: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Without the rows of a table of which nothing is known, which teach nothing, and without empty files."""
        if self.kind == "table":
            data = [x[:, np.isfinite(x).any(0)] for x in data]
        return [x for x in data if x.size]

    def _hold_out(self, options: Options) -> None:
        """A tenth of the rows, by chance; of a series the last tenth of its time."""
        for index, x in enumerate(self.data):
            n = x.shape[1]
            if self.kind == "table":
                held = np.random.default_rng([options.seed, index, 4]).permutation(n) < n // HELD
                if n >= LEAST:
                    self.data[index], at = x[:, ~held], x[:, held]
                    self.held.append(at)
            elif n >= max(LEAST, HELD * 2 * 4):
                self.data[index] = x[:, : n - n // HELD]
                self.held.append(x[:, n - n // HELD :])

    def _scale(self, net: dict[str, Any]) -> Scale:
        if not net.get("sigmoid"):
            return Scale.of(self.data)
        # A net whose output is in (0, 1) is for data that are, as they are.
        for j, name in enumerate(self.names or ()):
            low, high = (
                f([f(x[j], initial=0.5, where=np.isfinite(x[j])) for x in self.data]) for f in (np.min, np.max)
            )
            if low < 0 or high > 1:
                worst = low if low < 0 else high
                raise UsageError(f'loss bce needs data in [0, 1]; column "{name or j + 1}" holds {worst:g}')
        features = len(self.data[0])
        return Scale(np.zeros(features), np.ones(features))

    def check(self, net: nn.Module) -> None:
        multiple = getattr(net, "multiple", 1)
        if self.kind == "series" and self.options.patch % multiple:
            raise UsageError(
                f"--patch {self.options.patch} samples must be a multiple of {multiple} for {self.options.arch}"
            )

    def load(self, net: nn.Module, device: torch.device, say: Callable[[str], None]) -> None:
        tasks.skipping(say, self._skipped)
        for note in self._notes:
            say(note)
        rows, held = (sum(x.shape[1] for x in data) for data in (self.data, self.held))
        names = [name for name in self.names or () if name]
        named = f" ({', '.join(names[:NAMED])}{', ...' if len(names) > NAMED else ''})" if names else ""
        say(f"{rows} rows of {len(self.data[0])} columns{named} to train on, {held} to validate")
        net.standardise(self.scale.mean.tolist(), self.scale.std.tolist())  # type: ignore[operator]
        self.device, self.multiple = device, getattr(net, "multiple", 1)
        noise = corrupt.parse(self.options.noise)
        self.stream = Samples(self.data, self.scale, noise, self.options, self.kind)
        parts = [part for x in self.held for part in self._parts(x)]
        self.examples = [self._example(x, noise, index) for index, x in enumerate(parts)]

    def _parts(self, x: np.ndarray) -> list[np.ndarray]:
        """Pieces of (F, n) that the net takes in one call; its activations are many times as large."""
        n = max(1, CELLS // len(x)) if self.kind == "table" else LONGEST
        return [x[:, start : start + n] for start in range(0, x.shape[1], n)]

    def _example(self, x: np.ndarray, noise: Chain, index: int) -> tuple[np.ndarray, np.ndarray]:
        """(clean, noisy), (B, F) or (1, C, T), standardised, with a noise that is always the same."""
        rng = np.random.default_rng([self.options.seed, index, 2])
        z = self.scale.inwards(x)
        if self.kind == "table":
            rows = np.repeat(z.T, LEVELS, axis=0)
            return rows, noise.on_table(rows[:, :, None, None], rng)[:, :, 0, 0]
        z = np.pad(z, ((0, 0), (0, -z.shape[1] % self.multiple)), constant_values=np.nan)[None]
        return z, noise.on_table(z[:, :, :, None], rng)[:, :, :, 0]

    def card(self) -> dict[str, Any]:
        names = self.names or ()
        return {
            "channels": len(self.data[0]),
            "noise": self.options.noise,
            "columns": names if any(names) else (),
            "mean": tuple(self.scale.mean.tolist()),
            "std": tuple(self.scale.std.tolist()),
        }

    def validate(self, net: nn.Module) -> float | None:
        """How far the error lies below the standard deviation, dB, over the values that the noise has changed."""
        errors = []
        for clean, noisy in self.examples:
            error = (self._infer(net, noisy) - clean) ** 2
            errors.append(error[(noisy != clean) & np.isfinite(clean)])
        every = np.concatenate(errors) if errors else np.empty(0)
        return -10 * math.log10(max(float(every.mean()), 1e-12)) if every.size else None

    def scores(self, net: nn.Module) -> dict[str, float]:
        score = self.validate(net)
        return {} if score is None else {self.metric: score}

    def sheet(self, net: nn.Module) -> Image | None:
        """Numbers make no picture."""
        return None

    def _infer(self, net: nn.Module, z: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            mean, std = self.scale.shaped(z.ndim - 1, self.device)
            y = net(torch.from_numpy(z).to(self.device) * std + mean).float()
            return ((y - mean) / std).cpu().numpy()
