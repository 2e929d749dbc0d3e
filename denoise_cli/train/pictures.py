"""Training on pictures: patches with noise made on the fly, scored by PSNR on fixed noisy pictures."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL.Image import Image
from torch import nn

from denoise_cli import corrupt, media, pictures
from denoise_cli.errors import InputError, UsageError, choice
from denoise_cli.media import image
from denoise_cli.metrics import psnr
from denoise_cli.signal import Header
from denoise_cli.tiles import pad
from denoise_cli.train import data, tasks
from denoise_cli.train.loop import Options

SIDE = 256  # validation looks at the centre of each picture, so that it takes a second, not a minute
SHOWN = 5  # pictures on the sheet


@dataclass(frozen=True)
class Example:
    """A validation picture with its fixed noise, (C, H, W) each."""

    clean: np.ndarray
    noisy: np.ndarray


class Pictures:
    """A ``Task``. `channels` 1 trains a gray model, 3 a colour one; None: whatever the pictures are."""

    kind = "image"
    metric = "PSNR"
    stream: data.Patches
    examples: list[Example]

    def __init__(self, clean: Path, options: Options, val: Path | None = None, channels: int | None = None):
        self._left_out: list[tasks.LeftOut] = []
        self._val = val
        suffixes = media.IMAGE_SUFFIXES
        self.training, self.validation = tasks.split(clean, val, suffixes, "pictures", self._left_out)
        self.count, self.files = len(self.training), [*self.training, *self.validation]
        if channels is None:
            channels = options.net.get("channels") or _guess_channels(self.training)
        if channels not in (1, 3):
            raise UsageError(choice("number of channels", channels, (1, 3)))
        self.channels: int = channels
        self.options = dataclasses.replace(options, net={**options.net, "channels": channels})
        self._check_noise()

    def _check_noise(self) -> None:
        noise = corrupt.parse(self.options.noise)
        try:
            noise.check(Header("image", self.channels, None))
        except InputError as error:
            raise UsageError(f"--noise {self.options.noise}: {error}") from None
        within = sum(map(data.is_coarse, noise.each())) - sum(map(data.is_coarse, noise.parts))
        if self.options.told and within:
            raise UsageError(
                f"--noise {self.options.noise}: for a net that is told the level of the noise, what rounds or "
                "compresses stands behind a plus sign, not within | or ()"
            )

    def check(self, net: nn.Module) -> None:
        multiple = getattr(net, "multiple", 1)
        if self.options.patch % multiple:
            raise UsageError(
                f"--patch {self.options.patch} must be a multiple of {multiple} for {self.options.arch}"
            )

    def load(self, net: nn.Module, device: torch.device, say: Callable[[str], None]) -> None:
        o, skip = self.options, tasks.skipping(say, self._left_out)
        say(f"{self.count} pictures to train on, {len(self.validation)} to validate")
        self.multiple, self.device = getattr(net, "multiple", 1), device
        pool = data.load(self.training, self.channels, skip, least=o.patch, seed=o.seed)
        self.examples = []
        if self.validation:
            held = tasks.to_validate(lambda: data.load(self.validation, self.channels, skip), self._val, say)
            self.examples = _examples(held, o)
        self.stream = data.Patches(
            pool, corrupt.parse(o.noise), o.patch, o.batch_size, o.seed, o.gray, o.augment, o.told
        )

    def card(self) -> dict[str, Any]:
        return {"channels": self.channels, "noise": self.options.noise}

    def validate(self, net: nn.Module) -> float | None:
        if not self.examples:
            return None
        return float(np.mean([psnr(self._infer(net, e.noisy), e.clean) for e in self.examples]))

    def scores(self, net: nn.Module) -> dict[str, float]:
        score = self.validate(net)
        return {} if score is None else {self.metric: score}

    def sheet(self, net: nn.Module) -> Image | None:
        if not self.examples:
            return None
        shown = [(e, self._infer(net, e.noisy)) for e in self.examples[:SHOWN]]
        return pictures.sheet(
            [[e.clean, e.noisy, y] for e, y in shown],
            ["original", "noisy", "denoised"],
            [["", f"{psnr(e.noisy.clip(0, 1), e.clean):.2f} dB", f"{psnr(y, e.clean):.2f} dB"] for e, y in shown],
        )

    def _infer(self, net: nn.Module, x: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            y = net(torch.from_numpy(pad(x, self.multiple))[None].to(self.device))[0].float().cpu().numpy()
        return y[:, : x.shape[1], : x.shape[2]].clip(0, 1)


def _guess_channels(paths: Sequence[Path]) -> int:
    """3 if any of the first pictures has colour, else 1."""
    for path in paths[:32]:
        with contextlib.suppress(Exception), path.open("rb") as file:
            source = image.open_image(file, str(path))
            if len(source.header.groups[0]) == 3:
                return 3
    return 1


def _examples(pool: Sequence[np.ndarray], options: Options) -> list[Example]:
    """Centres of the pictures with a noise that is the same in every run and every epoch."""
    noise = corrupt.parse(options.noise)
    examples = []
    for index, picture in enumerate(pool):
        height, width = (min(size, SIDE) for size in picture.shape[1:])
        top, left = (picture.shape[1] - height) // 2, (picture.shape[2] - width) // 2
        clean = picture[:, top : top + height, left : left + width]
        clean = clean.astype(np.float32) / 255 if clean.dtype == np.uint8 else np.ascontiguousarray(clean)
        examples.append(example(clean, noise, index))
    return with_noise(examples)


def example(clean: np.ndarray, noise: corrupt.Chain, index: int) -> Example:
    """A picture (C, H, W) with a noise that is the same in every training; of a gray one in all channels."""
    shown = clean[:1] if data.is_gray(clean) else clean
    noisy = noise(shown, np.random.default_rng([index, 2]))
    # Not a read-only view: torch warns of those.
    return Example(clean, np.array(np.broadcast_to(noisy, clean.shape), order="C"))


def with_noise(examples: list[Example]) -> list[Example]:
    """Those that drew any: of others the PSNR has no end, and would rule the mean. All, where none did."""
    return [one for one in examples if not np.array_equal(one.clean, one.noisy)] or examples
