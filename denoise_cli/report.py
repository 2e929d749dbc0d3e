"""Reports of a run: the same rows as JSON, as CSV and in the summary line."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from denoise_cli.errors import UsageError, printable
from denoise_cli.media.files import Job, Replacing
from denoise_cli.media.layout import TABULAR
from denoise_cli.pipeline import Result

FORMATS = (".json", ".csv")


def rows(results: Sequence[Result]) -> list[dict[str, Any]]:
    """One flat dict a file, rounded to what was measured; in the order of the inputs' names."""
    return sorted((_row(result) for result in results), key=lambda row: row["input"])


def _row(result: Result) -> dict[str, Any]:
    def rounded(value: float | None, digits: int) -> float | None:
        return None if value is None else round(value, digits)

    job = result.job
    kind = result.kind if result.error is None or result.size else None  # else it was not opened
    return {
        "input": _name(job.source),
        "output": _name(job.target),
        "status": "done" if result.error is None else "failed",
        "kind": kind,
        "model": result.model or None,
        "pixels": result.size if kind == "image" else None,
        "rows": result.size if kind in TABULAR else None,
        "duration": rounded(result.duration, 3),
        "seconds": round(result.seconds, 4),
        "noise_before": rounded(result.noise_before, 2),
        "noise_after": rounded(result.noise_after, 2),
        "residual": rounded(result.residual, 3),
        "clipped": rounded(result.clipped, 6),
        "left_behind": printable(", ".join(result.left)) or None,
        "filled": result.filled,
        "score": None if result.score is None else float(f"{result.score:.6g}"),
        "anomaly": result.anomaly,
        "error": result.error,
    }


def _name(path: Path | None) -> str:
    return "-" if path is None else str(path)


def totals(results: Sequence[Result]) -> tuple[int, float]:
    """Pixels of the pictures and seconds of the recordings."""
    pixels = sum(result.size for result in results if result.kind == "image")
    return pixels, math.fsum(result.duration or 0.0 for result in results)


def document(
    results: Sequence[Result],
    seconds: float,
    skipped: Sequence[Job] = (),
    missing: Sequence[tuple[str, str]] = (),
    **about: Any,
) -> dict[str, Any]:
    """What a run did as plain values; `skipped` was done before, `missing` led to no file: names, and why."""
    nothing: dict[str, Any] = dict.fromkeys(_row(Result(Job(None, None, Path()))))
    before = [
        {**nothing, "input": _name(job.source), "output": _name(job.target), "status": "skipped"} for job in skipped
    ]
    absent = [{**nothing, "input": name, "status": "failed", "error": why} for name, why in missing]
    failed = len(absent) + sum(result.error is not None for result in results)
    pixels, duration = totals(results)
    return {
        **about,
        "files": len(results) + len(absent), "failed": failed, "skipped": len(before),
        "megapixels": round(pixels / 1e6, 3), "duration": round(duration, 3), "seconds": round(seconds, 3),
        "results": rows(results) + before + absent,
    }  # fmt: skip


def check(path: Path) -> None:
    """Refuse a report of unknown form before any work is done."""
    if path.suffix.lower() not in FORMATS:
        raise UsageError(f"--report {path}: write .json or .csv")


def as_csv(table: Sequence[dict[str, Any]]) -> str:
    """Rows need not have the same columns; what one lacks is an empty cell."""
    columns = dict.fromkeys(key for row in table for key in row)
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(columns) or ["input"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    return text.getvalue()


def as_json(value: Any) -> str:
    # Names that are no valid UTF-8 hold surrogates, which only the escaped form can carry.
    return json.dumps(value, indent=2, ensure_ascii=True) + "\n"


def finite(value: Any) -> Any:
    """The same with None in place of NaN and infinity, which JSON does not know; lists and dicts all through."""
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write(path: Path, value: dict[str, Any]) -> None:
    """Write the document as JSON, or its rows as CSV, by the suffix; whole or not at all."""
    put(path, as_csv(value["results"]) if path.suffix.lower() == ".csv" else as_json(value))


def put(path: Path, text: str) -> None:
    """Write a text, whole or not at all; names that are no valid UTF-8 are escaped."""
    with Replacing(path) as target:
        target.file.write(text.encode("utf-8", "backslashreplace"))
        target.commit()
