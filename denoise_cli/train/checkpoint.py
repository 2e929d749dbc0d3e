"""A training in a file: weights, their average, the optimiser's state and where it stands; safetensors, no pickle.

    net.NAME  average.NAME  optimiser.INDEX.NAME   tensors
    denoise                                        JSON: options, step, elapsed, curve, scalars of the optimiser

A checkpoint is hostile until checked: what is not what `save` writes is refused, and nothing of it is kept.
"""

from __future__ import annotations

import dataclasses
import json
import math
import reprlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx
import torch
from safetensors import safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn

from denoise_cli import corrupt, nets
from denoise_cli.errors import DenoiseError, TrainingError, UsageError
from denoise_cli.media.files import Replacing
from denoise_cli.model_file import ModelFile
from denoise_cli.nets.grow import grow
from denoise_cli.train import origin
from denoise_cli.train.origin import MODEL, refusing, stored, typed

if TYPE_CHECKING:
    from denoise_cli.train.loop import Options, State

MOST_NUMBERS, LARGEST = 128, 4096  # in the config of a net that a file names


def save(state: State, options: Options, path: Path) -> None:
    """Write a checkpoint beside its place, then rename. Weights that are not finite are never written."""
    tensors = {f"net.{k}": v for k, v in state.net.state_dict().items()}
    tensors |= {f"average.{k}": v for k, v in state.average.items()}
    packed = state.optimiser.state_dict()
    scalars: dict[str, Any] = {}
    for index, entry in packed["state"].items():
        for key, value in entry.items():
            if isinstance(value, Tensor):
                tensors[f"optimiser.{index}.{key}"] = value
            elif value is not None:
                scalars[f"{index}.{key}"] = value
    if not all(bool(torch.isfinite(v).all()) for v in tensors.values()):
        raise TrainingError(f"weights are not finite at step {state.step}; checkpoint not written")
    about = {
        "options": dataclasses.asdict(options), "step": state.step, "elapsed": state.elapsed,
        "curve": state.curve, "scalars": scalars,
    }  # fmt: skip
    # safetensors keeps no strides, so channels-last is made again by load_state_dict's copy.
    tensors = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    with Replacing(path) as target:
        target.file.write(to_safetensors(tensors, {"denoise": json.dumps(about)}))
        target.commit()


def initialise(net: nn.Module, path: Path) -> None:
    """Load the averaged weights of a checkpoint, or those of a model, of this architecture; as wide or less so.

    A narrower or shallower one is grown. Raises ModelError for anything else.
    """
    with refusing(path, "this net"):
        if path.suffix == MODEL:
            weights = _exported(ModelFile.read(path), set(net.state_dict()))
        else:
            tensors, _ = _read(path)
            weights = {k.removeprefix("average."): v for k, v in tensors.items() if k.startswith("average.")}
        grow(net, weights)


def described(path: Path) -> dict[str, Any]:
    """What a checkpoint or a model was trained with, as far as a training that starts from it goes on with that.

    ``arch``, ``net``, ``noise`` and ``loss``, and of a model its ``kind``. Raises ModelError for what is neither,
    or names a net that its weights cannot be those of: nothing is built on its word alone.
    """
    about = origin.options(path)
    with refusing(path, "a net"):
        kept = {key: typed(about, key, kind) for key, kind in _KEPT.items()}
        numbers = list(_numbers(kept["net"]))
        most = MOST_NUMBERS * (nets.average.MOST if kept["arch"] == "average" else 1)
        if len(numbers) > most or not all(isinstance(n, int) and abs(n) <= LARGEST for n in numbers):
            raise ValueError(f"its net is {reprlib.repr(kept['net'])}")
        try:
            if kept["noise"]:
                corrupt.parse(kept["noise"])
            with torch.device("meta"):  # sizes without memory
                net = nets.build(kept["arch"], kept["net"])
        except DenoiseError as error:
            raise ValueError(str(error)) from None
        if sum(p.numel() * p.element_size() for p in net.parameters()) > path.stat().st_size:
            raise ValueError("its net is larger than its weights")
        return {**kept, **({"kind": about["kind"]} if path.suffix == origin.MODEL else {})}


