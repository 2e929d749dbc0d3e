"""Trained models joined into one that gives their mean: better than each, at the cost of all."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from denoise_cli import __version__, nets
from denoise_cli.card import ModelCard
from denoise_cli.errors import ModelError
from denoise_cli.media.layout import TABULAR
from denoise_cli.model_file import ModelFile
from denoise_cli.train import checkpoint
from denoise_cli.train.export import export

ALIKE = ("kind", "channels", "rate", "level", "columns")  # fields of the cards


def average(models: Sequence[Path], output: Path, *, name: str, command: str = "") -> ModelCard:
    """Write one model that gives the mean of what `models`, two or more, give; returns its card.

    It can be trained on like any other, with the noise and the loss of the first. Raises ModelError for what is no
    float model of ours, takes other files than the first one does, or is there twice.
    """
    files = [ModelFile.read(path) for path in models]
    cards = [file.card for file in files]
    if len({file.fingerprint for file in files}) < len(files):
        raise ModelError("two of the models are the same")
    for path, card in zip(models, cards, strict=True):
        if card.arch == "average":
            raise ModelError(f"{path} is an average itself: give the models that it was made of")
        if card.kind in TABULAR:
            raise ModelError(f"{path}: only models for pictures and for recordings can be averaged yet")
        if card.noise_input:
            raise ModelError(f"{path}: models that are told the noise level cannot be averaged yet")
        for field in ALIKE:
            if (mine := getattr(card, field)) != (first := getattr(cards[0], field)):
                raise ModelError(f"{path}: {field} is {mine}, and that of {models[0]} is {first}")
    known = [checkpoint.described(path) for path in models]
    of = tuple({"arch": each["arch"], "net": each["net"]} for each in known)
    net = nets.build("average", {"of": of, "channels": cards[0].channels if cards[0].kind == "image" else 0})
    assert isinstance(net, nets.Average)
    for member, path in zip(net.nets, models, strict=True):
        checkpoint.initialise(member, path)
    card = dataclasses.replace(
        cards[0], name=name, multiple=net.multiple, latent=0, latent_stride=1, arch="average",
        net=nets.config_of(net), command=command, data=_listed(card.data for card in cards),
        licence=_listed((card.licence for card in cards), " AND "), training=_training(cards), metrics={},
        anomaly={}, created_with=f"denoise {__version__}",
    )  # fmt: skip
    return export(net, card, output)[0]


def _listed(texts: Iterable[str], between: str = "; ") -> str:
    """Different texts, each once."""
    return between.join(dict.fromkeys(text for text in texts if text))


def _training(cards: Sequence[ModelCard]) -> dict[str, Any]:
    """All steps and seconds, the loss that a training would go on with, and what was averaged."""
    each = [{**card.training, "name": card.name, "noise": card.noise, "command": card.command} for card in cards]
    sums = {key: sum(_sane(one.get(key)) for one in each) for key in ("steps", "seconds")}
    return {"loss": each[0]["loss"], **sums, "average_of": each}


def _sane(value: Any) -> float:
    """A number of a card, which may say anything."""
    return value if isinstance(value, int | float) and 0 <= value < 1e15 else 0
