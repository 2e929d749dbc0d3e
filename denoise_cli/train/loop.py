"""The training loop: knows nothing of the network, the screen or the file formats.

    for step:  batch -> (noisy, clean) on the device -> net -> loss -> optimiser -> moving average

Every step is a function of (weights, optimiser state, seed, step, share of the run that is done), so a run of so
many steps that is killed at any point and resumed from its checkpoint ends with the weights of an unbroken one
(CPU, one thread: to the bit). A run of so much time takes as many steps as the machine makes in it.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from denoise_cli import corrupt
from denoise_cli.errors import TrainingError, UsageError, choice
from denoise_cli.train import checkpoint as checkpoints
from denoise_cli.train import perturb
from denoise_cli.train.losses import LOSSES
from denoise_cli.train.muon import Muon
from denoise_cli.train.stream import Stream

VALIDATING = 0.05  # of the time of a training, about, at most
WARMING = 0.05  # of a training, at most


@dataclass(frozen=True)
class Optimiser:
    lr: float  # a peak that trains every net of ours without blowing up
    make: Callable[[nn.Module, Options], torch.optim.Optimizer]


OPTIMISERS = {
    "muon": Optimiser(7e-3, lambda net, o: Muon(net, o.rate)),
    "adamw": Optimiser(
        5e-4, lambda net, o: torch.optim.AdamW(net.parameters(), o.rate, weight_decay=o.weight_decay)
    ),
    "adam": Optimiser(5e-4, lambda net, o: torch.optim.Adam(net.parameters(), o.rate)),
    "sgd": Optimiser(1e-2, lambda net, o: torch.optim.SGD(net.parameters(), o.rate, momentum=0.9)),
}


@dataclass(frozen=True)
class Options:
    """What decides the result of a run. Saved in the checkpoint; a resumed run must agree."""

    arch: str = "unet"  # with `net`: what the weights belong to
    net: Mapping[str, Any] = field(default_factory=dict)  # the architecture's own config
    noise: str = "gaussian:std=0-55+quantise:p=0.7"  # the corruption, drawn anew for every sample; "" for none
    loss: str = "charbonnier"
    optimiser: str = "muon"
    lr: float | None = None  # the peak, by default the optimiser's own; a cosine takes it to zero
    weight_decay: float = 1e-4  # of adamw
    batch_size: int = 16
    patch: int = 64  # side of a training patch, pixels; or length of a training segment, samples
    gray: float = 0.0  # share of the samples shown to a colour net as gray
    warmup: int = 200  # steps of linear warm-up
    ema: float = 0.999  # decay of the moving average of the weights, which is what is shipped
    clip: float = 1.0  # largest norm of the gradient
    weight_noise: float = 0.0  # std of the noise on the weights in a forward pass, as a share of each tensor's rms
    param_noise: float = 0.0  # the same of that which stays in them after a step; falls with the rate
    fgsm: float = 0.0  # largest change of an adversarial input; 8-bit steps, of recordings full scale = 1
    amp: bool = False  # bfloat16 autocast
    int8: bool = False  # pictures: hidden layers compute in bytes, see rounding.py
    seed: int = 0
    augment: bool = True  # pictures: turned and mirrored in eight ways
    epochs: float | None = None  # as many steps as show every file, or picture of a stack, so often
    steps: int | None = None  # with max_time: whichever ends first
    max_time: float | None = None  # seconds; the schedule ends with it

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise UsageError(choice("loss", self.loss, LOSSES))
        if self.optimiser not in OPTIMISERS:
            raise UsageError(choice("optimiser", self.optimiser, OPTIMISERS))
        if self.steps is None and self.max_time is None and self.epochs is None:
            raise UsageError("say when to stop: --steps N, --epochs N or --max-time 20m")
        for name in ("lr", "batch_size", "patch", "clip", "steps", "max_time", "epochs"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                what = "finite" if value == math.inf else "above 0"
                raise UsageError(f"--{name.replace('_', '-')} must be {what}, not {value:g}")
        for name in ("weight_noise", "param_noise", "fgsm"):
            if not 0 <= (value := getattr(self, name)) < math.inf:
                raise UsageError(f"--{name.replace('_', '-')} must be a number from 0 up, not {value:g}")
        if not 0 <= self.gray <= 1:
            raise UsageError(f"--gray must be in 0..1, not {self.gray:g}")
        if not 0 <= self.ema < 1:
            raise UsageError(f"--ema must be at least 0 and below 1, not {self.ema:g}")
        if self.noise:
            corrupt.parse(self.noise)

    def counted(self, count: int) -> Options:
        """The same with epochs of so many samples turned into steps; whichever of the two is less counts."""
        if self.epochs is None:
            return self
        steps = math.ceil(count * self.epochs / self.batch_size)
        return replace(self, steps=steps if self.steps is None else min(steps, self.steps))

    @property
    def told(self) -> bool:
        """Whether the net may be told the noise level."""
        return bool(self.net.get("noise_map", False))

    @property
    def rate(self) -> float:
        return OPTIMISERS[self.optimiser].lr if self.lr is None else self.lr


@dataclass
class State:
    """Everything that changes while training. `elapsed` carries the clock over a resume."""

    net: nn.Module
    average: dict[str, Tensor]
    optimiser: torch.optim.Optimizer
    step: int = 0
    elapsed: float = 0.0
    curve: list[dict[str, float]] = field(default_factory=list)  # step, loss, and score where measured


@dataclass(frozen=True)
class Progress:
    """One report to whoever watches."""

    step: int
    fraction: float  # of the whole run, 0..1
    loss: float  # mean since the last report
    score: float | None  # of the averaged weights on the validation files, dB
    samples_per_second: float
    seconds_left: float


def start(net: nn.Module, options: Options, device: torch.device) -> State:
    net = net.to(device).to(memory_format=_layout(net, options, device))  # type: ignore[call-overload]
    optimiser = OPTIMISERS[options.optimiser].make(net, options)
    for group in optimiser.param_groups:
        group["initial_lr"] = group["lr"]  # what the schedule scales; torch's own schedulers call it so
    return State(net, {k: v.detach().clone() for k, v in net.named_parameters()}, optimiser)


def train(
    state: State,
    options: Options,
    stream: Stream,
    validate: Callable[[nn.Module], float | None] | None = None,
    checkpoint: Path | None = None,
    report: Callable[[Progress], None] = lambda progress: None,
    stop: Callable[[], bool] = lambda: False,
    *,
    every: float = 1.0,
    validate_every: float = 60.0,
    checkpoint_every: float = 60.0,
) -> State:
    """Run to the end of `options.steps` or `options.max_time`; the three intervals are in seconds, at least.

    `stop` is asked between steps and ends the run early, with its checkpoint written.
    Raises TrainingError as soon as the loss is not finite; the checkpoint then still holds the last
    good state.
    """
    device = next(state.net.parameters()).device
    layout = _layout(state.net, options, device)
    loss_of = stream.judged(LOSSES[options.loss])
    generator = torch.Generator(device)
    pair = perturb.pairs(stream, state.net, loss_of, options.fgsm, options.amp)
    state.net.train()
    began = time.monotonic() - state.elapsed
    marks = {"report": time.monotonic(), "validate": time.monotonic(), "save": time.monotonic()}
    losses: list[Tensor] = []
    first, judging = True, 0.0  # seconds that the last validation took
    batches = stream.batches(state.step)
    try:
        while not stop() and (fraction := _fraction(options, state.step, time.monotonic() - began)) < 1:
            batch = next(batches)
            _set_lr(state.optimiser, options, state.step, fraction)
            generator.manual_seed(_mix(options.seed, state.step))
            noisy, clean, level = pair(batch, device, generator)
            if noisy.ndim == 4:  # both, or the loss would walk over one of them in leaps
                noisy, clean = (x.contiguous(memory_format=layout) for x in (noisy, clean))
            with torch.autocast(device.type, torch.bfloat16, enabled=options.amp):
                output = perturb.forward(state.net, noisy, options.weight_noise, generator, level)
            loss = loss_of(output.float(), clean)
            state.optimiser.zero_grad(set_to_none=True)
            loss.backward()
            norm = nn.utils.clip_grad_norm_(state.net.parameters(), options.clip)
            losses.append(loss.detach())
            if device.type == "cpu" or len(losses) >= 50:  # on a GPU, looking costs a wait
                _check_finite(losses[-50:], norm, state.step, checkpoint)
            state.optimiser.step()
            perturb.shake(state.optimiser, options.param_noise, generator)
            _average(state, options.ema)
            state.step += 1
            state.elapsed = (now := time.monotonic()) - began
            if now - marks["report"] >= every or first:
                _check_finite(losses, norm, state.step, checkpoint)
                mean = float(torch.stack(losses).mean())
                score = None
                if validate is not None and now - marks["validate"] >= max(validate_every, judging / VALIDATING):
                    score = validate(averaged(state))
                    marks["validate"] = time.monotonic()
                    judging = marks["validate"] - now
                state.curve.append({"step": state.step, "loss": mean} | ({} if score is None else {"score": score}))
                rate = len(losses) * options.batch_size / max(now - marks["report"], 1e-9)
                fraction = min(1.0, _fraction(options, state.step, state.elapsed))  # this step included
                left = state.elapsed * (1 - fraction) / fraction
                report(Progress(state.step, fraction, mean, score, rate, left))
                losses, first, marks["report"] = [], False, now
            if checkpoint is not None and now - marks["save"] >= checkpoint_every:
                checkpoints.save(state, options, checkpoint)
                marks["save"] = time.monotonic()
    finally:
        batches.close()  # type: ignore[attr-defined]
    if checkpoint is not None:
        checkpoints.save(state, options, checkpoint)
    return state


def finished(state: State, options: Options) -> bool:
    """Whether a training with these options would end before its first step."""
    return _fraction(options, state.step, state.elapsed) >= 1


def averaged(state: State) -> nn.Module:
    """A copy of the net that carries the averaged weights, ready to infer."""
    net = copy.deepcopy(state.net)
    net.load_state_dict({**net.state_dict(), **state.average})  # what is no parameter is not averaged
    return net.eval()


def _layout(net: nn.Module, options: Options, device: torch.device) -> torch.memory_format:
    """Channels last; but not on a processor in float, nor for recordings: a step would take a quarter longer."""
    wide = options.amp and getattr(net, "kind", "image") == "image"
    return torch.channels_last if wide or device.type == "cuda" else torch.contiguous_format


def _fraction(options: Options, step: int, elapsed: float) -> float:
    by_step = step / options.steps if options.steps else 0.0
    by_time = elapsed / options.max_time if options.max_time else 0.0
    return max(by_step, by_time)


def _set_lr(optimiser: torch.optim.Optimizer, options: Options, step: int, fraction: float) -> None:
    warmup = min(options.warmup, int(options.steps * WARMING)) if options.steps else options.warmup
    warm = min(1.0, max((step + 1) / warmup, fraction / WARMING)) if warmup else 1.0
    for group in optimiser.param_groups:
        group["lr"] = group["initial_lr"] * warm * 0.5 * (1 + math.cos(math.pi * min(1.0, fraction)))


def _mix(seed: int, step: int) -> int:
    """One 63-bit seed for the noise of this step, unrelated to that of the patches."""
    return int(np.random.SeedSequence([seed, step, 1]).generate_state(1, np.uint64)[0] >> 1)


@torch.no_grad()
def _average(state: State, decay: float) -> None:
    # A young average follows fast: (1 + t) / (10 + t), as in TensorFlow's ExponentialMovingAverage.
    decay = min(decay, (1 + state.step) / (10 + state.step))
    average = [state.average[name] for name, _ in state.net.named_parameters()]
    torch._foreach_lerp_(average, [p.detach() for p in state.net.parameters()], 1 - decay)


def _check_finite(losses: Sequence[Tensor], norm: Tensor, step: int, checkpoint: Path | None) -> None:
    if bool(torch.isfinite(torch.stack([*losses, norm])).all()):
        return
    kept = (
        f"; the last good state is kept in {checkpoint}" if checkpoint is not None and checkpoint.exists() else ""
    )
    raise TrainingError(f"the loss is not finite at step {step}; a lower --lr may help{kept}")
