"""A whole training: folder in; model, loss curve and contact sheet out. What ``denoise train`` calls."""

from __future__ import annotations

import contextlib
import dataclasses
import platform
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from denoise_cli import __version__, charts, corrupt, media, nets, pictures
from denoise_cli.card import ModelCard
from denoise_cli.errors import BackendError, RefusedError, TrainingError, UsageError, choice
from denoise_cli.media import files, image
from denoise_cli.metrics import psnr
from denoise_cli.tiles import pad
from denoise_cli.train import data, loop
from denoise_cli.train.export import export

VALIDATION_SIDE = 256  # validation looks at the centre of each picture, so that it takes a second, not a minute
HELD_OUT = 90  # without --val, one picture in so many is held out (at least one, if there are four or more)


@dataclass(frozen=True)
class Paths:
    """Everything a training writes, named after the model."""

    model: Path

    @property
    def checkpoint(self) -> Path:
        return self.model.with_suffix(".ckpt")

    @property
    def curve(self) -> Path:
        return self.model.with_suffix(".curve.png")

    @property
    def sheet(self) -> Path:
        return self.model.with_suffix(".sheet.png")


@dataclass(frozen=True)
class Fitted:
    card: ModelCard
    parity: float  # largest difference between torch and onnxruntime, in units of [0, 1]
    psnr: float | None  # on the validation pictures, dB
    seconds: float
    steps: int


@dataclass(frozen=True)
class Example:
    """A validation picture with its fixed noise, (C, H, W) each."""

    clean: np.ndarray
    noisy: np.ndarray


def fit(
    clean: Path,
    output: Path,
    options: loop.Options,
    *,
    val: Path | None = None,
    channels: int | None = None,
    device: str = "auto",
    init: Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    describe: dict[str, str] | None = None,
    say: Callable[[str], None] = lambda line: None,
    report: Callable[[loop.Progress], None] = lambda progress: None,
    checkpoint_every: float = 60.0,
    validate_every: float = 60.0,
) -> Fitted:
    """Train on the pictures under `clean` and write `output` with its curve and sheet beside it.

    `channels` 1 trains a gray model, 3 a colour one; by default whatever the pictures are. `describe`
    holds fields of the card: name, command, data, licence.
    Raises RefusedError before any work where something would be overwritten, TrainingError where the
    data cannot be trained on or the loss is not finite.
    """
    paths = Paths(output)
    _refuse(paths, resume, overwrite)
    files.check_writable([output])
    where = pick_device(device)
    training, validation = _split(clean, val)
    say(f"{len(training)} pictures to train on, {len(validation)} to validate")

    def skip(path: Path, reason: str) -> None:
        say(f"left out: {reason if str(path) in reason else f'{path}: {reason}'}")

    if channels is None:
        channels = options.net.get("channels") or _guess_channels(training)
    if channels not in (1, 3):
        raise UsageError(choice("number of channels", channels, (1, 3)))
    if options.net.get("noise_map"):
        raise UsageError("training tells a net no noise level yet: leave --net noise_map out")
    torch.manual_seed(options.seed)
    options = dataclasses.replace(options, net={**options.net, "channels": channels})
    net = nets.build(options.arch, options.net)
    if options.loss == "bce" and not getattr(net, "bounded", False):
        raise UsageError(f"loss bce needs an output in (0, 1), which {options.arch} has not; use --arch conv-dae")
    multiple = getattr(net, "multiple", 1)
    if options.patch % multiple:
        raise UsageError(f"--patch {options.patch} must be a multiple of {multiple} for {options.arch}")
    options = dataclasses.replace(options, net=nets.config_of(net))
    if init is not None:
        loop.initialise(net, init)
    state = loop.start(net, options, where)
    about = describe or {}
    _card(options, net, state, None, len(training), where, about)  # what it refuses is refused now, not hours later

    pool = data.load(training, channels, skip, least=options.patch, seed=options.seed)
    examples = _examples(data.load(validation, channels, skip) if validation else [], options)
    patches = data.Patches(pool, options.patch, options.batch_size, options.seed, options.gray)
    if init is not None:
        say(f"started from {init}")
    if overwrite:
        paths.checkpoint.unlink(missing_ok=True)
    if resume and paths.checkpoint.exists():
        loop.restore(state, options, paths.checkpoint)
        say(f"resumed at step {state.step} from {paths.checkpoint}")
    elif resume:
        say(f"no checkpoint {paths.checkpoint}: starting from the beginning")

    def validate(averaged: nn.Module) -> float:
        return _validate(averaged, examples, multiple, where)

    with _signals() as caught:
        loop.train(
            state, options, patches, validate if examples else None, paths.checkpoint, report, lambda: bool(caught),
            checkpoint_every=checkpoint_every, validate_every=validate_every,
        )  # fmt: skip
    if caught:
        say(f"stopped at step {state.step}; --resume goes on from {paths.checkpoint}")
        signal.raise_signal(caught[0])
    averaged = loop.averaged(state)
    reached = validate(averaged) if examples else None
    card = _card(options, net, state, reached, len(training), where, about)
    card, parity = export(averaged, card, output)
    _draw(paths, options, state, averaged.to(where), examples, multiple, where)
    return Fitted(card, parity, reached, state.elapsed, state.step)


