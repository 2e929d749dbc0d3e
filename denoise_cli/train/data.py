"""Clean pictures to batches of clean patches, and those to (noisy, clean) pairs.

A batch is a pure function of (seed, step): a run that is killed and resumed sees the same data as an
unbroken one, and no sampler state has to be saved.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from denoise_cli.card import UNTOLD
from denoise_cli.corrupt import Chain, Corruption, camera
from denoise_cli.corrupt.pictures import Jpeg, Quantise
from denoise_cli.errors import DenoiseError, TrainingError
from denoise_cli.media import image
from denoise_cli.train.stream import Pair, Stream

BUDGET = 4 << 30  # bytes of decoded pictures that are kept in memory
DECODERS = 4  # pictures decoded at once
TOLD = 0.5  # share of the samples whose noise level a net hears that may be told it
LUMA = np.array(camera.LUMA, np.float32)  # as in "L" of Pillow and rgb2gray


@dataclass(frozen=True)
class Batch:
    clean: np.ndarray  # (B, C, patch, patch) float32 in [0, 1]
    gray: np.ndarray  # (B, 1, 1, 1) bool: all channels of this sample are one, and so must its noise be


def load(
    paths: Sequence[Path],
    channels: int,
    on_skip: Callable[[Path, str], None],
    *,
    least: int = 64,
    seed: int = 0,
    budget: int = BUDGET,
) -> list[np.ndarray]:
    """Decode pictures to (C, H, W), uint8 where the file holds 8 bits, else float32.

    Together they take at most about `budget` bytes: of a picture above its equal share a random part is kept,
    with sides of at least `least` pixels, so that every picture of a large folder is seen. Files that cannot
    be read are reported and left out. Raises TrainingError if none is left.
    """
    share = budget // max(1, len(paths))

    def decode(numbered: tuple[int, Path]) -> np.ndarray | DenoiseError:
        index, path = numbered
        try:
            return _part(_decode(path, channels), share, least, np.random.default_rng([seed, index, 3]))
        except DenoiseError as error:
            return error

    pictures = []
    with ThreadPoolExecutor(DECODERS) as pool:
        for path, decoded in zip(paths, pool.map(decode, enumerate(paths)), strict=True):
            if isinstance(decoded, DenoiseError):
                on_skip(path, str(decoded))
            else:
                pictures.append(decoded)
    if not pictures:
        raise TrainingError("no picture to train on")
    return pictures


def _part(picture: np.ndarray, share: int, least: int, rng: np.random.Generator) -> np.ndarray:
    """A random part of at most about `share` bytes, in the picture's own proportions."""
    if picture.nbytes <= share:
        return picture
    scale = (share / picture.nbytes) ** 0.5
    height, width = (min(side, max(least, int(side * scale))) for side in picture.shape[1:])
    top, left = (int(rng.integers(a - b + 1)) for a, b in zip(picture.shape[1:], (height, width), strict=True))
    return picture[:, top : top + height, left : left + width].copy()


def _decode(path: Path, channels: int) -> np.ndarray:
    signal = image.read(path)
    header, x = signal.header, signal.data
    if header.frames > 1:
        x = x[:, : header.length]
    group = header.groups[0]
    x = x[list(group)]
    if channels == 1 and len(group) == 3:
        x = np.tensordot(LUMA, x, 1)[None]
    elif channels == 3 and len(group) == 1:
        x = np.broadcast_to(x, (3, *x.shape[1:]))
    # 8-bit pictures stay 8-bit in memory: a quarter of the size.
    return (x * 255).round().astype(np.uint8) if header.step >= 1 / 255 else np.ascontiguousarray(x)


def is_gray(picture: np.ndarray) -> bool:
    return len(picture) == 1 or all(np.array_equal(picture[0], channel) for channel in picture[1:])


