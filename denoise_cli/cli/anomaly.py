"""``denoise eval --anomaly``: how well a model tells anomalous files from normal ones, and at which threshold."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from denoise_cli.cli import screen
from denoise_cli.cli.scores import check_csv
from denoise_cli.errors import InputError, ModelError, UsageError

if TYPE_CHECKING:
    import numpy as np

    from denoise_cli.evaluate.anomaly import Failed, Scored


@dataclass(frozen=True)
class Asked:
    """What of the options of ``eval`` this has use for."""

    normal: Path
    test: Path | None
    model: str | None
    rate: float
    label: str
    store: bool
    device: str
    std: float | None
    threads: int | None
    csv: Path | None
    json: bool
    quiet: bool


def evaluate(asked: Asked) -> int:
    """Score, show, write and store; returns the exit code."""
    import numpy as np

    from denoise_cli import denoise, model_file, shipped
    from denoise_cli import report as reports
    from denoise_cli.evaluate import anomaly as library
    from denoise_cli.media.files import Replacing, check_writable, keep_apart
    from denoise_cli.session import Session

    if asked.model is None:
        raise UsageError("--anomaly needs the model that learnt what is normal: -m MODEL.onnx")
    library.check(asked.rate)  # before an hour of scoring
    path = shipped.locate(asked.model)
    if asked.store:
        if path.resolve().parent in shipped.FOLDERS:
            raise UsageError(f"--store writes into the model, and {path.name} came with the tool: copy it first")
        check_writable([path])
    session = Session(path, asked.device)
    roots = [root for root in (asked.normal, asked.test) if root is not None]
    keep_apart([asked.csv], [path, *(file for root in roots for file in library.files_of(root, session))])
    check_csv(asked.csv)
    options = denoise.Options(std=asked.std, threads=asked.threads)
    normal, unread = _scored(asked.normal, session, options, asked)
    if not normal:  # each file has said why
        return 1
    reference = np.array([item.score for item in normal])
    limit = library.threshold(reference, asked.rate)
    table = [_row("reference", item, limit) for item in normal]
    about: dict[str, Any] = {
        "model": session.card.name, "threshold": limit, "false_alarm_rate": asked.rate, "normal_files": len(normal),
    }  # fmt: skip
    area = None
    if asked.test is not None:
        tested, more = _scored(asked.test, session, options, asked)
        unread += more
        if not tested:
            return 1
        kinds = {
            word: np.array([item.score for item in tested if (item.label == asked.label) is wanted])
            for word, wanted in (("normal", True), ("anomalous", False))
        }
        for word, scores in kinds.items():
            if len(scores):
                continue
            if any((item.label == asked.label) is (word == "normal") for item in more):
                raise InputError(f"--test {asked.test}: no {word} file that can be read")
            raise UsageError(f'--test {asked.test}: no {word} file; a file is normal in a folder "{asked.label}"')
        area = library.auc(kinds["normal"], kinds["anomalous"])
        table += [_row("normal" if item.label == asked.label else "anomalous", item, limit) for item in tested]
        about |= {
            "auc": area, "false_alarms": _share(kinds["normal"], limit),
            "detected": _share(kinds["anomalous"], limit),
            "tested_normal": len(kinds["normal"]), "tested_anomalous": len(kinds["anomalous"]),
        }  # fmt: skip
    if asked.csv is not None:
        reports.put(asked.csv, reports.as_csv(table))
    if asked.store:
        file = model_file.ModelFile.read(path)
        if file.card != session.card:
            raise ModelError(f"{path}: changed while its files were scored; nothing was stored")
        stored = library.stored(file.card, limit, asked.rate, len(normal), area, asked.std)
        with Replacing(path) as target:
            target.file.write(model_file.with_card(file, replace(file.card, anomaly=stored)))
            target.commit()
    if asked.json:
        screen.put(reports.as_json({**about, "failed": len(unread), "rows": table}))
    elif not asked.quiet:
        names = {
            "threshold": "threshold", "normal_files": "normal files", "auc": "ROC AUC", "detected": "detected",
            "false_alarms": "false alarms", "tested_normal": "tested normal",
            "tested_anomalous": "tested anomalous",
        }  # fmt: skip
        shown = [[word, _text(about[key])] for key, word in names.items() if key in about]
        screen.table(["what", "value"], shown, title=f"model {session.card.name}")
    if asked.store and not asked.quiet:
        screen.say(f"{path}: the threshold is stored; denoise run --flag-anomalies marks what is above")
    return 1 if unread else 0


def _scored(root: Path, session: Any, options: Any, asked: Asked) -> tuple[list[Scored], list[Failed]]:
    """What could be scored, and what could not, with a line each."""
    from denoise_cli.evaluate import anomaly as library

    scored: list[Scored] = []
    failed: list[Failed] = []
    with screen.bar(None, " files", quiet=asked.quiet or asked.json) as bar:
        for item in library.scores(root, session, options, bar.say):
            if isinstance(item, library.Failed):
                failed.append(item)
                bar.say(item.error if item.name in item.error else f"{item.name}: {item.error}")
            else:
                scored.append(item)
            bar.update(completed=len(scored) + len(failed), note="")
    return scored, failed


def _row(kind: str, item: Scored, limit: float) -> dict[str, Any]:
    from denoise_cli.metrics import exceeds

    return {"file": item.name, "kind": kind, "score": item.score, "anomaly": exceeds(item.score, limit)}


def _share(scores: np.ndarray, limit: float) -> float:
    """Of those that `run` would flag."""
    from denoise_cli.metrics import exceeds

    return sum(exceeds(float(score), limit) for score in scores) / len(scores)


def _text(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