def _numbers(config: dict[str, Any]) -> Iterator[Any]:
    """All that the config of a net holds, those of the nets that it is the average of included."""
    for key, value in config.items():
        for one in value if isinstance(value, list | tuple) else [value]:
            if key == "of" and isinstance(one, dict):
                typed(one, "arch", str)
                yield from _numbers(typed(one, "net", dict))
            else:
                yield one


def _exported(file: ModelFile, own: set[str]) -> dict[str, Tensor]:
    """The weights in a model file. The exporter keeps their names, and calls its own constants otherwise."""
    if file.card.precision != "float":
        raise ValueError(f"its weights are {file.card.precision}")
    prefix = "net." if file.card.latent else ""  # see export: a net with a bottleneck is wrapped
    weights = {}
    try:
        graph = onnx.load_from_string(file.data).graph
    except Exception as error:  # of protobuf, whose classes are its own business
        raise ValueError(f"not an ONNX file ({type(error).__name__})") from None
    for initial in graph.initializer:
        name = initial.name.removeprefix(prefix)
        if name in own or name.endswith((".weight", ".bias")):
            weights[name] = torch.from_numpy(onnx.numpy_helper.to_array(initial).copy())
            if not bool(torch.isfinite(weights[name]).all()):
                raise ValueError(f"{name} is not finite")
    return weights


def restore(state: State, options: Options, path: Path) -> State:
    """Load a checkpoint into a state made by `loop.start` with the same options.

    Raises ModelError for a file that `save` cannot have written, and UsageError where an option that shapes
    the result differs.
    """
    with refusing(path, "this run"):
        tensors, about = _read(path)
        now, then = json.loads(json.dumps(dataclasses.asdict(options))), typed(about, "options", dict)
        for key in sorted(set(now) - {"steps", "epochs", "max_time"}):  # a longer run may go on from a shorter one
            was = then.get(
                key, getattr(type(options), key, None)
            )  # an older checkpoint lacks what was not yet there
            if now[key] != was:
                raise UsageError(f"--resume: {key} was {was!r} in the checkpoint, now {now[key]!r}")
        step, curve, elapsed = (typed(about, key, kind) for key, kind in _PLACE.items())
        if step < 0 or not 0 <= elapsed < math.inf:
            raise ValueError(f"step {step} after {elapsed} s")
        state.net.load_state_dict({k[4:]: v for k, v in tensors.items() if k.startswith("net.")})
        for key, value in state.average.items():
            value.copy_(tensors[f"average.{key}"])
        packed = state.optimiser.state_dict()
        packed["state"] = _optimiser(tensors, typed(about, "scalars", dict), state.optimiser)
        state.optimiser.load_state_dict(packed)
        state.step, state.elapsed, state.curve = step, elapsed, curve
    return state


_KEPT: dict[str, type] = {"arch": str, "net": dict, "noise": str, "loss": str}
_PLACE: dict[str, type | tuple[type, ...]] = {"step": int, "curve": list, "elapsed": (int, float)}


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors, all finite, and the JSON of a file."""
    about = stored(path)
    with safe_open(path, "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
    for key, value in tensors.items():
        if not bool(torch.isfinite(value).all()):
            raise ValueError(f"{key} is not finite")
    return tensors, about


def _optimiser(
    tensors: dict[str, Tensor], scalars: dict[str, Any], optimiser: torch.optim.Optimizer
) -> dict[int, dict[str, Any]]:
    """The state of each parameter, by its index; every tensor of it is a number or as large as the parameter."""
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    entries: dict[int, dict[str, Any]] = {}
    for key, value in [*tensors.items(), *((f"optimiser.{k}", v) for k, v in scalars.items())]:
        if not key.startswith("optimiser."):
            continue
        _, index, name = key.split(".", 2)
        if not 0 <= int(index) < len(parameters):
            raise ValueError(f"{key}: there is no such parameter")
        if isinstance(value, Tensor) and value.ndim and value.shape != parameters[int(index)].shape:
            raise ValueError(f"{key} is of shape {tuple(value.shape)}")
        if not isinstance(value, Tensor | int | float):
            raise TypeError(f"{key} is {value!r:.40}")
        entries.setdefault(int(index), {})[name] = value
    return entries
