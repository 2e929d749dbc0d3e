"""Weights to one ONNX file with its card, and a check that onnxruntime computes what torch does."""

from __future__ import annotations

import dataclasses
import logging
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

from denoise_cli.card import METADATA_KEY, ModelCard
from denoise_cli.errors import TrainingError
from denoise_cli.media.files import Replacing

TOLERANCE = 1e-4  # largest allowed difference between torch and onnxruntime, in units of [0, 1]
HALO_TOLERANCE = 0.002 / 255  # a fifth of what tiling may cost: other pictures reach further than this one


def export(net: nn.Module, card: ModelCard, path: Path) -> tuple[ModelCard, float]:
    """Write `net` to `path`; returns the card as written (its halo measured) and the parity.

    The parity is the largest absolute difference between torch and onnxruntime on a noisy picture;
    TrainingError if it is above `TOLERANCE`.
    """
    net = net.cpu().to(memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
    model = _to_onnx(net, card)
    session = _session(model)
    card = dataclasses.replace(card, halo=_halo(session, card))
    entry = model.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, card.to_json()
    parity = _parity(net, session, card)
    if not parity < TOLERANCE:
        raise TrainingError(f"export: onnxruntime differs from torch by {parity:.2e}, more than {TOLERANCE:.0e}")
    with Replacing(path) as target:
        target.file.write(model.SerializeToString())
        target.commit()
    return card, parity


def _to_onnx(net: nn.Module, card: ModelCard) -> onnx.ModelProto:
    side = 8 * card.multiple
    dynamic = torch.export.Dim.DYNAMIC
    inputs: tuple[torch.Tensor, ...] = (torch.rand(2, card.channels, side, side + card.multiple),)
    names, shapes = ["x"], [{0: dynamic, 2: dynamic, 3: dynamic}]
    if card.noise_input:
        inputs, names, shapes = (*inputs, torch.rand(2)), [*names, "sigma"], [*shapes, {0: dynamic}]
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of its own insides
        program = torch.onnx.export(
            net, inputs, dynamo=True, external_data=False, verbose=False,
            input_names=names, output_names=["y"], dynamic_shapes=tuple(shapes),
        )  # fmt: skip
    assert program is not None, "the dynamo exporter returns its program"
    return program.model_proto


def _session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _feed(card: ModelCard, x: np.ndarray) -> dict[str, np.ndarray]:
    sigma = {"sigma": np.full(len(x), 25 / 255, np.float32)} if card.noise_input else {}
    return {"x": x, **sigma}


def _parity(net: nn.Module, session: onnxruntime.InferenceSession, card: ModelCard) -> float:
    x = _picture(card, 16 * card.multiple)
    feed = _feed(card, x)
    with torch.no_grad():
        ours = net(*[torch.from_numpy(v) for v in feed.values()]).numpy()
    return float(np.abs(session.run(None, feed)[0] - ours).max())


def _picture(card: ModelCard, side: int) -> np.ndarray:
    """Smooth hills plus noise, (1, C, side, side): both what a net keeps and what it removes."""
    rng = np.random.default_rng(0)
    t = np.linspace(0, 12, side, dtype=np.float32)
    hills = 0.5 + 0.25 * np.sin(t)[:, None] + 0.25 * np.sin(1.7 * t)[None, :]
    noise = rng.standard_normal((1, card.channels, side, side), dtype=np.float32) * (25 / 255)
    return np.clip(hills + noise, 0, 1).astype(np.float32)


def _halo(session: onnxruntime.InferenceSession, card: ModelCard) -> int:
    """The smallest halo at which a tile equals the whole picture, measured on four corners and halves.

    A halo of the full receptive field is exact; the outer part of that field carries almost nothing,
    so what is stated is measured, on a multiple of the model's own grid.
    """
    step = max(8, card.multiple)
    limit = 160 // step * step
    side = 2 * limit + 64 // step * step + step
    x = _picture(card, -(-side // card.multiple) * card.multiple)
    whole = session.run(None, _feed(card, x))[0]
    # Wide context on one side of each cut: rows and columns from `cut` on are kept.
    for halo in range(0, limit + 1, step):
        cut = limit
        part = np.ascontiguousarray(x[:, :, cut - halo :, cut - halo :])
        tile = session.run(None, _feed(card, part))[0][:, :, halo:, halo:]
        end = x.shape[2] - cut
        far = np.ascontiguousarray(x[:, :, : end + halo, : end + halo])
        other = session.run(None, _feed(card, far))[0][:, :, :end, :end]
        worst = max(np.abs(tile - whole[:, :, cut:, cut:]).max(), np.abs(other - whole[:, :, :end, :end]).max())
        if worst < HALO_TOLERANCE:
            return halo
    raise TrainingError(f"export: a halo of {limit} pixels is not enough for this net")
