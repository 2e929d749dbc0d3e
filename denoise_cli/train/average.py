"""Trained models joined into one: of what they give the mean, at the cost of all, or the mean of their weights.

The mean of weights is of trainings that went on from one model: they lie about one place, and their mean nearer to
its middle. After: M. Wortsman et al., "Model soups", ICML 2022, section 2 (the uniform soup).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from denoise_cli import __version__, holes, nets
from denoise_cli.card import ModelCard
from denoise_cli.errors import ModelError, UsageError
from denoise_cli.media.layout import TABULAR
from denoise_cli.model_file import ModelFile
from denoise_cli.train import checkpoint
from denoise_cli.train.export import export

ALIKE = ("kind", "channels", "rate", "level", "columns")  # fields of the cards
SAME_NET = ("arch", "net", "noise_input", "noise_optional", "mean", "std")  # where it is weights that are averaged
# The least cosine of two nets' weights. Nets drawn apart have 0. Trainings that went on from one model for two
# hours of one core had 0.94; one of six hours with other noise had 0.31, and their mean was worse than both.
KIN = 0.5


def average(models: Sequence[Path], output: Path, *, name: str, command: str = "") -> ModelCard:
    """Write one model that gives the mean of what `models`, two or more, give; returns its card.

    It can be trained on like any other, with the noise and the loss of the first. Raises ModelError for what is no
    float model of ours, takes other files than the first one does, or is there twice.
    """
    files = [ModelFile.read(path) for path in models]
    cards = [file.card for file in files]
    _check(models, files, ALIKE)
    for path, card in zip(models, cards, strict=True):
        if card.arch == "average":
            raise ModelError(f"{path} is an average itself: give the models that it was made of")
        if card.kind in TABULAR:
            raise ModelError(f"{path}: only models for pictures and for recordings can be averaged yet")
        if card.noise_input:
            raise ModelError(f"{path}: models that are told the noise level cannot be averaged yet")
    known = [checkpoint.described(path) for path in models]
    of = tuple({"arch": each["arch"], "net": each["net"]} for each in known)
    net = nets.build("average", {"of": of, "channels": cards[0].channels if cards[0].kind == "image" else 0})
    assert isinstance(net, nets.Average)
    for member, path in zip(net.nets, models, strict=True):
        checkpoint.initialise(member, path)
    card = dataclasses.replace(
        _joined(cards, name, command, "average_of"), arch="average", net=nets.config_of(net),
        multiple=net.multiple, latent=0, latent_stride=1,
    )  # fmt: skip
    return export(net, card, output)[0]


def average_weights(models: Sequence[Path], output: Path, *, name: str, command: str = "") -> ModelCard:
    """Write one net whose weights are the mean of those of `models`, two or more; returns its card.

    It is as large and as fast as each of them. Raises ModelError for what is no float model of ours, is not the net
    that the first one is, is there twice, or has weights that have little in common with those of the first.
    """
    files = [ModelFile.read(path) for path in models]
    _check(models, files, (*ALIKE, *SAME_NET))
    known = checkpoint.described(models[0])
    net = nets.build(known["arch"], known["net"])
    means: dict[str, Tensor] = {}
    first: Tensor | None = None
    for path in models:
        checkpoint.initialise(net, path)
        weights = nn.utils.parameters_to_vector(net.parameters()).detach().double()
        first = weights if first is None else first
        cosine = float(torch.nn.functional.cosine_similarity(weights, first, dim=0))
        if not cosine >= KIN:
            raise ModelError(
                f"{path} and {models[0]} were not trained on from one model: the cosine of their weights is "
                f"{cosine:.2f}; leave --weights out"
            )
        for key, value in net.state_dict().items():
            means[key] = means.get(key, 0) + value.double() / len(models)
    net.load_state_dict({key: mean.to(net.state_dict()[key].dtype) for key, mean in means.items()})
    return export(net, _joined([file.card for file in files], name, command, "weights_of"), output)[0]


def _check(models: Sequence[Path], files: Sequence[ModelFile], alike: Sequence[str]) -> None:
    """Raise ModelError where two are the same, or differ in one of these fields of their cards."""
    if len({file.fingerprint for file in files}) < len(files):
        raise ModelError("two of the models are the same")
    hidden = _hidden(files[0].card)  # of the first card goes what run --mask asks for
    if hidden is not None and any(_hidden(file.card) != hidden for file in files):
        raise ModelError(f"{models[0]} fills holes of value {hidden:g}, which another of the models has not seen")
    for path, file in zip(models, files, strict=True):
        for field in alike:
            if (mine := getattr(file.card, field)) != (first := getattr(files[0].card, field)):
                raise ModelError(f"{path}: {field} is {mine}, and that of {models[0]} is {first}")


def _hidden(card: ModelCard) -> float | None:
    """What the model saw in the holes of its training; None of one that saw none."""
    try:
        return holes.value(card)
    except UsageError:
        return None


def _joined(cards: Sequence[ModelCard], name: str, command: str, how: str) -> ModelCard:
    """What the card of the first becomes when it is the card of all; `how` heads the list of their trainings."""
    return dataclasses.replace(
        cards[0], name=name, command=command, data=_listed(card.data for card in cards),
        licence=_listed((card.licence for card in cards), " AND "), training=_training(cards, how), metrics={},
        anomaly={}, created_with=f"denoise {__version__}",
    )  # fmt: skip


def _listed(texts: Iterable[str], between: str = "; ") -> str:
    """Different texts, each once."""
    return between.join(dict.fromkeys(text for text in texts if text))


def _training(cards: Sequence[ModelCard], how: str) -> dict[str, Any]:
    """All steps and seconds, the loss that a training would go on with, and what was averaged."""
    each = [{**card.training, "name": card.name, "noise": card.noise, "command": card.command} for card in cards]
    sums = {key: sum(_sane(one.get(key)) for one in each) for key in ("steps", "seconds")}
    return {"loss": each[0]["loss"], **sums, how: each}


def _sane(value: Any) -> float:
    """A number of a card, which may say anything."""
    return value if isinstance(value, int | float) and 0 <= value < 1e15 else 0