class Patches(Stream[Batch]):
    """Random crops, in the eight orientations if `augment`, each picture equally likely.

    `noise` corrupts them on the device. `gray` is the share of samples that a colour model sees as one gray
    channel, three times. With `told`, half of them come with the level of their noise: the standard deviation of
    what the parts of the chain add, up to the first that rounds or compresses.
    Pictures smaller than the patch are mirrored up to it.
    """

    unit = 1 / 255

    def __init__(
        self,
        pictures: Sequence[np.ndarray],
        noise: Chain,
        patch: int,
        batch_size: int,
        seed: int,
        gray: float = 0.0,
        augment: bool = True,
        told: bool = False,
    ):
        self.noise, self.told = noise, told
        self.pictures = [_at_least(p, patch) for p in pictures]
        self.patch, self.batch_size, self.seed, self.gray = patch, batch_size, seed, gray
        self.augment = augment
        self.is_gray = [is_gray(p) for p in pictures]

    def batch(self, step: int) -> Batch:
        rng = np.random.default_rng([self.seed, step])
        samples, grays = [], []
        for _ in range(self.batch_size):
            index = int(rng.integers(len(self.pictures)))
            picture = self.pictures[index]
            top, left = (int(rng.integers(n - self.patch + 1)) for n in picture.shape[1:])
            patch = picture[:, top : top + self.patch, left : left + self.patch]
            turn = int(rng.integers(8)) if self.augment else 0
            patch = np.rot90(patch, turn % 4, (1, 2))
            patch = patch[:, :, ::-1] if turn >= 4 else patch
            patch = patch.astype(np.float32) / 255 if patch.dtype == np.uint8 else patch
            gray = rng.random() < self.gray or self.is_gray[index]
            if gray and len(patch) == 3 and not self.is_gray[index]:
                patch = np.broadcast_to(np.tensordot(LUMA, patch, 1), patch.shape)
            samples.append(patch)
            grays.append(gray)
        return Batch(np.stack(samples), np.array(grays).reshape(-1, 1, 1, 1))

    def pair(self, batch: Batch, device: torch.device, generator: torch.Generator) -> Pair:
        clean = torch.from_numpy(batch.clean).to(device)
        noisy, level = self._noised(clean, batch.gray, generator)
        return Pair(noisy, clean, level)

    def attacked(
        self, batch: Batch, device: torch.device, generator: torch.Generator, attack: Callable[..., Tensor]
    ) -> Pair:
        clean = torch.from_numpy(batch.clean).to(device)
        # What was attacked is a picture still; it is the noise that may leave [0, 1].
        attacked = attack(clean, gray=torch.from_numpy(batch.gray).to(device)).clip(0, 1)
        noisy, level = self._noised(attacked, batch.gray, generator)
        return Pair(noisy, clean, level)

    def _noised(self, x: Tensor, gray: np.ndarray, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """Noisy pictures, and the level of the noise of each, as far as the net is told.

        A gray picture is hit as one channel, and JPEG sees no colours that it has not: its channels stay equal.
        """
        parts = self.noise.parts
        coarse = next((i for i, part in enumerate(parts) if is_coarse(part)), len(parts))
        added, noisy = torch.empty_like(x), torch.empty_like(x)
        for rows, channels in ((np.flatnonzero(gray), 1), (np.flatnonzero(~gray), x.shape[1])):
            if len(rows):
                its = torch.from_numpy(rows).to(x.device)
                added[its] = one = Chain(parts[:coarse])(x[its, :channels], generator).expand_as(x[its])
                noisy[its] = Chain(parts[coarse:])(one[:, :channels], generator).expand_as(x[its])
        return noisy, self._level(added - x, generator) if self.told else None

    def _level(self, noise: Tensor, generator: torch.Generator) -> Tensor:
        """The standard deviation of each, (B,); UNTOLD for those that come without."""
        known = torch.rand(len(noise), generator=generator, device=noise.device) < TOLD
        return torch.where(known, noise.flatten(1).std(1), UNTOLD)


def is_coarse(part: Corruption | Chain) -> bool:
    """Whether a corruption rounds or compresses, so that what it changes is no level of noise."""
    return isinstance(part, (Quantise, Jpeg))


def _at_least(picture: np.ndarray, side: int) -> np.ndarray:
    height, width = picture.shape[1:]
    if height >= side and width >= side:
        return picture
    short = [(0, max(0, side - height)), (0, max(0, side - width))]
    return np.pad(picture, [(0, 0), *short], mode="symmetric")
