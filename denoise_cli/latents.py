"""Pictures to latent arrays and back: features for other programs, and compression.

    latents.npy    (N, K) float32, or (N, K, h, w) where a picture has more than one cell; beside it latents.json:
                   the model's name, the pictures' names in the same order, their height, width and channels
    latents.npz    the same in one file: arrays `latents`, `names`, and `about`, the JSON

All pictures of one file are of one size, so that their latents are one array.
"""

from __future__ import annotations

import json
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tokenize import TokenError
from typing import Any

import numpy as np

from denoise_cli import memory, tiles
from denoise_cli.card import ModelCard
from denoise_cli.errors import InputError, UsageError, first_line, printable
from denoise_cli.halves import Halves, cells
from denoise_cli.media.files import Replacing
from denoise_cli.stacks import slices

SUFFIXES = (".npy", ".npz")
LARGEST = 1 << 24  # pixels of a picture that is encoded in one piece


@dataclass(frozen=True)
class Latents:
    """Latent arrays of pictures of one size: `values` is (N, K, h, w) float32."""

    values: np.ndarray
    names: Sequence[str]  # of the pictures, in order
    height: int  # of a picture, pixels
    width: int
    channels: int
    model: str = ""  # the name of the model that made them
    fingerprint: str = ""  # of that model's graph; "": not known


def encode(x: np.ndarray, halves: Halves) -> Iterator[np.ndarray]:
    """(N, C, H, W) float32 in [0, 1] -> (n, K, h, w), batch after batch.

    Gray is three equal channels to a colour model. Raises InputError for pictures that the model cannot take.
    """
    card, (count, channels, height, width) = halves.card, x.shape
    if height * width > LARGEST:
        raise InputError(f"{width}x{height} pixels are more than the {LARGEST} that are encoded in one piece")
    if channels not in (1, card.channels):
        raise InputError(f'has {channels} channels, and model "{card.name}" encodes {card.channels}')
    for part in slices(count, height, width):
        fed = np.repeat(x[part], card.channels // channels, axis=1)
        yield halves.encode(tiles.pad(fed.astype(np.float32, copy=False), card.multiple))


def decode(latents: Latents, halves: Halves) -> Iterator[np.ndarray]:
    """Pictures in order, (C, H, W) float32 in [0, 1], each not clipped; raises InputError where they do not fit."""
    card = halves.card
    if latents.fingerprint not in ("", halves.fingerprint):
        raise InputError(f'latents that another model made, "{latents.model}": only that one can decode them')
    wanted = (card.latent, *cells(card, latents.height, latents.width))
    if latents.values.shape[1:] != wanted:
        raise InputError(f'latents of {latents.values.shape[1:]} a picture; model "{card.name}" has {wanted}')
    if latents.channels not in (1, card.channels):
        raise InputError(f"latents of pictures with {latents.channels} channels; the model has {card.channels}")
    for part in slices(len(latents.values), latents.height, latents.width):
        y = halves.decode(latents.values[part])[:, :, : latents.height, : latents.width]
        yield from y if latents.channels == card.channels else y.mean(axis=1, keepdims=True)


# --- Files ------------------------------------------------------------------------------------------------


def check(path: Path) -> None:
    """Refuse a name before any work is done."""
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"-o {printable(path)}: latents are written as .npy or .npz")


def beside(path: Path) -> Path:
    return path.with_suffix(".json")


def write(latents: Latents, path: Path) -> None:
    """Write the array and what belongs to it, each whole or not at all."""
    values = latents.values
    values = values[:, :, 0, 0] if values.shape[2:] == (1, 1) else values
    about: dict[str, Any] = {
        "model": latents.model, "fingerprint": latents.fingerprint,
        "height": latents.height, "width": latents.width, "channels": latents.channels,
    }  # fmt: skip
    names = [as_text(name) for name in latents.names]
    with Replacing(path) as target:
        if path.suffix.lower() == ".npz":
            np.savez(target.file, latents=values, names=np.array(names), about=np.array(json.dumps(about)))
        else:
            np.lib.format.write_array(target.file, values, allow_pickle=False)
        target.commit()
    if path.suffix.lower() == ".npy":
        with Replacing(beside(path)) as target:
            target.file.write(json.dumps({**about, "names": names}, indent=2).encode())
            target.commit()


