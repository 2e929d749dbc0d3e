"""A whole training: folder in; model, loss curve and contact sheet out. What ``denoise train`` calls."""

from __future__ import annotations

import contextlib
import dataclasses
import platform
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from denoise_cli import __version__, charts, nets, pictures
from denoise_cli.card import ModelCard
from denoise_cli.errors import BackendError, UsageError
from denoise_cli.media.files import keep_apart
from denoise_cli.media.layout import TABULAR
from denoise_cli.model_file import ModelFile
from denoise_cli.processor import parse_device
from denoise_cli.train import checkpoint, loop, rounding
from denoise_cli.train.export import export
from denoise_cli.train.losses import SHORTEST
from denoise_cli.train.origin import MODEL
from denoise_cli.train.paths import Paths, check_output
from denoise_cli.train.tasks import Task


@dataclass(frozen=True)
class Fitted:
    card: ModelCard
    parity: float  # largest difference between torch and onnxruntime, in units of [0, 1]
    scores: Mapping[str, float]  # on the validation files: PSNR; SI-SDR, PESQ-WB
    before: float | None  # the first of them without the model; None where there are none
    seconds: float
    steps: int


def fit(
    task: Task,
    output: Path,
    *,
    device: str = "auto",
    init: Path | None = None,
    keep: float = 0.0,
    resume: bool = False,
    overwrite: bool = False,
    describe: Mapping[str, Any] | None = None,
    say: Callable[[str], None] = lambda line: None,
    report: Callable[[loop.Progress], None] = lambda progress: None,
    checkpoint_every: float = 60.0,
    validate_every: float = 60.0,
) -> Fitted:
    """Train what `task` says and write `output` with its curve and sheet beside it.

    `describe` holds fields of the card: name, command, data, licence. `keep` is the share of the weights of `init`
    in those that are written; M. Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022, eq. 1.
    Raises RefusedError before any work where something would be overwritten, TrainingError where the
    data cannot be trained on or the loss is not finite.
    """
    if not 0 <= keep < 1:
        raise UsageError(f"--keep must be at least 0 and below 1, not {keep:g}")
    if keep and (init is None or task.options.int8):
        raise UsageError("--keep is a share of the weights that --init gives, and of those of a float net")
    paths = Paths(output)
    check_output(output, resume, overwrite, sheet=task.kind not in TABULAR)
    keep_apart(paths.all, task.files)
    where = pick_device(device)
    options = task.options.counted(task.count)
    torch.manual_seed(options.seed)
    net = nets.build(options.arch, options.net)
    if getattr(net, "kind", "image") != task.kind:
        raise UsageError(f"{options.arch} is not a net for {task.kind}; see --arch")
    if options.loss == "bce" and not getattr(net, "bounded", False):
        hint = "use --arch conv-dae" if task.kind == "image" else "choose another"
        raise UsageError(f"loss bce needs an output in (0, 1), which {options.arch} has not; {hint}")
    least = SHORTEST.get(options.loss, 0)
    if least and (task.kind != "audio" or options.patch < least):
        raise UsageError(f"loss {options.loss} is for recordings, of {least} samples or more: see --loss, --patch")
    task.check(net)
    options = dataclasses.replace(options, net=nets.config_of(net))
    if init is not None:
        checkpoint.initialise(net, init)
    began_with = {name: value.detach().clone() for name, value in net.named_parameters()} if keep else {}
    net = rounding.rounded(net) if options.int8 else net
    state = loop.start(net, options, where)
    resumed = resume and paths.checkpoint.exists()
    if resumed:
        checkpoint.restore(state, options, paths.checkpoint)
    about = {**(describe or {}), **({"keep": keep} if keep else {})}
    _card(task, options, net, state, {}, where, about)  # what it refuses is refused now, not hours later

    task.load(net, where, say)
    if init is not None:
        say(f"started from {init}")
    if overwrite:
        paths.checkpoint.unlink(missing_ok=True)
    if resumed:
        say(f"resumed at step {state.step} from {paths.checkpoint}")
        if loop.finished(state, options):
            say("nothing is left of its steps and its time: give more of them to go on")
    elif resume:
        say(f"no checkpoint {paths.checkpoint}: starting from the beginning")
    with _signals() as caught:
        loop.train(
            state, options, task.stream, task.validate, paths.checkpoint, report, lambda: bool(caught),
            checkpoint_every=checkpoint_every, validate_every=validate_every,
        )  # fmt: skip
    if caught:
        say(f"stopped at step {state.step}; --resume goes on from {paths.checkpoint}")
        signal.raise_signal(caught[0])
    averaged = loop.averaged(state)
    with torch.no_grad():
        for name, value in averaged.named_parameters() if keep else ():
            value.lerp_(began_with[name].to(value), keep)
    scores = task.scores(averaged)
    card = _card(task, options, net, state, scores, where, about)
    if options.int8:
        made_from = ModelFile.read(init).fingerprint if init is not None and init.suffix == MODEL else ""
        card, parity = rounding.export_integers(averaged, card, output, made_from)
    else:
        card, parity = export(averaged, card, output)
    _draw(paths, task, options, state, averaged.to(where))
    return Fitted(card, parity, scores, task.validate(torch.nn.Identity()), state.elapsed, state.step)