@contextlib.contextmanager
def _signals() -> Iterator[list[int]]:
    """Note SIGINT and SIGTERM, so that a step ends before its state is saved; a second one acts at once."""
    caught: list[int] = []

    def note(signum: int, frame: object) -> None:
        caught.append(signum)
        signal.signal(signum, before[signal.Signals(signum)])

    mine = threading.current_thread() is threading.main_thread()  # others can neither get nor handle signals
    before = {one: signal.signal(one, note) for one in (signal.SIGINT, signal.SIGTERM)} if mine else {}
    try:
        yield caught
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def _refuse(paths: Paths, resume: bool, overwrite: bool) -> None:
    if paths.model.suffix != ".onnx":
        raise UsageError(f"-o {paths.model}: a model is an .onnx file")
    if overwrite and resume:
        raise UsageError("--resume goes on and --overwrite starts anew: give one of them")
    if overwrite or resume:
        return
    if paths.model.exists():
        raise RefusedError(f"{paths.model} is there already; --overwrite replaces it")
    if paths.checkpoint.exists():
        raise RefusedError(
            f"{paths.checkpoint} is there already; --resume goes on from it, --overwrite starts anew"
        )


def pick_device(device: str) -> torch.device:
    """``auto``, ``cpu``, ``cuda`` or ``cuda:N``; only `auto` falls back."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.partition(":")[0] not in ("cpu", "cuda"):
        raise UsageError(f'unknown device "{device}"; choose from auto, cpu, cuda, cuda:N')
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise BackendError('device "cuda" is not to be had: this torch has no CUDA; run: pip install torch')
    where = torch.device(device)
    if where.type == "cuda" and (where.index or 0) >= torch.cuda.device_count():
        raise BackendError(
            f'device "{device}" is not to be had: there are {torch.cuda.device_count()} CUDA devices'
        )
    return where


def _listing(root: Path) -> list[Path]:
    if not root.exists():
        raise UsageError(f"{root}: no such file or folder")
    found = files.find([str(root)], None, suffixes=media.SUFFIXES)
    return [job.source for job in found.jobs if job.source is not None]


def _split(clean: Path, val: Path | None) -> tuple[list[Path], list[Path]]:
    everything = _listing(clean)
    if not everything:
        raise TrainingError(f"{clean}: no pictures to train on")
    if val is not None:
        inside = _listing(val)
        if not inside:
            raise UsageError(f"--val {val}: no pictures in it")
        taken = {path.resolve() for path in inside}
        return [path for path in everything if path.resolve() not in taken], inside
    held = everything[::HELD_OUT] if len(everything) >= 4 else []
    return [path for path in everything if path not in set(held)], held


def _guess_channels(paths: Sequence[Path]) -> int:
    """3 if any of the first pictures has colour, else 1."""
    for path in paths[:32]:
        with contextlib.suppress(Exception), path.open("rb") as file:
            source = image.open_image(file, str(path))
            if len(source.header.groups[0]) == 3:
                return 3
    return 1


def _examples(pool: Sequence[np.ndarray], options: loop.Options) -> list[Example]:
    """Centres of the pictures with a noise that is the same in every run and every epoch."""
    noise = corrupt.parse(options.noise)
    examples = []
    for index, picture in enumerate(pool):
        height, width = (min(size, VALIDATION_SIDE) for size in picture.shape[1:])
        top, left = (picture.shape[1] - height) // 2, (picture.shape[2] - width) // 2
        clean = picture[:, top : top + height, left : left + width]
        clean = clean.astype(np.float32) / 255 if clean.dtype == np.uint8 else np.ascontiguousarray(clean)
        noisy = noise(clean, np.random.default_rng([options.seed, index, 2]))
        if data.is_gray(picture):
            noisy = np.repeat(noisy[:1], len(noisy), axis=0)  # not a read-only view: torch warns of those
        examples.append(Example(clean, np.ascontiguousarray(noisy)))
    return examples


def _infer(net: nn.Module, x: np.ndarray, multiple: int, device: torch.device) -> np.ndarray:
    with torch.no_grad():
        y = net(torch.from_numpy(pad(x, multiple))[None].to(device))[0].float().cpu().numpy()
    return y[:, : x.shape[1], : x.shape[2]].clip(0, 1)


def _validate(net: nn.Module, examples: Sequence[Example], multiple: int, device: torch.device) -> float:
    return float(np.mean([psnr(_infer(net, e.noisy, multiple, device), e.clean) for e in examples]))


def _card(
    options: loop.Options,
    net: nn.Module,
    state: loop.State,
    reached: float | None,
    count: int,
    device: torch.device,
    describe: dict[str, str],
) -> ModelCard:
    hardware = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine() + " processor"
    training: dict[str, Any] = {
        "steps": state.step, "seconds": round(state.elapsed), "pictures": count, "hardware": hardware,
        "threads": torch.get_num_threads(), "torch": torch.__version__,
        **{k: v for k, v in dataclasses.asdict(options).items() if k not in ("arch", "net", "noise", "steps")},
        "lr": options.rate,
    }  # fmt: skip
    return ModelCard(
        name=describe.get("name", "model"),
        channels=int(options.net["channels"]),
        multiple=getattr(net, "multiple", 1),
        noise_input=bool(options.net.get("noise_map", False)),
        noise=options.noise,
        arch=options.arch,
        net=dict(options.net),
        command=describe.get("command", ""),
        data=describe.get("data", ""),
        licence=describe.get("licence", ""),
        training=training,
        metrics={} if reached is None else {"validation_psnr": round(reached, 3)},
        created_with=f"denoise {__version__}",
    )


def _draw(
    paths: Paths,
    options: loop.Options,
    state: loop.State,
    net: nn.Module,
    examples: Sequence[Example],
    multiple: int,
    device: torch.device,
) -> None:
    losses = [(point["step"], point["loss"]) for point in state.curve]
    validation = [(point["step"], point["psnr"]) for point in state.curve if "psnr" in point]
    drawn = {
        paths.curve: charts.curve(
            {options.loss: losses}, f"{options.arch}, {state.step} steps", "step", "loss", log=True,
            right={"validation PSNR": validation} if validation else None, rlabel="dB",
        )
    }  # fmt: skip
    if examples:
        shown = [(e, _infer(net, e.noisy, multiple, device)) for e in examples[:5]]
        drawn[paths.sheet] = pictures.sheet(
            [[e.clean, e.noisy, y] for e, y in shown],
            ["original", "noisy", "denoised"],
            [["", f"{psnr(e.noisy.clip(0, 1), e.clean):.2f} dB", f"{psnr(y, e.clean):.2f} dB"] for e, y in shown],
        )
    for path, page in drawn.items():
        pictures.save(page, path)
