"""What a training goes on from, a checkpoint or a model: what it says of itself, read and checked without torch.

A file that is neither is refused before seconds go into loading torch.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from denoise_cli.errors import ModelError, first_line
from denoise_cli.model_file import ModelFile

MODEL = ".onnx"  # the suffix of a model, which holds weights too


def options(path: Path) -> dict[str, Any]:
    """The options that a checkpoint or a model was trained with. Raises ModelError for anything else."""
    with refusing(path, "a net"):
        if path.suffix == MODEL:
            card = ModelFile.read(path).card
            noise = "" if card.kind == "audio" else card.noise  # which is no spec
            return {**dataclasses.asdict(card), "noise": noise, "loss": card.training["loss"]}
        return typed(stored(path), "options", dict)


def stored(path: Path) -> dict[str, Any]:
    """The JSON in a checkpoint; raises what `refusing` makes one line of."""
    if not path.is_file():  # a pipe would be waited for
        raise ValueError("not a regular file" if path.exists() else "no such file")
    with safe_open(path, "np") as file:
        found = json.loads((file.metadata() or {})["denoise"])
    if not isinstance(found, dict):
        raise TypeError("no options in it")
    return found


def typed(found: dict[str, Any], key: str, kind: type | tuple[type, ...]) -> Any:
    if not isinstance(found[key], kind) or isinstance(found[key], bool):
        raise TypeError(f"{key} is {found[key]!r:.40}")
    return found[key]


@contextlib.contextmanager
def refusing(path: Path, what: str) -> Iterator[None]:
    """Whatever is wrong with a file becomes a ModelError of one line."""
    try:
        yield
    except (SafetensorError, KeyError, ValueError, TypeError, RuntimeError, OSError) as error:
        raise ModelError(f"{path}: not a checkpoint of {what} ({first_line(error)})") from None