@contextlib.contextmanager
def _signals() -> Iterator[list[int]]:
    """Note SIGINT and SIGTERM, so that a step ends before its state is saved; a second one acts at once.

    One that is ignored, as a shell has its jobs in the background ignore SIGINT, stays ignored.
    """
    caught: list[int] = []

    def note(signum: int, frame: object) -> None:
        caught.append(signum)
        signal.signal(signum, before[signal.Signals(signum)])

    mine = threading.current_thread() is threading.main_thread()  # others can neither get nor handle signals
    both = (signal.SIGINT, signal.SIGTERM) if mine else ()
    before = {one: signal.signal(one, note) for one in both if signal.getsignal(one) != signal.SIG_IGN}
    try:
        yield caught
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def pick_device(device: str) -> torch.device:
    """``auto``, ``cpu``, ``cuda`` or ``cuda:N``; only `auto` falls back."""
    name, index = parse_device(device)
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise BackendError(
            'device "cuda" is not available: this torch was built without CUDA or sees no GPU; '
            "pytorch.org says which build has it"
        )
    if name == "cuda" and index >= torch.cuda.device_count():
        raise BackendError(
            f'device "{device}" is not available: there are {torch.cuda.device_count()} CUDA devices'
        )
    return torch.device(device)


def _card(
    task: Task,
    options: loop.Options,
    net: nn.Module,
    state: loop.State,
    scores: Mapping[str, float],
    device: torch.device,
    describe: Mapping[str, Any],
) -> ModelCard:
    hardware = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine() + " processor"
    settings = dataclasses.asdict(options)
    for elsewhere in ("arch", "net", "noise", "steps", "epochs"):
        del settings[elsewhere]
    training: dict[str, Any] = {
        "steps": state.step, "seconds": round(state.elapsed), "files": task.count, "hardware": hardware,
        "threads": torch.get_num_threads(), "torch": torch.__version__, **settings, "lr": options.rate,
    }  # fmt: skip
    if options.epochs is not None:
        training["epochs"] = options.epochs
    for more in ("recipe", "keep"):
        if describe.get(more):
            training[more] = describe[more]
    return ModelCard(
        name=describe.get("name", "model"),
        kind=task.kind,
        multiple=getattr(net, "multiple", 1),
        noise_input=options.told,
        noise_optional=options.told,
        latent=getattr(net, "latent", 0),
        latent_stride=getattr(net, "latent_stride", 1),
        arch=options.arch,
        net=dict(options.net),
        command=describe.get("command", ""),
        data=describe.get("data", ""),
        licence=describe.get("licence", ""),
        training=training,
        metrics={f"validation {name}": round(score, 3) for name, score in scores.items()},
        created_with=f"denoise {__version__}",
        **task.card(),
    )


def _draw(paths: Paths, task: Task, options: loop.Options, state: loop.State, net: nn.Module) -> None:
    losses = [(point["step"], point["loss"]) for point in state.curve]
    scores = [(point["step"], point["score"]) for point in state.curve if "score" in point]
    drawn = {
        paths.curve: charts.curve(
            {options.loss: losses}, f"{options.arch}, {state.step} steps", "step", "loss",
            log=all(loss > 0 for _, loss in losses),
            right={f"validation {task.metric}": scores} if scores else None, rlabel="dB",
        )
    }  # fmt: skip
    if (sheet := task.sheet(net)) is not None:
        drawn[paths.sheet] = sheet
    for path, page in drawn.items():
        pictures.save(page, path)
