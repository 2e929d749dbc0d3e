"""Training on a stack of small pictures, such as MNIST: whole pictures, every one once an epoch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from denoise_cli import corrupt
from denoise_cli.errors import UsageError
from denoise_cli.media import arrays
from denoise_cli.metrics import psnr
from denoise_cli.train import data, tasks
from denoise_cli.train.loop import Options
from denoise_cli.train.pictures import Pictures, example, with_noise

SCORED = 256  # pictures that the net is shown at once while validating


class Whole(data.Patches):
    """Whole pictures, (N, C, H, W) uint8, in a random order that is drawn anew for every epoch.

    The last batch of an epoch is filled up from the next one.
    """

    def __init__(self, pixels: np.ndarray, options: Options):
        self.noise = corrupt.parse(options.noise)
        self.pixels, self.batch_size, self.seed = pixels, options.batch_size, options.seed
        self.augment, self.gray, self.told = options.augment, options.gray, options.told
        self.alike = np.all(pixels == pixels[:, :1], axis=(1, 2, 3))  # (N,): gray, however many channels
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0, np.int64))

    def batch(self, step: int) -> data.Batch:
        first = step * self.batch_size
        chosen = np.array([self._at(first + k) for k in range(self.batch_size)])
        clean = self.pixels[chosen].astype(np.float32) / 255
        rng = np.random.default_rng([self.seed, step])
        if self.augment:
            clean = np.stack([_turned(x, int(rng.integers(8))) for x in clean])
        known = self.alike[chosen].reshape(-1, 1, 1, 1)
        gray = known | (rng.random(known.shape) < self.gray)
        if clean.shape[1] == 3:
            luma = np.tensordot(clean, data.LUMA, (1, 0))[:, None]
            clean = np.where(gray & ~known, luma, clean)
        return data.Batch(clean, gray)

    def _at(self, place: int) -> int:
        """Which picture has this place in the endless row of epochs."""
        epoch, index = divmod(place, len(self.pixels))
        if self._order[0] != epoch:
            self._order = epoch, np.random.default_rng([self.seed, epoch, 4]).permutation(len(self.pixels))
        return int(self._order[1][index])


def _turned(x: np.ndarray, turn: int) -> np.ndarray:
    """One of the eight orientations of (C, H, W), or of the four that keep the sides of an oblong."""
    x = x[:, ::-1] if turn & 1 else x
    x = x[:, :, ::-1] if turn & 2 else x
    return x.transpose(0, 2, 1) if turn & 4 and x.shape[1] == x.shape[2] else x


class Stacks(Pictures):
    """A ``Task``: the pictures of one array file. Without `val`, one in 90 of them is held out."""

    stack: arrays.Stack

    def __init__(self, clean: Path, options: Options, val: Path | None = None, channels: int | None = None):
        if channels not in (None, 1, 3):
            raise UsageError(f"--channels must be 1 or 3, not {channels}")
        pixels = arrays.read(clean, "train").pixels
        if val is None:
            held = np.zeros(len(pixels), bool)
            held[tasks.held_out(range(len(pixels)))] = True
            self.held, pixels = pixels[held], pixels[~held]
        else:
            if not arrays.is_named(val):
                raise UsageError(f"--val {val}: an array file is validated on another, such as mnist.npz:x_test")
            self.held = arrays.read(val, "test").pixels
            if self.held.shape[1:] != pixels.shape[1:]:
                raise UsageError(f"--val {val}: its pictures are of another size or colour")
        channels = channels or pixels.shape[1]
        self.pixels, self.held = (_as_channels(p, channels) for p in (pixels, self.held))
        self.count, self.channels = len(pixels), channels
        self.files = [arrays.split(path)[0] for path in (clean, val) if path is not None]
        self.options = dataclasses.replace(options, net={**options.net, "channels": channels})
        self._check_noise()

    def check(self, net: nn.Module) -> None:
        multiple, sides = getattr(net, "multiple", 1), self.pixels.shape[2:]
        if any(side % multiple for side in sides):
            raise UsageError(
                f"{self.options.arch} takes sides that are multiples of {multiple}; "
                f"these pictures are {sides[1]}x{sides[0]}"
            )

    def load(self, net: nn.Module, device: torch.device, say: Callable[[str], None]) -> None:
        say(f"{self.count} pictures to train on, {len(self.held)} to validate")
        self.multiple, self.device = getattr(net, "multiple", 1), device
        self.stream = Whole(self.pixels, self.options)
        noise = corrupt.parse(self.options.noise)
        pictures = (picture.astype(np.float32) / 255 for picture in self.held)
        self.examples = with_noise([example(clean, noise, index) for index, clean in enumerate(pictures)])

    def validate(self, net: nn.Module) -> float | None:
        if not self.examples:
            return None
        scores = []
        for start in range(0, len(self.examples), SCORED):
            some = self.examples[start : start + SCORED]
            with torch.no_grad():
                y = net(torch.from_numpy(np.stack([e.noisy for e in some])).to(self.device)).float().cpu().numpy()
            scores += [psnr(one.clip(0, 1), e.clean) for one, e in zip(y, some, strict=True)]
        return float(np.mean(scores))


def _as_channels(pixels: np.ndarray, channels: int) -> np.ndarray:
    """Gray as three equal channels, or colour as its luma."""
    if pixels.shape[1] == channels:
        return pixels
    if channels == 3:
        return np.repeat(pixels, 3, axis=1)
    return np.rint(np.tensordot(pixels, data.LUMA, (1, 0))).astype(np.uint8)[:, None]
