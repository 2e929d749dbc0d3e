"""Training on recordings: mixtures of speech and noise made on the fly, scored by SI-SDR on fixed ones."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL.Image import Image
from torch import nn

from denoise_cli import media
from denoise_cli.errors import UsageError
from denoise_cli.metrics import NoScore, pesq, si_sdr
from denoise_cli.metrics.speech import installed
from denoise_cli.spectrograms import sheet, spectrogram
from denoise_cli.train import loudness, tasks
from denoise_cli.train.loop import Options
from denoise_cli.train.mixing import Batch, Mixing, Mixtures, load

SEGMENT = 32768  # samples of a training segment by default: 2 s at 16 kHz
EXAMPLES = 32  # mixtures that validation listens to
SECONDS = 4  # of each
SHOWN = 5  # of them on the sheet
LOUDER = 1.0  # dB, of a mixture as hearing.py measures it above its active speech, in the median


class Sounds:
    """A ``Task``: clean recordings of any rate and length, and a folder of noises to mix with them."""

    kind = "audio"
    metric = "SI-SDR"
    stream: Mixtures
    examples: Batch | None = None

    def __init__(
        self, clean: Path, options: Options, noises: Path | None = None, val: Path | None = None, rate: int = 16_000
    ):
        self._left_out: list[tasks.LeftOut] = []
        self._val = val
        suffixes = media.AUDIO_SUFFIXES
        self.training, self.validation = tasks.split(clean, val, suffixes, "recordings", self._left_out)
        self.noises = [] if noises is None else tasks.listing(noises, suffixes, self._left_out)
        if noises is not None and not self.noises:
            raise UsageError(f"--noise-dir {noises}: no recordings in it")
        self.count = len(self.training)
        self.files = [*self.training, *self.validation, *self.noises]
        self.rate, self.options = rate, options
        self.mixing = Mixing()

    def check(self, net: nn.Module) -> None:
        multiple = getattr(net, "multiple", 1)
        if self.options.patch % multiple:
            raise UsageError(
                f"--patch {self.options.patch} samples must be a multiple of {multiple} for {self.options.arch}"
            )
        if self.options.loss == "perceptual" and self.rate != loudness.RATE:
            raise UsageError(f"loss perceptual knows recordings at {loudness.RATE} Hz, not at {self.rate}")

    def load(self, net: nn.Module, device: torch.device, say: Callable[[str], None]) -> None:
        o, skip = self.options, tasks.skipping(say, self._left_out)
        held = tasks.held_out(self.noises)
        noises = [path for path in self.noises if path not in set(held)]
        count = len(self.validation)
        say(f"{len(self.training)} recordings and {len(noises)} noises to train on, {count} recordings to validate")
        if not noises:
            say("no recorded noise: white to brown noise alone is learned; see --noise-dir")
        self.multiple, self.device = getattr(net, "multiple", 1), device
        speech, noise = load(self.training, self.rate, skip), self._read(noises, skip)
        self.stream = Mixtures(speech, noise, self.rate, o.patch, o.batch_size, o.seed, self.mixing)
        voices = tasks.to_validate(lambda: self._read(self.validation, skip), self._val, say)
        if voices:
            # No empty ones: nothing to score; none nearly clean, which would rule the mean.
            # White and brown noise where there are no files to hold out.
            fair = dataclasses.replace(self.mixing, clean=0, empty=0, high=0, rumble=0)
            length = SECONDS * self.rate // self.multiple * self.multiple
            others = tasks.to_validate(lambda: self._read(held, skip), None, lambda line: None)
            # The same in every training; where the voice is silent there is nothing to score.
            drawn = Mixtures(voices, others, self.rate, length, EXAMPLES, 1, fair).batch(0)
            heard = np.ptp(drawn.clean, axis=(1, 2)) > 0
            if heard.any():
                self.examples = Batch(drawn.noisy[heard], drawn.clean[heard])
            else:
                say("what was held out is silent where it was listened to, so nothing is validated")

    def _read(self, paths: Sequence[Path], skip: Callable[[Path, str], None]) -> list[np.ndarray]:
        return load(paths, self.rate, skip) if paths else []

    def card(self) -> dict[str, Any]:
        m = self.mixing
        low, high = m.snr
        if m.high:
            high = max(high, m.high_snr[1])
        return {
            "channels": 1,
            "rate": self.rate,
            "level": sum(m.level) / 2 + LOUDER,
            "noise": f"recorded and coloured noise, {low:g} to {high:g} dB SNR",
        }

    def validate(self, net: nn.Module) -> float | None:
        if self.examples is None:
            return None
        clean, denoised = self.examples.clean, self._infer(net, self.examples.noisy)
        return float(np.mean([si_sdr(y[0], x[0]) for x, y in zip(clean, denoised, strict=True)]))

    def scores(self, net: nn.Module) -> dict[str, float]:
        """SI-SDR, and PESQ where it is installed: too slow to be asked for in between."""
        if self.examples is None:
            return {}
        clean, denoised = self.examples.clean, self._infer(net, self.examples.noisy)
        found = {self.metric: [si_sdr(y[0], x[0]) for x, y in zip(clean, denoised, strict=True)]}
        if installed("pesq"):
            found["PESQ-WB"] = []
            for x, y in zip(clean, denoised, strict=True):
                with contextlib.suppress(NoScore):
                    found["PESQ-WB"].append(pesq(y[0], x[0], self.rate))
        return {name: float(np.mean(values)) for name, values in found.items() if values}

    def sheet(self, net: nn.Module) -> Image | None:
        if self.examples is None:
            return None
        rows, captions = [], []
        for clean, noisy in zip(self.examples.clean[:SHOWN], self.examples.noisy[:SHOWN], strict=True):
            heard = [clean, noisy, self._infer(net, noisy[None])[0]]
            rows.append([spectrogram(x, self.rate, size=(360, 160)) for x in heard])
            captions.append(["", *(f"SI-SDR {si_sdr(x[0], clean[0]):.1f} dB" for x in heard[1:])])
        return sheet(rows, ["original", "noisy", "denoised"], captions)

    def _infer(self, net: nn.Module, x: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return net(torch.from_numpy(x).to(self.device)).float().cpu().numpy()
