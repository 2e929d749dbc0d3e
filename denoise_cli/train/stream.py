"""Batches of a training, made ahead of the loop by a thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Generic, NamedTuple, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


class Pair(NamedTuple):
    """What a net is shown, and what it should give."""

    noisy: Tensor
    clean: Tensor
    level: Tensor | None = None  # (B,), that of the noise, or UNTOLD; for nets that may be told it


class Stream(Generic[T]):
    """Batches of a training, and what the loop sees of them."""

    unit = 1.0  # of the signal, in which users say how strong something is: 1 / 255 where they count 8-bit steps

    def batch(self, step: int) -> T:
        """The batch of this step: a pure function of it and of what the stream was made with."""
        raise NotImplementedError

    def pair(self, batch: T, device: torch.device, generator: torch.Generator) -> Pair:
        """(noisy, clean) on the device; what is random here comes from `generator`."""
        raise NotImplementedError

    def attacked(
        self, batch: T, device: torch.device, generator: torch.Generator, attack: Callable[..., Tensor]
    ) -> Pair:
        """`pair`, where `attack` has changed the clean signal before the noise came; the target stays clean.

        As it stands it is for noise that is added, whatever the signal is.
        """
        noisy, clean, level = self.pair(batch, device, generator)
        return Pair(noisy + (attack(clean) - clean), clean, level)

    def judged(self, loss: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
        """The loss of (output, clean side of a pair), from one of values in the unit of the loss."""
        return loss

    def batches(self, start: int, ahead: int = 4) -> Iterator[T]:
        """Batches of steps start, start + 1, ..., made by a thread that runs at most `ahead` before."""
        ready: queue.Queue[T | BaseException] = queue.Queue(ahead)
        stop = threading.Event()

        def make() -> None:
            step = start
            while not stop.is_set():
                try:
                    item: T | BaseException = self.batch(step)
                except BaseException as error:
                    item = error
                while not stop.is_set():
                    try:
                        ready.put(item, timeout=0.2)
                        break
                    except queue.Full:
                        continue
                step += 1

        worker = threading.Thread(target=make, daemon=True)
        worker.start()
        try:
            while True:
                item = ready.get()
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            stop.set()
            worker.join()
