"""ModelCard: what a model file says of itself, as JSON in the ONNX metadata.

Nothing else is assumed about a model: its sizes, its noise and its licence are asked of the card.
"""

from __future__ import annotations

import dataclasses
import json
import math
import reprlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeGuard

import numpy as np

from denoise_cli.errors import ModelError
from denoise_cli.media.layout import MAX_COLUMNS, TABULAR, Layout

SCHEMA = 1
METADATA_KEY = "denoise_card"
PRECISIONS = ("float", "int8", "fp16")
MADE_FROM = "quantised_from"  # under `training` of a form in another precision: the fingerprint of the float one
UNTOLD = -1.0  # a `sigma` that says: nobody knows
LATENT = "latent"  # the value of a graph that its bottleneck gives, where the card says there is one
MAX_BYTES = 1 << 20  # a card is a page of text; anything longer is not one
MAX_NAME = 255  # characters: what a file may be called


@dataclass(frozen=True)
class ModelCard:
    """The card of one model. `channels`, `multiple` and `halo` decide how pictures are cut for it."""

    name: str
    kind: str = "image"
    channels: int = 3  # pictures. 3: gray runs as three equal channels; 1: each channel for itself. Tables: columns
    rate: int | None = None  # samples per second the model was trained at (audio)
    multiple: int = 1  # height and width, or the number of samples, must be multiples of this
    halo: int = 0  # pixels or samples of context beyond which nothing changes a result: crops by it are exact
    noise_input: bool = False  # takes a second input `sigma`, (N,) float32 in [0, 1]
    noise_optional: bool = False  # `sigma` may be UNTOLD: the model then finds the level itself
    noise: str = ""  # the corruption it was trained with, as a spec
    latent: int = 0  # channels of the bottleneck, the value `latent` of the graph; 0: it has none
    latent_stride: int = 1  # pixels each way that one cell of the bottleneck covers
    precision: str = "float"  # of the arithmetic: one of PRECISIONS
    level: float | None = None  # audio: dB of full scale near which it is to hear a recording; None: as it comes
    columns: Sequence[str] = ()  # tables: names of the columns, in the model's order; () where they had none
    mean: Sequence[float] = ()  # tables: of each column; the graph takes and gives the columns' own units, ...
    std: Sequence[float] = ()  # ... so these are for information
    anomaly: Mapping[str, Any] = field(default_factory=dict)  # `threshold` of the score, and how it was found
    arch: str = ""
    net: Mapping[str, Any] = field(default_factory=dict)  # the architecture's own config
    command: str = ""  # the exact command that trained it
    data: str = ""  # what it was trained on
    training: Mapping[str, Any] = field(default_factory=dict)  # steps, seconds, hardware
    metrics: Mapping[str, Any] = field(default_factory=dict)  # as printed by benchmarks/
    licence: str = ""
    created_with: str = ""
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        def check(ok: bool, what: str) -> None:
            if not ok:
                raise ModelError(f"model card: {what}")

        shown = reprlib.repr  # a card may hold a value of a million characters
        check(self.schema == SCHEMA, f"schema {shown(self.schema)} is unknown; this version reads schema {SCHEMA}")
        check(self.kind in ("image", "audio", *TABULAR), f"unknown kind {shown(self.kind)}")
        most = MAX_COLUMNS if self.kind in TABULAR else 64
        check(_whole(self.channels, 1, most), f"channels must be 1..{most}, not {shown(self.channels)}")
        self._check_columns(check)
        check(_whole(self.multiple, 1, 1024), f"multiple must be 1..1024, not {shown(self.multiple)}")
        check(_whole(self.halo, 0, 1 << 16), f"halo must be 0..65536, not {shown(self.halo)}")
        check(self.rate is None or _whole(self.rate, 1000, 384_000), f"rate {shown(self.rate)} is out of range")
        check(_whole(self.latent, 0, 1 << 16), f"latent must be 0..65536, not {shown(self.latent)}")
        stride = self.latent_stride
        check(_whole(stride, 1, 1024), f"latent_stride must be 1..1024, not {shown(stride)}")
        check(self.precision in PRECISIONS, f"unknown precision {shown(self.precision)}")
        for flag in ("noise_input", "noise_optional"):
            check(isinstance(getattr(self, flag), bool), f"{flag} must be true or false")
        check(self.noise_input or not self.noise_optional, "noise_optional without noise_input")
        check(self.kind != "audio" or self.rate is not None, "a model for recordings needs a rate")
        if self.level is not None:
            check(self.kind == "audio", "level is for recordings")
            sane = _number(self.level) and -100 <= self.level <= 0
            check(sane, f"level must be -100..0 dB, not {shown(self.level)}")
        for text in ("name", "noise", "arch", "command", "data", "licence", "created_with"):
            value = getattr(self, text)
            check(isinstance(value, str) and value.isprintable(), f"{text} is not one line of text")
        check(len(self.name) <= MAX_NAME, f"name has {len(self.name)} characters, more than {MAX_NAME}")
        for part in ("net", "training", "metrics", "anomaly"):
            check(isinstance(getattr(self, part), Mapping), f"{part} is not an object")
        if self.anomaly:
            limit = self.anomaly.get("threshold")
            sane = _number(limit) and limit >= 0
            check(sane, f"the threshold for anomalies must be a number from 0 up, not {shown(limit)}")

    def _check_columns(self, check: Callable[[bool, str], None]) -> None:
        for part in ("columns", "mean", "std"):
            values = getattr(self, part)
            check(isinstance(values, list | tuple), f"{part} is not a list")
            count = len(values)
            check(count in (0, self.channels), f"{part} has {count} entries for {self.channels} channels")
            check(self.kind in TABULAR or not values, f"{part} is for tables")
            object.__setattr__(self, part, tuple(values))  # JSON knows lists only
        for name in self.columns:
            check(isinstance(name, str) and name.isprintable(), "columns holds what is not one line of text")
        for value in (*self.mean, *self.std):
            check(_number(value), "mean and std must hold finite numbers")
        check(all(value > 0 for value in self.std), "std must be above 0")

    @property
    def layout(self) -> Layout | None:
        """What tables this model takes; None where it takes none."""
        if self.kind not in TABULAR:
            return None
        return Layout("series" if self.kind == "series" else "table", tuple(self.columns), self.channels)

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), ensure_ascii=False, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> ModelCard:
        """Read a card; raises ModelError for anything but a card of a known schema."""
        if len(text) > MAX_BYTES:
            raise ModelError(f"model card: {len(text)} characters, more than {MAX_BYTES}")
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ModelError(f"model card: not JSON ({error})") from None
        if not isinstance(values, dict) or "name" not in values:
            raise ModelError("model card: not a card")
        if values.get("schema") != SCHEMA:
            schema = reprlib.repr(values.get("schema"))
            raise ModelError(f"model card: schema {schema} is unknown; this version reads {SCHEMA}")
        unknown = sorted(set(values) - {f.name for f in dataclasses.fields(cls)})
        if unknown:
            raise ModelError(f"model card: unknown field {reprlib.repr(unknown[0])}")
        return cls(**values)

    def lift(self, x: np.ndarray) -> list[tuple[slice, np.ndarray]]:
        """(c, H, W) channels of one group -> samples (channels, H, W) for the model, and which channels each is.

        A colour model takes RGB as it is and gray as three equal channels; a gray model takes each
        channel as a sample of its own. Nothing is copied.
        """
        c, height, width = x.shape
        if c == self.channels:
            return [(slice(0, c), x)]
        shape = (self.channels, height, width)
        return [(slice(i, i + 1), np.broadcast_to(x[i : i + 1], shape)) for i in range(c)]

    def lower(self, y: np.ndarray, c: int) -> np.ndarray:
        """The inverse for one sample: (channels, H, W) -> (c, H, W), or (1, H, W), the mean of equal channels."""
        return y if c == self.channels else y.mean(axis=0, keepdims=True)


def _number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _whole(value: Any, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