def read(path: Path, card: ModelCard) -> Latents:
    """Read what `write` wrote, or a bare .npy: then every cell is a square of pixels, and names are numbers.

    Raises InputError for anything else.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{printable(path)}: latents are .npy or .npz")
    if not path.is_file():
        raise UsageError(f"{printable(path)}: no such file")
    try:
        values, about = _parts(path)
        if values.ndim == 2:
            values = values[:, :, None, None]
        if values.ndim != 4 or values.dtype.kind != "f" or not values.size:
            raise ValueError(f"holds {values.dtype} {values.shape}, not floats (N, K) or (N, K, h, w)")
        values = values.astype(np.float32)
        if not np.isfinite(values).all():
            raise ValueError("holds values that are not finite")
        rows, columns = values.shape[2:]
        names = about.get("names")
        if names is None:
            names = numbered(len(values))
        sizes = (
            _whole(about.get("height", rows * card.latent_stride), "height"),
            _whole(about.get("width", columns * card.latent_stride), "width"),
            _whole(about.get("channels", card.channels), "channels"),
        )
        if len(names) != len(values) or not all(isinstance(name, str) for name in names):
            raise ValueError(f"{len(values)} latents with {len(names)} names")
        if sizes[0] * sizes[1] > LARGEST:
            raise ValueError(f"{sizes[1]}x{sizes[0]} pixels are more than the {LARGEST} that are decoded")
        return Latents(values, list(names), *sizes, *(str(about.get(key, "")) for key in ("model", "fingerprint")))
    except _DAMAGED as error:
        raise InputError(f"{printable(path)}: not latents ({first_line(error, 160)})") from None


# What numpy, zipfile and json raise on a file that is none of theirs, or lies about its size.
_DAMAGED = (
    OSError, EOFError, ValueError, LookupError, TypeError, AttributeError, MemoryError, RuntimeError, SyntaxError,
    TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def _parts(path: Path) -> tuple[np.ndarray, dict[str, Any]]:
    if path.suffix.lower() == ".npz":
        with zipfile.ZipFile(path) as archive:
            if (size := sum(entry.file_size for entry in archive.infolist())) > memory.total() // 4:
                raise ValueError(f"unpacks to {size} bytes")
    loaded = np.load(path, allow_pickle=False)
    if path.suffix.lower() == ".npz":
        with loaded:
            return loaded["latents"], {**json.loads(str(loaded["about"])), "names": loaded["names"].tolist()}
    about = json.loads(beside(path).read_text()) if beside(path).is_file() else {}
    if not isinstance(about, dict):
        raise TypeError(f"{beside(path)} is not an object")
    return loaded, about


def _whole(value: Any, what: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= LARGEST:
        raise ValueError(f"{what} is {value!r:.40}")
    return value


def as_text(name: str) -> str:
    """A name as text that any file can hold: a file's name may be no UTF-8."""
    return name.encode("utf-8", "backslashreplace").decode()


def numbered(count: int, first: int = 0) -> list[str]:
    """00000, 00001, ...: names of pictures that have none, from the number of the first one on."""
    digits = max(5, len(str(first + count - 1)))
    return [f"{index:0{digits}}" for index in range(first, first + count)]


def targets(names: Iterable[str], folder: Path) -> list[Path]:
    """Where each picture goes: its name below the folder, as .png.

    Raises InputError for a name that leads out of it or is none of a file, and for two that would meet.
    """
    places: dict[Path, str] = {}
    for name in names:
        pure = PurePosixPath(name)
        # On some systems a backslash is a slash; elsewhere it is a character as any other: an escape of `as_text`.
        if pure.is_absolute() or ".." in re.split(r"[/\\]", name) or "\0" in name:
            raise InputError(f'latents: the name "{printable(name)[:80]}" leads out of the folder')
        if not pure.stem.strip("."):  # with .png in place of its suffix nothing but dots would be left of it
            raise InputError(f'latents: the name "{printable(name)[:80]}" is none that a file can have')
        if len(name) > 1000 or any(len(part.encode("utf-8", "replace")) > 240 for part in pure.parts):
            raise InputError(f'latents: the name "{printable(name)[:80]}..." is too long for a file')
        if name != as_text(name):
            raise InputError(f'latents: the name "{printable(name)[:80]}" is no text')
        place = folder / pure.with_name(f"{pure.stem}.png")
        if place in places:
            both = f"{printable(places[place])} and {printable(name)}"
            raise InputError(f"{both} would both be written to {printable(place)}")
        places[place] = name
    for place, name in places.items():
        if (above := next((folder for folder in place.parents if folder in places), None)) is not None:
            raise InputError(f"{printable(name)} lies below {printable(places[above])}, which is a picture")
    return list(places)
