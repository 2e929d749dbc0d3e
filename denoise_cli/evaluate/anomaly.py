"""Anomaly detection: a model that learnt what is normal gives it back, and fails on what it never saw.

    score       mean squared difference between what the model is shown and what it answers (reconstruction error)
    threshold   from normal files that the model was not trained on, at a chosen rate of false alarms
    ROC AUC     the chance that an anomalous file scores higher than a normal one; equal scores count half

After: Sakurada and Yairi 2014 (autoencoders); Vovk, Gammerman, Shafer 2005, chapter 2 (the threshold).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from denoise_cli import denoise, media, stacks
from denoise_cli.card import ModelCard
from denoise_cli.errors import DenoiseError, UnavailableError, UsageError
from denoise_cli.media import arrays, files
from denoise_cli.media.files import Job
from denoise_cli.media.layout import TABLE_SUFFIXES
from denoise_cli.metrics import ErrorMeter
from denoise_cli.session import Session
from denoise_cli.signal import gather

NORMAL = "normal"  # the label that means so, unless another is named


@dataclass(frozen=True)
class Scored:
    """The score of one file, or of one picture of a stack."""

    name: str
    label: str  # the sub-folder it lies in, or the array; "" in neither
    score: float


@dataclass(frozen=True)
class Failed:
    name: str
    label: str  # as that of a Scored
    error: str


def files_of(root: Path, session: Session) -> list[Path]:
    """The files that `scores` reads."""
    if arrays.is_array(root):
        return [arrays.split(root)[0]]
    return [job.source for job in _jobs(root, session) if job.source is not None]


def _jobs(root: Path, session: Session, say: Callable[[str], None] = files.unsaid) -> list[Job]:
    jobs = files.below(root, media.SUFFIXES if session.card.layout is None else TABLE_SUFFIXES, say)
    if not jobs:
        raise UsageError(f"{root}: no files for this model in it")
    return jobs


def scores(
    root: Path, session: Session, options: denoise.Options, say: Callable[[str], None] = files.unsaid
) -> Iterator[Scored | Failed]:
    """Score every file below a folder, or every picture of an array file; one that cannot be read is a Failed.

    `say` is told what is left out.
    """
    if arrays.is_array(root):
        yield from _of_stacks(root, session, options)
        return
    for job in _jobs(root, session, say):
        name = files.printable(job.relative)
        label = job.relative.parts[0] if len(job.relative.parts) > 1 else ""
        try:
            yield Scored(name, label, _of_file(job, session, options))
        except (UnavailableError, UsageError):  # would be the same for every file
            raise
        except DenoiseError as error:
            yield Failed(name, label, str(error))
        except Exception as error:  # a decoder may raise anything; the other files go on
            yield Failed(name, label, media.describe(error))


def _of_file(job: Job, session: Session, options: denoise.Options) -> float:
    with closing(media.open_source(job, layout=session.card.layout)) as source:
        signal = gather(source)
    meter = ErrorMeter(session.card.std)
    # Known values of a table with holes are judged too, so none may be passed through.
    meter.add(signal.data, denoise.signal(signal, session, replace(options, impute=False)))
    return meter.mean()


def _of_stacks(root: Path, session: Session, options: denoise.Options) -> Iterator[Scored]:
    stacks.check(session, options)
    for key in arrays.keys(root):
        stack = arrays.read(root if key is None else Path(f"{arrays.split(root)[0]}:{key}"))
        count, _, height, width = stack.pixels.shape
        for part in stacks.slices(count, height, width):
            x = stack.pixels[part].astype(np.float32) / 255
            y = stacks.batch(x, session, options)
            errors = np.square(np.subtract(y, x, dtype=np.float64)).mean(axis=(1, 2, 3))
            for index, error in enumerate(errors, part.start):
                yield Scored(f"{stack.name}[{index}]", key or "", float(error))


def check(rate: float) -> None:
    if not 0 < rate < 1:
        raise UsageError(f"--false-alarm-rate must be above 0 and below 1, not {rate:g}")


def threshold(normal: np.ndarray, rate: float) -> float:
    """The score above which a file is called anomalous.

    The k-th smallest of n normal scores with k = ceil((n + 1) (1 - rate)). If one more normal file is drawn as
    those were, each of its n + 1 ranks is equally likely, so that it lies above with a chance of at most
    (n + 1 - k) / (n + 1) <= rate: whatever the distribution of the scores, and whatever the model.

    Raises UsageError where k would be more than n: so few files cannot tell of so low a rate.
    """
    check(rate)
    count = len(normal)
    place = math.ceil((count + 1) * (1 - rate) - 1e-9)
    if place > count:
        least = math.ceil(1 / rate - 1e-9) - 1
        raise UsageError(
            f"a false-alarm rate of {rate:g} takes at least {least} normal files, and there are {count}; "
            f"--false-alarm-rate {math.ceil(1e4 / (count + 1)) / 1e4:g} is the least that they can tell of"
        )
    return float(np.sort(normal)[place - 1])


def auc(normal: np.ndarray, anomalous: np.ndarray) -> float:
    """Area under the ROC curve: P(anomalous > normal) + P(equal) / 2, by the ranks of the scores.

    (R - m (m + 1) / 2) / (n m), where R is the sum of the ranks of the m anomalous scores among all, equal ones
    sharing the mean of theirs (Mann and Whitney 1947; Hanley and McNeil 1982).
    """
    n, m = len(normal), len(anomalous)
    if not n or not m:
        raise ValueError("the area under the ROC curve needs scores of both kinds")
    _, which, counts = np.unique(np.concatenate([normal, anomalous]), return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2  # of each distinct value
    return float((ranks[which[n:]].sum() - m * (m + 1) / 2) / (n * m))


def stored(
    card: ModelCard, limit: float, rate: float, count: int, auc: float | None, std: float | None = None
) -> Mapping[str, Any]:
    """What the card keeps of it; `std` is the noise level that the model was told."""
    score = "mean squared difference of input and output" + (", of columns in their std" if card.std else "")
    about: dict[str, Any] = {"score": score, "threshold": limit, "false_alarm_rate": rate, "normal_files": count}
    about |= {} if std is None else {"std": std}
    return about if auc is None else about | {"auc": round(auc, 4)}
